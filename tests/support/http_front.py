"""A router with an HTTP front, and an application of both kinds of workers that shows what it got."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from support.programs import Program, Router, free_port, listens

#: ``/echo-later`` is for proxies written in Go: one of a thousand answers that begin while their proxy has read all of
#: the body, but not yet its end, is cut off by it ("use of closed network connection").
APP = """
    import time
    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path, _, size = environ["PATH_INFO"].strip("/").partition("/")
        lines = [("X-Method", environ["REQUEST_METHOD"]), ("X-Client", environ["REMOTE_ADDR"]),
                 ("X-Port", environ.get("REMOTE_PORT", "")), ("X-Scheme", environ["wsgi.url_scheme"]),
                 ("X-Asked", environ.get("HTTP_X_FORWARDED_HOST", "")),
                 ("X-Asked-Port", environ.get("HTTP_X_FORWARDED_PORT", ""))]
        if path == "sized":
            lines.append(("Content-Length", str(int(size) << 16)))
        if path in ("stream", "sized"):
            start_response("200 OK", lines)
            return (b"x" * 65536 for _ in range(int(size)))
        if path == "echo-later":
            time.sleep(0.05)
        answer = body if path.startswith("echo") else b"%d" % len(body)
        start_response("200 OK", [*lines, ("Content-Length", str(len(answer)))])
        return [answer]
"""


class Gunicorn(Program):
    """gunicorn, which speaks HTTP/1.1 and keeps connections."""

    def __init__(self) -> None:
        self.port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="fastroute-app-"))
        (folder / "kept_app.py").write_text("\n".join(line[4:] for line in APP.splitlines()))
        super().__init__(
            sys.executable, "-m", "gunicorn", "--chdir", str(folder), "--bind", f"127.0.0.1:{self.port}",
            "--worker-class", "gthread", "--threads", "4", "kept_app:application",
        )  # fmt: skip
        self.wait_for(lambda: listens(self.port), "gunicorn listens")


class HttpRouter(Router):
    """A router with an HTTP front on a port and one on a unix socket."""

    def __init__(self, *options: str) -> None:
        self.http_port, self.folder = free_port(), Path(tempfile.mkdtemp(prefix="fastroute-front-"))
        self.folder.chmod(0o755)
        self.unix = self.folder / "http.sock"
        fronts = ("--listen-http", f"127.0.0.1:{self.http_port}", "--listen-http", str(self.unix))
        super().__init__(*fronts, "--listen-mode", "0666", *options)
        self.wait_for(lambda: listens(self.http_port) and listens(self.unix), "the HTTP fronts listen")
