"""Demo application for foo.com: says which container answers."""

import socket

import bottle

app = bottle.Bottle()


@app.get("/")
def index():
    """The container's host name, nothing else."""
    bottle.response.content_type = "text/plain; charset=utf-8"
    return socket.gethostname()
