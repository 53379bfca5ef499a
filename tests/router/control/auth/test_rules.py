"""Who may announce what."""

import ipaddress

import pytest

from fastroute.router.control.auth.rules import AdmissionRules, sender_ip
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError
from fastroute.router.runtime.own_sockets import OwnSockets

LOOPBACK = ("127.0.0.0/8", "::1/128")
OWN = OwnSockets([("127.0.0.1:3031", None, False), ("0.0.0.0:4040", None, False), ("@front", None, False)])


def reason(address: str, sender: str | None, source: str = "", gone: bool = False, instance: int = -1) -> str:
    rules = AdmissionRules((*LOOPBACK, "172.20.0.0/16"), OWN.owns)
    ip = ipaddress.ip_address(sender) if sender else None
    try:
        rules.check_sender(ip)
        entries = (Entry("k", address, gone=gone),)
        rules.check(Announcement(entries=entries, source=source, instance=instance), ip)
    except PacketError as error:
        return error.reason
    return "admitted"


@pytest.mark.parametrize("address", [":8000", "0.0.0.0:8000", "172.20.0.7:8000"])
def test_a_remote_worker_may_name_itself(address) -> None:
    assert reason(address, "172.20.0.7") == "admitted"


@pytest.mark.parametrize(
    "address", ["172.20.0.8:8000", "127.0.0.1:8000", "/run/x.sock", "@x", "web:8000", "169.254.0.1:80", "[::1]:80"]
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_remote_worker_may_name_nothing_else_neither_to_join_nor_to_leave(address, gone) -> None:
    assert reason(address, "172.20.0.7", gone=gone) == "foreign-address"


def test_a_remote_worker_may_not_speak_as_a_controller() -> None:
    assert reason(":8000", "172.20.0.7", source="controller") == "untrusted"


def test_who_is_not_in_an_allowed_network_is_not_even_read() -> None:
    assert reason(":8000", "10.1.2.3") == "sender"


@pytest.mark.parametrize("sender", [None, "127.0.0.1"])
@pytest.mark.parametrize("address", ["172.20.0.8:8000", "/run/x.sock", "web:8000"])
def test_loopback_and_unix_senders_may_name_any_address(sender, address) -> None:
    assert reason(address, sender, source="controller") == "admitted"


SELVES = ["127.0.0.1:3031", "@front", "0.0.0.0:4040", "127.0.0.1:4040", "localhost:4040", "[::ffff:127.0.0.1]:3031"]


@pytest.mark.parametrize("address", [*SELVES, ":3031"])
def test_nobody_may_make_the_router_its_own_node(address) -> None:
    assert reason(address, None) == "own-address"
    assert reason(address, None, gone=True) == "admitted", "it may have been announced before it was ours"
    assert reason(address, None, "controller", instance=1) == "admitted", "its other nodes count; own_nodes.py sees it"


def test_no_allowed_network_means_nobody() -> None:
    with pytest.raises(PacketError):
        AdmissionRules(()).check_sender(ipaddress.ip_address("127.0.0.1"))


def test_an_ipv4_sender_on_an_ipv6_socket_is_an_ipv4_sender() -> None:
    assert sender_ip("::ffff:172.20.0.7") == ipaddress.ip_address("172.20.0.7")
    assert sender_ip("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
