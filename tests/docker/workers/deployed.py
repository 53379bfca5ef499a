"""An application that takes a while to be there, and a moment for each request."""

import os
import socket
import time

time.sleep(float(os.environ.get("IMPORT_SECONDS", "0")))
if os.environ.get("FAILS"):
    raise SystemExit("this version does not start")


def app(environ, start_response):
    """The container's host name, once the body is read and 10 ms are over."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(0.01)
    body = socket.gethostname().encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = app
