"""An application of some version: each answer names it.  ERRORS percent of them are 500, each takes DELAY seconds."""

import os
import time

VERSION, DELAY = os.environ.get("VERSION", "1"), float(os.environ.get("DELAY", "0.01"))
ERRORS = int(os.environ.get("ERRORS", "0"))
if os.environ.get("FAILS"):
    raise SystemExit("this version does not start")

counts = {"requests": 0}


def app(environ, start_response):
    """The version, and whether the asset that a page of it names (QUERY_STRING) is here."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(DELAY)
    counts["requests"] += 1
    asset = environ.get("QUERY_STRING", "")
    status = "404 Not Found" if asset not in ("", VERSION) else "200 OK"
    if environ.get("PATH_INFO") != "/health" and counts["requests"] * ERRORS % 100 < ERRORS:
        status = "500 Internal Server Error"
    body = VERSION.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = app
