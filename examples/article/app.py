"""The application: says which worker answers."""

import os
import socket

import bottle

application = bottle.Bottle()


@application.get("/")
def index():
    """Host name and process id."""
    bottle.response.content_type = "text/plain; charset=utf-8"
    return f"{socket.gethostname()} {os.getpid()}\n"
