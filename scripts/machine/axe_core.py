#!/usr/bin/env python3
"""Fetch axe-core, which tests the page for people who cannot see or use a mouse: axe_core.py DIRECTORY

One file of one release of the npm registry, fixed by its hash; only tests use it, and nothing of it is shipped.  The
registry is that of npm's own settings (NPM_CONFIG_REGISTRY, or `npm config get registry`), else npm's.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
MEMBER, FILE = "package/axe.min.js", f"axe-{VERSION}.min.js"
REGISTRY, FETCH_TIMEOUT = "https://registry.npmjs.org/", 60


def registry() -> str:
    """The URL of the registry, with a slash at its end."""
    url = os.environ.get("NPM_CONFIG_REGISTRY") or ""
    if not url and shutil.which("npm"):
        asked = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=False)
        url = asked.stdout.strip()
    return f"{url.rstrip('/')}/" if url.startswith("http") else REGISTRY


def fetch(directory: Path) -> Path:
    """The file in ``directory``, fetched if it is not there; ``OSError`` when that does not work."""
    file = directory / FILE
    if file.exists():
        return file
    url = f"{registry()}axe-core/-/axe-core-{VERSION}.tgz"
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT) as answer:
        archive = answer.read()
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != SHA512:
        raise OSError(f"{url} is not the release that was expected: its SHA-512 is {found}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        member = files.extractfile(MEMBER)
        if member is None:
            raise OSError(f"{url} has no {MEMBER}")
        body = member.read()
    directory.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_bytes(body)
    partial.replace(file)
    return file


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{fetch(Path(sys.argv[1]))}\n")
    except OSError as error:
        sys.exit(f"axe-core can't be fetched: {error}")
