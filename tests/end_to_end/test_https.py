"""HTTPS in front of both modes, with real nginxes: certificates are folders that nginx opens at the handshake."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.certificates import CertificateAuthority, CertificateFolder
from support.fronts import SHOWS, Node, Way
from support.nginx_mode import PROGRAMS
from support.programs import wait_for
from support.workers import Connection, Worker

pytestmark = pytest.mark.timeout(120)
#: Every site has these keys.
HOSTS = ("foo.test", "bar.test", "off.test", "*.wild.test", "own.wild.test", "http.test")
CHALLENGE = "/.well-known/acme-challenge/x"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, str]:
        return json.loads(self.body)  # type: ignore[no-any-return]


def one_worker(text: str) -> str:
    """Each worker remembers what it has looked up for itself."""
    return text.replace("worker_processes auto;", "worker_processes 1;")


class Site(ExitStack):
    """nginx in front of a worker for each of HOSTS; all but off.test have certificates."""

    def __init__(self, mode: str, program: str, folder: Path) -> None:
        super().__init__()
        self.authority = CertificateAuthority(folder / "ca.pem")
        self.certificates = CertificateFolder(folder / "certificates", self.authority)
        for host in HOSTS:
            if host != "off.test":
                self.certificates.put(host)
        nodes = []
        for host in HOSTS:
            protocol = "http" if host == "http.test" else "uwsgi"
            worker = self.enter_context(Worker(SHOWS[protocol]))
            nodes.append(Node(host, worker.address, protocol))
        wildcards = () if mode == "nginx" else ("wild.test",)
        self.mode = mode
        self.way = self.enter_context(
            Way(mode, *nodes, program=program, trusted=("127.0.0.2/32",), certificates=self.certificates.path,
                wildcards=wildcards, edit=one_worker)
        )  # fmt: skip

    @contextmanager
    def marked(self, kind: str, folder: str, host: str) -> Iterator[None]:
        """Meanwhile ``kind`` is said of ``folder``; from when ``host`` shows it until it shows nothing: nginx remembers
        for a second what it has looked up."""

        def shows() -> bool:
            answer = self.http(host, source="127.0.0.2", X_Forwarded_Proto="http" if kind == "redirect" else "https")
            return answer.status == 308 or "strict-transport-security" in answer.headers

        self.certificates.mark(kind, folder)
        _until(shows)
        try:
            yield
        finally:
            self.certificates.mark(kind, folder, there=False)
            _until(lambda: not shows())

    def handshake(self, name: str | None, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection to ``name``, whose certificate is checked."""
        plain = socket.create_connection(("127.0.0.1", self.way.tls_port), timeout=20)
        try:
            return (context or self.authority.context()).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def serial(self, name: str) -> int:
        """That of the certificate that ``name`` has now."""
        with self.handshake(name) as connection:
            return int(str((connection.getpeercert() or {})["serialNumber"]), 16)

    def https(self, name: str, target: str = "/", host: str | None = None, **headers: str) -> Answer:
        """One request on a connection of its own, HTTP/1.1."""
        with self.handshake(name) as connection:
            return _exchange(connection, target, host or f"{name}:{self.way.tls_port}", headers)

    def http(
        self, host: str, target: str = "/", source: str = "127.0.0.1", method: str = "GET", **headers: str
    ) -> Answer:
        """The same without TLS, from the address ``source``."""
        at = ("127.0.0.1", self.way.port)
        with socket.create_connection(at, timeout=20, source_address=(source, 0)) as connection:
            return _exchange(connection, target, host, headers, method)


def _exchange(
    connection: socket.socket, target: str, host: str, headers: dict[str, str], method: str = "GET"
) -> Answer:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture(
    scope="module", params=[(mode, program) for mode in ("router-http", "nginx") for program in PROGRAMS], ids="-".join
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with readable_folder() as folder, _site(request.param, folder) as site:
        yield site


def _site(param: tuple[str, str], folder: Path) -> Site:
    return Site(*param, folder)


@contextmanager
def readable_folder() -> Iterator[Path]:
    """Where nginx's workers can read: pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory(prefix="fastroute-https-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("host", ["foo.test", "http.test"])
def test_a_worker_learns_that_it_was_https(site: Site, host: str) -> None:
    port = str(site.way.tls_port)
    seen = site.https(host, "/x?q=1").seen
    assert [seen[f"x-forwarded-{name}"] for name in ("proto", "host", "port")] == ["https", f"{host}:{port}", port]
    assert seen["target"] == "/x?q=1"
    if host == "foo.test":
        assert (seen["HTTPS"], seen["REQUEST_SCHEME"], seen["SERVER_PORT"]) == ("on", "https", port)
    assert site.http(host).seen["x-forwarded-proto"] == "http"


def test_each_name_gets_its_own_certificate(site: Site) -> None:
    serials = {
        name: site.serial(name) for name in ("foo.test", "bar.test", "a.wild.test", "b.wild.test", "own.wild.test")
    }
    assert serials["a.wild.test"] == serials["b.wild.test"]
    # In front of routers the certificate of the wildcard, which covers it, unless the map names it.
    assert len(set(serials.values())) == (4 if site.mode == "nginx" else 3)
    assert site.https("a.wild.test").status == 200


@pytest.mark.parametrize(
    "name", ["nobody.test", "off.test", None, "..test", "x/../foo.test", ".pairs", "_wildcard.other.test"]
)
def test_a_name_without_a_certificate_gets_none(site: Site, name: str | None) -> None:
    said = _s_client(site, *(["-servername", name] if name else ["-noservername"]))
    assert "BEGIN CERTIFICATE" not in said, said
    assert "alert" in said


def _s_client(site: Site, *words: str) -> str:
    at = f"127.0.0.1:{site.way.tls_port}"
    done = subprocess.run(["openssl", "s_client", "-connect", at, *words], input="", capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_wildcard_is_for_one_label(site: Site) -> None:
    if site.mode != "nginx":
        assert "BEGIN CERTIFICATE" not in _s_client(site, "-servername", "a.b.wild.test")
    with pytest.raises(ssl.SSLError):
        site.handshake("a.b.wild.test")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], False),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], False),
        (["-tls1_2"], True),
        (["-tls1_3"], True),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], False),
    ],
)
def test_only_versions_and_ciphers_of_today(site: Site, words: list[str], expected: bool) -> None:
    said = _s_client(site, "-servername", "foo.test", *words)
    assert ("BEGIN CERTIFICATE" in said) == expected, said


def test_http2(site: Site) -> None:
    context = site.authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with site.handshake("foo.test", context) as connection:
        assert connection.selected_alpn_protocol() == "h2"
    url = f"https://foo.test:{site.way.tls_port}/two"
    resolve = f"foo.test:{site.way.tls_port}:127.0.0.1"
    words = [
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        str(site.authority.file),
        "--resolve",
        resolve,
        url,
        "-w",
        "%{http_version}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout.removesuffix("2"))
    assert done.stdout.endswith("2")
    assert (seen["target"], seen["REQUEST_SCHEME"], seen["host"]) == ("/two", "https", f"foo.test:{site.way.tls_port}")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_who_comes_back_resumes_its_session_but_not_at_another_host(site: Site, version: str) -> None:
    context = site.authority.context()
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with site.handshake("foo.test", context) as first:
        _exchange(first, "/", "foo.test", {})
        session = first.session
    for name, reused in (("foo.test", True), ("bar.test", False)):
        plain = socket.create_connection(("127.0.0.1", site.way.tls_port), timeout=20)
        # Another name with this session: a client that misbehaves; Python's checks none of a resumed one.
        with context.wrap_socket(plain, server_hostname=name, session=session) as again:
            if reused:
                assert again.session_reused
            assert _exchange(again, "/", name, {}).seen["host"] == name


def test_a_new_host_and_a_renewal_need_no_reload(site: Site) -> None:
    before = site.serial("bar.test")
    site.certificates.put("bar.test", new_key=True)
    _until(lambda: _serial_or_none(site, "bar.test") not in (None, before))
    site.certificates.put("off.test")
    try:
        assert site.https("off.test").status == 200
    finally:
        site.certificates.remove("off.test")


def _serial_or_none(site: Site, name: str) -> int | None:
    """None: the certificate of before is remembered with the key of now (ssl_certificate_cache)."""
    try:
        return site.serial(name)
    except ssl.SSLError:
        return None


def test_renewals_under_load_fail_no_handshake(site: Site) -> None:
    failures: list[str] = []
    done = threading.Event()
    handshakes = [0]

    def load() -> None:
        while not done.is_set():
            try:
                site.handshake("foo.test").close()
                handshakes[0] += 1
            except OSError as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        site.certificates.put("foo.test")
        at_least = handshakes[0] + 2
        _until(lambda least=at_least: handshakes[0] >= least or bool(failures))  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert handshakes[0] >= 300


def test_a_redirect_keeps_host_path_and_query_and_takes_the_port_of_https(site: Site) -> None:
    with site.marked("redirect", "foo.test", "foo.test"):
        for method in ("GET", "POST"):
            answer = site.http("foo.test:8080", "/a//b%20c?d=/e&f", method=method)
            assert (answer.status, answer.headers["location"]) == (
                308, f"https://foo.test:{site.way.tls_port}/a//b%20c?d=/e&f",
            )  # fmt: skip
        assert site.http("FOO.test").status == 308
        assert site.https("foo.test").status == 200
        assert site.http("bar.test").status == 200
    assert site.http("foo.test").status == 200


def test_a_challenge_is_never_redirected(site: Site) -> None:
    with site.marked("redirect", "foo.test", "foo.test"):
        assert site.http("foo.test", CHALLENGE).seen["target"] == CHALLENGE
        for other in ("/.well-known/acme-challenge", "/.well-known/acme-challengex/y", "/x" + CHALLENGE,
                      CHALLENGE + "/../../../x"):  # fmt: skip
            assert site.http("foo.test", other).status == 308, other


def test_no_circle_behind_a_proxy_that_speaks_https_for_us(site: Site) -> None:
    with site.marked("redirect", "foo.test", "foo.test"):
        assert site.http("foo.test", source="127.0.0.2", X_Forwarded_Proto="https").seen["x-forwarded-proto"] == "https"
        assert site.http("foo.test", source="127.0.0.2", X_Forwarded_Proto="http").status == 308
        assert site.http("foo.test", source="127.0.0.2").status == 308
        assert site.http("foo.test", X_Forwarded_Proto="https").status == 308, "anybody may say so"


def test_wildcards_redirect_the_names_that_their_certificate_covers(site: Site) -> None:
    with site.marked("redirect", "_wildcard.wild.test", "a.wild.test"):
        assert site.http("a.wild.test").headers["location"] == f"https://a.wild.test:{site.way.tls_port}/"
        assert site.http("a.b.wild.test").status == 200


@pytest.mark.parametrize("age", [86_400, 31_536_000, 63_072_000])
def test_hsts_is_said_by_https_alone(site: Site, age: int) -> None:
    name = "strict-transport-security"
    assert name not in site.https("foo.test").headers
    with site.marked(f"hsts-{age}", "foo.test", "foo.test"):
        assert site.https("foo.test").headers[name] == f"max-age={age}"
        assert site.http("foo.test", source="127.0.0.2", X_Forwarded_Proto="https").headers[name] == f"max-age={age}"
        assert name not in site.http("foo.test").headers
        assert name not in site.https("bar.test").headers


def test_a_host_without_https_has_none_on_anothers_connection(site: Site) -> None:
    _until(lambda: site.https("foo.test", host="off.test").status == 421)
    assert site.https("foo.test", host="bar.test").status == 200
    assert site.http("off.test").status == 200


def test_what_no_host_is_called_is_looked_up_nowhere(site: Site) -> None:
    for host in ("initrd.img", "bin", "..", ".redirect", "[::1]", "a b", "_wildcard.other.test", "nobody.test"):
        assert site.http(host).status in (400, 404), host


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_nginx_mode_challenges_go_to_who_asked_for_them(program: str) -> None:
    with ExitStack() as stack:
        socket_path = stack.enter_context(readable_folder()) / "certs.sock"
        certs = stack.enter_context(Worker(SHOWS["http"], path=socket_path))
        socket_path.chmod(0o666)
        worker = stack.enter_context(Worker(SHOWS["http"]))
        own = stack.enter_context(Worker(SHOWS["http"]))
        uwsgi = stack.enter_context(Worker(SHOWS["uwsgi"]))
        nodes = [Node("foo.test", worker.address, "http"), Node("u.test", uwsgi.address, "uwsgi"),
                 Node("own.test", worker.address, "http"),
                 Node("own.test/.well-known/acme-challenge", own.address, "http")]  # fmt: skip
        way = stack.enter_context(Way("nginx", *nodes, program=program, challenge=f"http://unix:{socket_path}"))
        assert way.seen(CHALLENGE, "Host: foo.test")["by"] == certs.address
        certs.script = answers_404
        assert way.seen(CHALLENGE, "Host: foo.test")["by"] == worker.address
        assert way.seen("/", "Host: foo.test")["by"] == worker.address
        assert way.seen(CHALLENGE, "Host: own.test")["by"] == own.address
        certs.close()
        assert way.seen(CHALLENGE, "Host: foo.test")["by"] == worker.address
        assert way.seen(CHALLENGE, "Host: foo.test")["host"] == "foo.test"
        assert way.seen(CHALLENGE, "Host: u.test")["PATH_INFO"] == CHALLENGE


def answers_404(connection: Connection) -> None:
    """As fastroute-certs answers what it has not asked for."""
    connection.sock.recv(65536)
    connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _until(condition: Callable[[], object]) -> None:
    wait_for(condition, "it is so", 60)
