"""No service may do more than it must, and no worker can speak for another."""

from __future__ import annotations

from typing import Any

import pytest
from support.stack import Stack

SERVICES = ["nginx", "router", "controller", "certs", "page", "socket-proxy", "foo", "bar"]
DRAIN_SECONDS = 30


def mounts(stack: Stack, service: str) -> dict[str, dict[str, Any]]:
    """Destination -> mount of the service's container."""
    return {mount["Destination"]: mount for mount in stack.inspect(stack.containers(service)[0])["Mounts"]}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_confined(stack: Stack, service: str) -> None:
    container = stack.inspect(stack.containers(service)[0])
    host, config = container["HostConfig"], container["Config"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Privileged"] is False
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"]["max-size"]
    assert config["StopTimeout"] > DRAIN_SECONDS
    assert container["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_root_but_the_owner_of_dockers_socket(stack: Stack, service: str) -> None:
    status = stack.docker("exec", stack.containers(service)[0], "cat", "/proc/1/status")
    rows = dict(row.split(":\t", 1) for row in status.splitlines() if ":\t" in row)
    assert (rows["Uid"].split()[0] == "0") == (service == "socket-proxy")
    assert int(rows["CapEff"], 16) == int(rows["CapPrm"], 16) == int(rows["CapBnd"], 16) == 0
    assert rows["NoNewPrivs"] == "1"


def test_dockers_socket_is_seen_by_the_socket_proxy_alone(stack: Stack) -> None:
    with_socket = [name for name in SERVICES if any("docker.sock" in place for place in mounts(stack, name))]
    assert with_socket == ["socket-proxy"]


def test_subscriptions_are_seen_by_router_and_controller_alone(stack: Stack) -> None:
    control = "/run/fastroute/control"
    assert [name for name in SERVICES if control in mounts(stack, name)] == ["router", "controller"]
    front = "/run/fastroute/front"
    assert [name for name in SERVICES if front in mounts(stack, name)] == ["nginx", "router"]
    assert mounts(stack, "nginx")[front]["RW"] is False
    sources = {mounts(stack, name)[control]["Source"] for name in ("router", "controller")}
    assert len(sources) == 1


def test_certs_shares_no_more_than_it_must(stack: Stack) -> None:
    challenge, certs, pairs = "/run/fastroute/challenge", "/run/fastroute/certs", "/var/lib/fastroute/certificates"
    assert [name for name in SERVICES if challenge in mounts(stack, name)] == ["router", "certs"]
    assert [name for name in SERVICES if certs in mounts(stack, name)] == ["router", "controller", "certs"]
    assert [name for name in SERVICES if pairs in mounts(stack, name)] == ["nginx", "certs"]
    writers = {place: [name for name in SERVICES if mounts(stack, name).get(place, {}).get("RW")]
               for place in (challenge, certs, pairs)}  # fmt: skip
    assert writers == {challenge: ["router"], certs: ["certs"], pairs: ["certs"]}
    name = stack.containers("certs")[0]
    for place in ("/run/fastroute/control", "/run/fastroute/front", "/var/run/docker.sock"):
        assert stack.docker("exec", name, "sh", "-c", f"test -e {place} && ls -A {place}; true") == ""


TAKEN_OVER = """
import http.client, json, os, socket
from fastroute.router.protocol.subscription import Announcement, Entry, decode_ack, encode, encode_plain
ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ours.bind("/run/fastroute/certs/taken-over.sock")
os.chmod("/run/fastroute/certs/taken-over.sock", 0o666)
ours.settimeout(5)
NODE = "/run/fastroute/certs/challenge.sock"
KEY = "foo.com/.well-known/acme-challenge"
def tell(datagram):
    try:
        ours.sendto(datagram, "/run/fastroute/challenge/subscriptions.sock")
        return decode_ack(ours.recv(65536)).result
    except OSError as error:
        return str(error)
plain = lambda entry: encode_plain(entry, Announcement(seq=1, ack=True))
print([tell(packet) for packet in (
    plain(Entry("foo.com", NODE)), plain(Entry(KEY, "127.0.0.1:22")), plain(Entry("foo.com", NODE, gone=True)),
    encode(Announcement("mark", (), "controller", 2**60, 1, True)),
)])
def change():
    link = http.client.HTTPConnection("localhost")
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.connect("/run/fastroute/challenge/status.sock")
    link.request("POST", "/v1/drain", json.dumps({"target": "foo.com"}), {"Content-Type": "application/json"})
    return link.getresponse().status
print(change())
os.unlink("/run/fastroute/certs/taken-over.sock")
for place in ("/run/fastroute/challenge/x", "/etc/x"):
    try:
        open(place, "w")
        print("WRITTEN", place)
    except OSError:
        pass
"""


def test_a_certs_that_is_taken_over_gets_no_request(stack: Stack, two_foos: set[str]) -> None:
    said = stack.docker("exec", stack.containers("certs")[0], "python3", "-c", TAKEN_OVER).splitlines()
    assert said[0] == str(["refused"] * 4)
    assert said[1:] == ["403"]
    assert set(stack.answered_by("foo.com", 20)) == two_foos
    assert stack.status("foo.com")["total"] == 2


def test_page_mounts_what_can_be_read_and_nothing_else(stack: Stack) -> None:
    status = "/run/fastroute/status"
    mounted = mounts(stack, "page")
    assert {place: mount["RW"] for place, mount in mounted.items()} == {status: False}
    assert [name for name in SERVICES if status in mounts(stack, name)] == ["router", "controller", "page"]
    name = stack.containers("page")[0]
    assert stack.docker("exec", name, "id", "-u") == "10004"
    assert stack.docker("exec", name, "ls", status).split() == ["controller.sock", "router.sock"]


PAGE_TAKEN_OVER = """
import http.client, json, os, pathlib, socket, stat
def change(place, path, body):
    link = http.client.HTTPConnection("localhost")
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.connect(place)
    link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return link.getresponse().status
STATUS = "/run/fastroute/status/"
TARGET, KEY = {"target": "foo.com"}, {"key": "foo.com"}
CHANGES = [("drain", TARGET), ("undrain", TARGET), ("weight", {**TARGET, "weight": 0}), ("pause", KEY),
           ("maintenance", KEY), ("resume", KEY)]
OF_CONTROLLERS = [("switch", {**KEY, "to": ["foo-1"]}), ("resync", {})]
print(sorted({change(STATUS + "router.sock", "/v1/" + verb, body) for verb, body in CHANGES}))
print(sorted({change(STATUS + "controller.sock", "/v1/" + verb, body) for verb, body in CHANGES + OF_CONTROLLERS}))
# Every socket that it can see at all, and every place that it can write to.
print(sorted(str(path) for path in pathlib.Path("/run").rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)))
for place in (STATUS + "x", "/etc/x", "/run/x", "/opt/x", "/var/lib/fastroute/x"):
    try:
        open(place, "w")
        print("WRITTEN", place)
    except OSError:
        pass
for name in ("router", "controller", "socket-proxy", "nginx", "foo", "certs"):
    try:
        print("RESOLVED", name, socket.gethostbyname(name))
    except OSError:
        pass
print([name for name in os.environ if "TOKEN" in name or "SECRET" in name])
"""


def test_a_page_that_is_taken_over_can_read_and_change_nothing(stack: Stack, two_foos: set[str]) -> None:
    said = stack.docker("exec", stack.containers("page")[0], "python3", "-c", PAGE_TAKEN_OVER).splitlines()
    places = "['/run/fastroute/status/controller.sock', '/run/fastroute/status/router.sock']"
    assert said == ["[403]", "[403]", places, "[]"]
    assert set(stack.answered_by("foo.com", 20)) == two_foos


def test_private_keys_are_read_by_nginx_and_certs_alone(stack: Stack) -> None:
    stack.wait_for_certificate("foo.com")
    key = "/var/lib/fastroute/certificates/foo.com/privkey.pem"
    modes = stack.docker("exec", stack.containers("certs")[0], "stat", "-L", "-c", "%a %u %g", key)
    assert modes == "640 10003 10001"
    with pytest.raises(AssertionError, match=r"denied"):
        stack.docker("exec", "--user", "nobody", stack.containers("nginx")[0], "cat", key)
    with pytest.raises(AssertionError, match=r"Read-only|denied"):
        stack.docker("exec", stack.containers("nginx")[0], "sh", "-c", f"echo >> {key}")


def test_each_service_is_only_on_the_networks_it_needs(stack: Stack) -> None:
    def networks(service: str) -> set[str]:
        return set(stack.inspect(stack.containers(service)[0])["NetworkSettings"]["Networks"])

    edge, docker_api, workers = f"{stack.project}_edge", f"{stack.project}_docker-api", stack.network
    assert networks("nginx") == {edge}
    assert networks("router") == {workers}
    assert networks("controller") == {workers, docker_api}
    assert networks("socket-proxy") == {docker_api}
    assert networks("certs") == {f"{stack.project}_acme"}
    assert networks("page") == {f"{stack.project}_page"}
    assert networks("foo") == networks("bar") == {workers}


def test_nginx_alone_is_published_and_the_page_on_loopback(stack: Stack) -> None:
    published = {
        "nginx": {
            "8080/tcp": [{"HostIp": "", "HostPort": str(stack.port)}],
            "8443/tcp": [{"HostIp": "", "HostPort": str(stack.tls_port)}],
        },
        "page": {"8081/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.page_port)}]},
    }
    for service in SERVICES:
        bindings = stack.inspect(stack.containers(service)[0])["HostConfig"]["PortBindings"]
        assert (bindings or {}) == published.get(service, {})


LISTENING = """
import pathlib
def rows(name):
    for row in pathlib.Path("/proc/net/" + name).read_text().splitlines()[1:]:
        local, state = row.split()[1], row.split()[3]
        if local.rpartition(":")[0] != "0B00007F":  # 127.0.0.11: Docker's own name server, in every container
            yield name, local, state
print([row for name in ("tcp", "tcp6") for row in rows(name) if row[2] == "0A"]
      + [row for name in ("udp", "udp6") for row in rows(name)])
"""


def test_the_router_listens_on_no_network(stack: Stack) -> None:
    assert stack.docker("exec", stack.containers("router")[0], "python3", "-c", LISTENING) == "[]"


FORGE = """
import socket, struct, sys
router, controller, me = sys.argv[1:]
def packet(key, address):
    pairs = {"key": key, "address": address, "modifier1": "0", "modifier2": "0", "weight": "9", "source": "operator"}
    block = b"".join(struct.pack("<H", len(x)) + x for pair in pairs.items() for x in map(str.encode, pair))
    return struct.pack("<BHB", 224, len(block), 0) + block
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for address in (me + ":3031", ":3031", "/run/fastroute/front/router.sock", "127.0.0.1:3031"):
    for key in ("foo.com", "stolen.com"):
        data = packet(key, address)
        for port in (3031, 3032, 3033, 3034):
            plain.sendto(data, (router, port))
            for source in (controller, router, "127.0.0.1", me):
                udp = struct.pack("!HHHH", 3031, port, 8 + len(data), 0) + data
                head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                                   socket.inet_aton(source), socket.inet_aton(router))
                head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
                try:
                    raw.sendto(head + udp, (router, port))
                except OSError as error:
                    print(source, error)
for port in (3031, 3033, 3034):
    try:
        socket.create_connection((router, port), timeout=1)
        print("CONNECTED", port)
    except OSError:
        pass
print("sent")
"""


def test_a_worker_cannot_claim_anothers_key_not_even_with_forged_addresses(stack: Stack, two_foos: set[str]) -> None:
    attacker = ("--user", "0", "--cap-add", "NET_RAW", "--entrypoint", "sleep", stack.image("foo"), "600")
    with stack.container("--no-healthcheck", *attacker) as name:
        others = [stack.address(stack.containers(service)[0]) for service in ("router", "controller")]
        sent = stack.docker("exec", name, "python3", "-c", FORGE, *others, stack.address(name))
        assert sent.splitlines()[-1] == "sent"
        assert "CONNECTED" not in sent
    assert stack.get("stolen.com").status == 404
    assert set(stack.answered_by("foo.com", 20)) == two_foos
    assert stack.status("foo.com")["total"] == 2


def test_a_worker_has_no_path_to_the_sockets(stack: Stack) -> None:
    for service in ("foo", "bar"):
        name = stack.containers(service)[0]
        found = stack.docker("exec", name, "sh", "-c", "find / -xdev -type s -o -name '*.sock' 2>/dev/null; true")
        assert "fastroute" not in found
        assert "docker.sock" not in found


def test_nginx_can_neither_replace_the_routers_socket_nor_see_subscriptions(stack: Stack) -> None:
    name = stack.containers("nginx")[0]
    for command in ("rm /run/fastroute/front/router.sock", "touch /run/fastroute/front/x", "ls /run/fastroute/control"):
        with pytest.raises(AssertionError, match=r"Read-only|denied"):
            stack.docker("exec", name, *command.split())
    assert stack.get("bar.com").status == 200


def test_the_image_has_the_compiled_relay_and_nothing_to_compile_with(stack: Stack) -> None:
    code = (
        "import shutil, fastroute.router.relay.request as relay;"
        "print(relay.__file__.endswith('.so'), *(shutil.which(name) for name in ('gcc', 'cc', 'pip')))"
    )
    assert stack.docker("exec", stack.containers("router")[0], "python3", "-c", code).split() == ["True", *["None"] * 3]
