"""An application that says who it is, and where it is mounted.

Each answer takes DELAY seconds.  Once /tmp/broken is there all are 500, in no time; if that has a number, so many
percent of them.
"""

import json
import os
import random
import socket
import time
from pathlib import Path

DELAY = float(os.environ.get("DELAY", "0"))


def errors():
    """How many percent of the answers are errors."""
    try:
        return int(Path("/tmp/broken").read_text() or 100)
    except OSError:
        return 0


def app(environ, start_response):
    """The container's host name; below a path, what it got of it."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    percent = errors()
    if percent < 100:
        time.sleep(DELAY)
    status = "500 Internal Server Error" if random.random() * 100 < percent else "200 OK"
    mounted = environ.get("HTTP_X_FORWARDED_PREFIX", "")
    whole = {"script": environ.get("SCRIPT_NAME", ""), "prefix": mounted, "path": environ["PATH_INFO"]}
    body = (json.dumps(whole) if mounted else socket.gethostname()).encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = app
