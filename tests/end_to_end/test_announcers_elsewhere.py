"""Announcers on another host (a network namespace), with and without the secret, to the real router."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx
from support.programs import Program, wait_for

from fastroute.router.protocol.subscription import Announcement, Entry, encode_plain

CTL = str(Path(sys.executable).with_name("fastroute-ctl"))
ROUTER = str(Path(sys.executable).with_name("fastroute-router"))

#: 10.99.8.1 is the routers' host, 10.99.8.2 the announcers'.  One router has the secret, the other allows the network.
NETWORK = """
    ip link set lo up && ip link add front type veth peer name back &&
    ip address add 10.99.8.1/24 dev front && ip link set front up &&
    unshare --net sh -c 'echo $$ > other.pid; until ip link show back >/dev/null 2>&1; do sleep 0.05; done
        ip link set lo up; ip address add 10.99.8.2/24 dev back; ip link set back up
        until [ -S "$0/secret.sock" ] && [ -S "$0/allow.sock" ]; do sleep 0.05; done
        sh "$0/other.sh" > "$0/said" 2>&1; touch "$0/done"; sleep 60' "$0" &
    until [ -s other.pid ]; do sleep 0.05; done
    ip link set back netns "$(cat other.pid)" &&
    "$1" --listen 127.0.0.1:1 --subscription-server 10.99.8.1:3032 --admin "$0/allow.sock" --log-format text \\
        --subscription-allow 10.99.8.0/24 &
    exec "$1" --listen 127.0.0.1:2 --subscription-server 10.99.8.1:3031 --admin "$0/secret.sock" --log-format text \\
        --subscription-secret-file "$0/secret"
"""


def nodes(admin: Path) -> set[tuple[str, str, str]]:
    """Key, address and source of each node."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin))) as client:
        keys = client.get("http://router/v1/status").json()["keys"]
    return {(key["key"], node["address"], node["source"]) for key in keys for node in key["nodes"]}


def reasons(admin: Path) -> set[str]:
    """Why packets were refused."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin))) as client:
        return set(client.get("http://router/v1/status").json()["router"]["subscriptions"]["refused"])


def test_from_elsewhere_the_secret_opens_every_address_and_the_allowed_network_only_ones_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the routers and we share this one")
    (tmp_path / "wrong").write_text("the routers do not know this one at all")
    for name in ("secret", "wrong"):
        (tmp_path / name).chmod(0o600)
    plain = {
        "own": encode_plain(Entry("own.com", ":80"), Announcement()),
        "foreign": encode_plain(Entry("foreign.com", "10.99.8.1:80"), Announcement()),
        "path": encode_plain(Entry("path.com", "/run/app.sock"), Announcement()),
        "controller": encode_plain(Entry("c.com", "10.99.8.2:80"), Announcement(source="docker", instance=1, seq=1)),
        "last": encode_plain(Entry("last.com", "10.99.8.2:81"), Announcement()),
    }
    send = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM)\n"
    send += "for one in sys.argv[1:]: s.sendto(bytes.fromhex(one), ('10.99.8.1', 3032))"
    server = "--server 10.99.8.1:3031"
    (tmp_path / "other.sh").write_text(
        f"{CTL} subscribe none.com 10.5.5.5:80 {server}\n"
        f"{CTL} subscribe wrong.com 10.5.5.5:80 {server} --subscription-secret-file {tmp_path}/wrong\n"
        f"{CTL} subscribe foo.com 10.5.5.5:80 {server} --subscription-secret-file {tmp_path}/secret\n"
        f"{CTL} subscribe self.com :80 {server} --subscription-secret-file {tmp_path}/secret\n"
        f'{sys.executable} -c "{send}" {" ".join(packet.hex() for packet in plain.values())}\n'
    )
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    path = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with Program("unshare", "--net", *user, "sh", "-c", NETWORK, str(tmp_path), ROUTER, env=path) as network:
        network.wait_for(lambda: (tmp_path / "done").exists(), "the other host has said all")
        said = (tmp_path / "said").read_text()
        secret, allow = tmp_path / "secret.sock", tmp_path / "allow.sock"
        assert nodes(secret) == {("foo.com", "10.5.5.5:80", "operator"), ("self.com", "10.99.8.2:80", "operator")}, said
        assert reasons(secret) == {"sender", "bad-proof"}
        assert said.count("no ack") == 2
        assert said.count("subscribed") == 2
        wait_for(lambda: ("last.com", "10.99.8.2:81", "worker") in nodes(allow), "the last packet has arrived")
        assert {key for key, _, _ in nodes(allow)} == {"own.com", "last.com"}
        assert ("own.com", "10.99.8.2:80", "worker") in nodes(allow)
        assert reasons(allow) == {"foreign-address", "untrusted"}
