"""The files that browsers get, read once at the start.  An edge."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

#: The script that stands in the page itself: what it does must be there where the other files did not come.
START_SCRIPT = "start.js"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    media_type: str
    #: What tells a browser that it has it already.
    etag: str


def read_assets() -> dict[str, Asset]:
    """All files of ``web/`` by name."""
    assets = {}
    for file in resources.files("fastroute.page").joinpath("web").iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            assets[file.name] = _asset(file.read_bytes(), media_type)
    _put_into_page(assets)
    return assets


def script_hash(assets: Mapping[str, Asset]) -> str:
    """How a Content-Security-Policy names the script that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(assets[START_SCRIPT].body).digest()).decode()}'"


def _put_into_page(assets: dict[str, Asset]) -> None:
    page, tag = assets["index.html"], f'<script src="/web/{START_SCRIPT}"></script>'.encode()
    before, found, after = page.body.partition(tag)
    if not found:
        raise ValueError(f"index.html has no {tag.decode()}")
    body = b"%b<script>%b</script>%b" % (before, assets[START_SCRIPT].body, after)
    assets["index.html"] = _asset(body, page.media_type)


def _asset(body: bytes, media_type: str) -> Asset:
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
