"""WSGI application that shows what it was asked: the environ as JSON, and the size of the body."""

import json


def app(environ, start_response):
    """Everything in the environ that is text, and `body`, the number of bytes that arrived."""
    size = 0
    while chunk := environ["wsgi.input"].read(65536):
        size += len(chunk)
    shown = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps({**shown, "body": size}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
