"""Our own answer to a request, in the form that its client wants: a page, JSON, or a line of text.

Only here is anything of a request read that the common request does not need: its method, what it accepts, its id.
"""

from __future__ import annotations

import json
from typing import Final

from fastroute.router.protocol.key import hosts_of
from fastroute.router.relay.accept import preferred
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.error_pages import PAGES, filled
from fastroute.router.relay.replies import STATUS, Refusal, as_text, printable, response
from fastroute.router.relay.request_id import request_id
from fastroute.router.relay.vars import variables

HTML: Final = "text/html"
JSON: Final = "application/json"
TEXT: Final = "text/plain"
#: What could end a script element or begin a tag, should anybody take the JSON for a page.
_JSON_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def own_answer(context: RelayContext, refusal: Refusal, key: bytes, packet: bytes, end: int,
               keep: bool = False) -> bytes:  # fmt: skip
    """The whole response to the request for ``key`` with the vars ``packet[4:end]``; without vars (``end`` 0), text.

    ``keep``: its client's connection stays.
    """
    values = variables(packet, end) if end else {}
    request = request_id(values)
    content_type, body = TEXT, as_text(refusal)
    if refusal.kind in PAGES and (accept := values.get(b"HTTP_ACCEPT", b"")):
        page = b""
        wanted = preferred(accept, (HTML, JSON, TEXT))
        if wanted == HTML:
            page = context.pages.find(refusal.kind, _page_keys(context, key, packet, end))
            if not page:
                wanted = preferred(accept, (JSON, TEXT))
        if page or wanted == JSON:
            shown = {"key": printable(key.decode("latin-1")), "message": printable(refusal.text),
                     "request_id": request, "status": STATUS[refusal.kind][:3]}  # fmt: skip
            content_type = wanted
            body = filled(page, shown) if page else _as_json(refusal.kind, shown)
    head_only = values.get(b"REQUEST_METHOD") == b"HEAD"
    return response(refusal, content_type, body, request, head_only, keep)


def _page_keys(context: RelayContext, key: bytes, packet: bytes, end: int) -> list[str]:
    """Keys whose pages fit the request, best first: its pool's, or those that it would be looked up by."""
    if not context.pages.of_keys:
        return []
    pool = context.replica.find(key, packet, end)
    return [pool.name] if pool is not None else [name.decode("latin-1") for name in hosts_of(key)]


def _as_json(kind: str, shown: dict[str, str]) -> bytes:
    fields = {"error": kind, **{name: shown[name] for name in ("message", "key", "request_id")}}
    return json.dumps(fields).translate(_JSON_ESCAPES).encode() + b"\n"
