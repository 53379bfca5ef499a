"""``mount: script-name``: the path of a key leaves the path that its application sees.  Pure.

* uwsgi workers: SCRIPT_NAME gets the path of the key behind what it has, PATH_INFO loses it; REQUEST_URI stays as it
  came, as CGI has it.
* HTTP workers: the target loses it.  Where the front had the path's slashes merged or its dots resolved (PATH_INFO is
  not what REQUEST_URI says), the target is made of PATH_INFO: then it is the path by which the key was found.
* Both get ``X-Forwarded-Prefix``, as applications behind other proxies do; a client's own never gets through.

A key is found however many slashes a request has (``//api///x`` asks for ``/api``), so as many are taken off.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fastroute.router.protocol.wire import (
    HEADER_SIZE,
    decode_header,
    decode_vars,
    encode_packet,
    encode_vars,
)

_PATH_INFO: Final = b"PATH_INFO"
_SCRIPT_NAME: Final = b"SCRIPT_NAME"
_REQUEST_URI: Final = b"REQUEST_URI"
_FORWARDED_PREFIX: Final = b"HTTP_X_FORWARDED_PREFIX"
#: Of RFC 3986, what may stand in a path as it is.
_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~"


class Mount:
    """The path of one key: ``/api``."""

    __slots__ = ("_beginning", "_path", "_prefix")

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._prefix = quote_from_bytes(path, _PATH_CHARACTERS).encode()
        segments = [b"/+" + re.escape(segment) for segment in path.split(b"/")[1:]]
        self._beginning = re.compile(b"".join(segments) + rb"(?=/|\Z)")

    def mounted(self, packet: bytes, end: int, http: bool) -> tuple[bytes, int]:
        """``packet`` as a worker gets it that speaks HTTP (``http``) or uwsgi, and where its vars end.

        As it was if its path does not begin with that of the key.  ``WireError`` when there is no room in it.
        """
        pairs = decode_vars(packet, HEADER_SIZE, end)
        values = dict(pairs)
        uri, question, query = values.get(_REQUEST_URI, b"").partition(b"?")
        path = values.get(_PATH_INFO) or unquote_to_bytes(uri)
        match = self._beginning.match(path)
        if match is None:
            return packet, end
        inner_path = path[match.end() :]
        changed = {_FORWARDED_PREFIX: self._prefix, _PATH_INFO: inner_path}
        if http:
            changed[_REQUEST_URI] = self._target(uri, path, inner_path) + question + query
        else:
            changed[_SCRIPT_NAME] = values.get(_SCRIPT_NAME, b"") + self._path
        unchanged = [(name, value) for name, value in pairs if _plain(name) not in changed]
        modifier1, _, modifier2 = decode_header(packet)
        longer = encode_packet(modifier1, modifier2, encode_vars([*unchanged, *changed.items()]))
        return longer + packet[end:], len(longer)

    def _target(self, uri: bytes, path: bytes, inner_path: bytes) -> bytes:
        """The target for an HTTP worker of a request for ``uri``; ``path`` is decoded, ``inner_path`` its part behind
        the key's path."""
        match = self._beginning.match(uri)
        if match is not None and unquote_to_bytes(uri) == path:
            target = uri[match.end() :]
        else:
            target = quote_from_bytes(inner_path, _PATH_CHARACTERS).encode()
        # Two slashes at the beginning would name a host.
        return b"/" + target.lstrip(b"/")


def _plain(name: bytes) -> bytes:
    """``name``, in whatever case and with whichever dashes a header of that name is a var."""
    return name.upper().replace(b"-", b"_") if name[:5] == b"HTTP_" else name
