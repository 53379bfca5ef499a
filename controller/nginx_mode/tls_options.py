"""HTTPS in nginx's configuration: what the templates are told of it.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: From these versions nginx knows ``http2 on``, before it a word of ``listen``; and a cache of certificates.
_HTTP2_DIRECTIVE, _CERTIFICATE_CACHE = (1, 25, 1), (1, 27, 4)
_WILDCARD = "*."


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How nginx serves HTTPS with the certificates of fastroute-certs."""

    #: What every server listens on with TLS, as for HTTP.
    listen: tuple[str, ...]
    #: The folder of certificates, as nginx sees it.
    certificates: str
    #: The port that clients are sent to.
    https_port: int = 443
    #: Of the nginx that reads this; None: whoever includes it says what depends on that (``http2 on``).
    version: tuple[int, ...] | None = None
    #: In front of routers: the domains of wildcards, without ``*.``.
    wildcards: tuple[str, ...] = ()
    #: In front of routers, in a container: the files with the port and the wildcards instead, written at its start.
    file: str | None = None
    wildcards_file: str | None = None

    @property
    def shown_port(self) -> str:
        """The port as it stands in a URL behind the host."""
        return "" if self.https_port == 443 else f":{self.https_port}"

    @property
    def http2(self) -> str:
        """Where HTTP/2 is turned on: by a ``directive``, at ``listen``, or not here (empty)."""
        if self.version is None:
            return ""
        return "directive" if self.version >= _HTTP2_DIRECTIVE else "listen"

    @property
    def cache(self) -> bool:
        """Whether nginx keeps certificates in memory for a while."""
        return self.version is not None and self.version >= _CERTIFICATE_CACHE


def certificate_folder(host: str) -> str:
    """The folder of the certificate of ``host``, which may be a wildcard."""
    return f"_wildcard.{host.removeprefix(_WILDCARD)}" if host.startswith(_WILDCARD) else host
