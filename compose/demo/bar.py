"""Demo application for bar.com: plain WSGI, says which container answers."""

import socket


def app(environ, start_response):
    """The container's host name at /, nothing else."""
    found = environ["PATH_INFO"] == "/"
    body = (socket.gethostname() if found else "no such page\n").encode()
    status = "200 OK" if found else "404 Not Found"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
