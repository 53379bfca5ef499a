"""The configurations of docs/http-front.md, each with its proxy: their TLS, our routing."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.certificates import CertificateAuthority
from support.http_front import APP, HttpRouter
from support.programs import Program, UwsgiWorker, free_port, listens
from support.proxies import proxy_program

DOCS = Path(__file__).parents[2] / "docs/http-front.md"
NGINX = """daemon off; pid nginx.pid; error_log stderr; events {{}}
http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; uwsgi_temp_path uwsgi;
        fastcgi_temp_path fcgi; scgi_temp_path scgi;
{}
}}"""
CADDY = "{{\n admin off\n auto_https off\n storage file_system .\n}}\n"
#: What a client might say of itself, and must not be believed.
CLAIMS = {
    "X-Forwarded-For": "198.51.100.9",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "evil.com",
    "X-Forwarded-Port": "99",
}


def blocks(section: str) -> list[str]:
    """The configurations in this section of the page."""
    text = DOCS.read_text().partition(f"# {section}\n")[2].partition("\n#")[0]
    return [block.partition("\n")[2] for block in text.split("```")[1::2]]


class Front:
    """One proxy, started as the page says, with a port for HTTP and one for HTTPS where the page has it."""

    def __init__(self, name: str, router: HttpRouter, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.port, self.tls_port = free_port(), free_port()
        self.authority = CertificateAuthority(folder / "ca.pem")
        certificate, key = self.authority.pair("a.com", "b.com", "nobody.com")
        (folder / "certificate.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        (folder / "site.pem").write_bytes(certificate + key)
        self._changes = {
            "127.0.0.1:8000": f"127.0.0.1:{router.http_port}",
            "/run/fastroute/http.sock": str(router.unix),
        }
        command = {"nginx": self._nginx, "HAProxy": self._haproxy, "Caddy": self._caddy, "Traefik": self._traefik}[name]
        self.program = Program("env", f"--chdir={folder}", "HOME=.", *command())

    def _write(self, file: str, text: str, **changes: str) -> None:
        for old, new in {**self._changes, **changes}.items():
            text = text.replace(old, new)
        (self.folder / file).write_text(text)

    def _nginx(self) -> list[str]:
        self.tls_port = 0
        text = NGINX.format(blocks("nginx")[0])
        self._write("proxy.conf", text, **{"listen 80;": f"listen 127.0.0.1:{self.port};"})
        return ["nginx", "-p", ".", "-c", "proxy.conf"]

    def _haproxy(self) -> list[str]:
        self._write("proxy.conf", blocks("HAProxy")[0], **{
            "bind :80": f"bind 127.0.0.1:{self.port}",
            "bind :443": f"bind 127.0.0.1:{self.tls_port}",
            "/etc/haproxy/site.pem": "site.pem",
        })  # fmt: skip
        return [proxy_program("haproxy"), "-db", "-f", "proxy.conf"]

    def _caddy(self) -> list[str]:
        block = blocks("Caddy")[0]
        names = "foo.com, www.foo.com {"
        assert names in block
        plain = block.replace(names, f"http://:{self.port} {{")
        secure = block.replace(names, f"https://:{self.tls_port} {{\n    tls certificate.pem key.pem")
        self._write("proxy.conf", CADDY.format() + plain + secure)
        return [proxy_program("caddy"), "run", "--adapter", "caddyfile", "--config", "proxy.conf"]

    def _traefik(self) -> list[str]:
        static, dynamic = blocks("Traefik")
        self._write("traefik.yml", static, **{
            '":80"': f'"127.0.0.1:{self.port}"', '":443"': f'"127.0.0.1:{self.tls_port}"'
        })  # fmt: skip
        certificates = "tls: {certificates: [{certFile: certificate.pem, keyFile: key.pem}]}\n"
        self._write("fastroute.yml", dynamic + certificates)
        return [proxy_program("traefik"), "--configFile=traefik.yml"]

    def client(self, scheme: str) -> httpx.Client:
        """It asks for a.com."""
        port = self.port if scheme == "http" else self.tls_port
        verify: ssl.SSLContext | bool = self.authority.context() if scheme == "https" else True
        return httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{port}", headers={"Host": "a.com"}, verify=verify, timeout=20
        )


@pytest.fixture(scope="module")
def router() -> Iterator[HttpRouter]:
    with UwsgiWorker("u", app=APP) as uwsgi, HttpRouter("--node", f"a.com={uwsgi.address}") as router:
        yield router


@pytest.fixture(scope="module", params=["nginx", "HAProxy", "Caddy", "Traefik"])
def front(request: pytest.FixtureRequest, router: HttpRouter) -> Iterator[Front]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastroute-proxy-")))
        folder.chmod(0o777)
        front = Front(request.param, router, folder)
        stack.enter_context(front.program)
        ports = [port for port in (front.port, front.tls_port) if port]
        front.program.wait_for(lambda: all(map(listens, ports)), f"{front.name} listens")
        with front.client("http") as client:
            front.program.wait_for(lambda: client.get("/").status_code == 200, f"{front.name} has its configuration")
        yield front


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_and_who_asks(front: Front, scheme: str) -> None:
    if scheme == "https" and not front.tls_port:
        # nginx's TLS is render's (test_https.py).
        return
    sni = {"sni_hostname": "a.com"}
    with front.client(scheme) as client:
        for _ in range(3):
            assert client.post("/echo-later", content=b"x" * 100_000, extensions=sni).content == b"x" * 100_000
            answer = client.get("/stream/10", headers=CLAIMS, extensions=sni)
            assert len(answer.content) == 655_360
            seen = [answer.headers[name] for name in ("x-client", "x-scheme", "x-asked")]
            assert seen == ["127.0.0.1", scheme, "a.com"], front.name
            assert answer.headers["x-asked-port"] != "99"
        missing = client.get("/", headers={"Host": "nobody.com"}, extensions=sni)
        assert (missing.status_code, missing.headers["x-fastroute-error"]) == (404, "no-key")
        assert client.head("/", extensions=sni).headers["content-length"] == "1"
