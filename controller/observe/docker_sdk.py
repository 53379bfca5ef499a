"""Docker's SDK without what requests would guess character sets with (charset_normalizer), and what packs images to
build (tarfile): 2 MB in a controller, which reads JSON, and that is UTF-8.

``from fastroute.controller.observe.docker_sdk import docker, requests, urllib3``
"""

from __future__ import annotations

import warnings
from types import ModuleType

from fastroute.router.runtime.imports import replaced

__all__ = ["docker", "requests", "urllib3"]

with warnings.catch_warnings(), replaced("charset_normalizer", None), replaced("chardet", None):
    # requests warns that it can't guess now.
    warnings.simplefilter("ignore")
    import requests
    import urllib3

with replaced("tarfile", ModuleType("tarfile")):
    import docker
    import docker.constants
    import docker.errors
    import docker.utils
