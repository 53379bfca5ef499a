"""Pairs on disk: never half of one, never none, and nothing of anybody else's is touched."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from support.fake_ca import FakeCa

from fastroute.certs.decide.hosts import HostTls
from fastroute.certs.decide.records import CaRecord, HostRecord
from fastroute.certs.events import CertsEvents
from fastroute.certs.served import ServedCertificates
from fastroute.certs.store.handshake import ProofError, prove
from fastroute.certs.store.markers import HostMarkers
from fastroute.certs.store.pairs import PairStore, StoreError
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.store.x509 import Pair, new_key, read_key, self_signed

HOST = "foo.example.com"


@pytest.fixture
def store(tmp_path: Path) -> PairStore:
    made = PairStore(tmp_path)
    made.open()
    return made


def signed(host: str = HOST) -> Pair:
    with FakeCa() as ca:
        key = new_key()
        return Pair(ca.sign(host, read_key(key).public_key()), key)


def test_a_pair_is_put_in_place_by_one_link_and_the_one_before_is_removed(store: PairStore, tmp_path: Path) -> None:
    store.install(HOST, self_signed(HOST, time.time()))
    before = os.readlink(tmp_path / HOST)
    assert store.install(HOST, signed()).issuer == "Fake CA"
    assert os.readlink(tmp_path / HOST) != before
    assert not (tmp_path / before).exists()
    assert (tmp_path / HOST / "valid").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {HOST, ".pairs", ".aside"}


LONG = f"{'a' * 63}.{'b' * 63}.example.com"


@pytest.mark.parametrize("host", ["*.example.com", "xn--bcher-kva.example", LONG, "localhost", "_x.example.com"])
def test_self_signed_pairs_prove_themselves(store: PairStore, host: str) -> None:
    store.install(host, self_signed(host, time.time()))
    certificate = store.install(host, self_signed(host, time.time()))
    assert certificate.self_signed
    assert store.scan()[0] == {host: certificate}


def test_the_pair_of_a_wildcard_is_there_by_the_name_of_its_key_too(store: PairStore, tmp_path: Path) -> None:
    key, folder = "*.example.com", "_wildcard.example.com"
    store.install(key, self_signed(key, time.time()))
    assert (tmp_path / key / "fullchain.pem").samefile(tmp_path / folder / "fullchain.pem")
    store.put_aside(key)
    assert not {entry.name for entry in tmp_path.iterdir()} & {key, folder}
    store.take_back(key)
    (tmp_path / key).unlink()
    assert list(store.scan()[0]) == [key]
    assert os.readlink(tmp_path / key) == folder
    store.remove(key)
    assert not {entry.name for entry in tmp_path.iterdir()} & {key, folder}
    (tmp_path / key).mkdir()
    store.install(key, signed(key))
    store.remove(key)
    assert (tmp_path / key).is_dir()


def test_modes_do_not_depend_on_the_umask_and_the_group_comes_from_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "certificates"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, 0, 12345)
    directory.chmod(0o2750)
    before = os.umask(0o077)
    try:
        store = PairStore(directory)
        store.open()
        store.install(HOST, self_signed(HOST, time.time()))
    finally:
        os.umask(before)
    folder = (directory / HOST).resolve()
    assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o750
    for path in (folder / "privkey.pem", folder / "fullchain.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_gid == directory.stat().st_gid


@pytest.mark.parametrize("step", ["write", "fsync", "symlink", "rename"])
def test_a_full_disk_leaves_the_pair_before(
    store: PairStore, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.install(HOST, self_signed(HOST, time.time()))
    chain = store.chain(HOST)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    place = {"write": (os, "fchmod"), "fsync": (os, "fsync"), "symlink": (Path, "symlink_to"),
             "rename": (Path, "rename")}[step]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        with pytest.raises(StoreError, match="No space left") as caught:
            store.install(HOST, signed())
    assert caught.value.disk
    assert store.chain(HOST) == chain
    assert len(list((tmp_path / ".pairs").iterdir())) == 1
    assert store.install(HOST, signed()).issuer == "Fake CA"


def test_a_pair_that_does_not_prove_itself_is_not_served(store: PairStore, tmp_path: Path) -> None:
    store.install(HOST, self_signed(HOST, time.time()))
    for wrong in (signed("bar.example.com"), Pair(signed().chain, new_key()), Pair(b"x", b"y"),
                  self_signed(HOST, time.time() - 200 * 86_400), self_signed(HOST, time.time() + 86_400)):  # fmt: skip
        with pytest.raises(StoreError) as caught:
            store.install(HOST, wrong)
        assert not caught.value.disk
    assert store.scan()[0][HOST].self_signed
    assert len(list((tmp_path / ".pairs").iterdir())) == 1


def test_what_a_killed_life_left_is_removed_and_a_broken_pair_is_said(store: PairStore, tmp_path: Path) -> None:
    store.install(HOST, self_signed(HOST, time.time()))
    store.install("bar.example.com", self_signed("bar.example.com", time.time()))
    (tmp_path / ".pairs/half.example.com.123").mkdir()
    (tmp_path / ".half.example.com.123").symlink_to(".pairs/half.example.com.123")
    (tmp_path / "bar.example.com/privkey.pem").write_bytes(new_key())
    certificates, problems = store.scan()
    assert list(certificates) == [HOST]
    assert problems == {"bar.example.com": "the private key is not that of the certificate"}
    assert len(list((tmp_path / ".pairs").iterdir())) == 2
    assert store.key("bar.example.com") is None
    assert not (tmp_path / ".half.example.com.123").is_symlink()


def test_a_directory_of_somebody_else_is_served_and_never_touched(store: PairStore, tmp_path: Path) -> None:
    (tmp_path / HOST).mkdir()
    pair = signed()
    (tmp_path / HOST / "fullchain.pem").write_bytes(pair.chain)
    (tmp_path / HOST / "privkey.pem").write_bytes(pair.key)
    assert store.scan()[0][HOST].foreign
    with pytest.raises(StoreError, match="no link of ours"):
        store.install(HOST, signed())
    store.remove(HOST)
    store.put_aside(HOST)
    assert (tmp_path / HOST / "fullchain.pem").read_bytes() == pair.chain


def test_a_host_that_says_off_gets_its_pair_back_later(store: PairStore, tmp_path: Path) -> None:
    served = ServedCertificates(store, CertsEvents())
    store.install(HOST, signed())
    served.load()
    assert served.choose({HOST: HostTls("off", True)}, labelled=False) == {}
    assert not (tmp_path / HOST).exists()
    assert store.scan()[0] == {}
    served.load()
    wanted = served.choose({HOST: HostTls("auto", True)}, labelled=False)
    served.stand_in(wanted, set(), time.time())
    assert served.by_host[HOST].issuer == "Fake CA"
    assert store.scan()[0][HOST].issuer == "Fake CA"


def test_nginx_is_told_where_to_redirect_only_while_the_certificate_is_valid(store: PairStore, tmp_path: Path) -> None:
    served = ServedCertificates(store, CertsEvents())
    wanted = {HOST: HostTls("redirect", True, 86_400), "*.foo.com": HostTls("redirect", True)}
    served.stand_in(wanted, set(), time.time())
    served.mark(wanted, time.time())
    assert not (tmp_path / ".redirect").exists()
    served.issued(HOST, store.install(HOST, signed()))
    served.issued("*.foo.com", store.install("*.foo.com", signed("*.foo.com")))
    served.mark(wanted, time.time())
    assert {mark.name for mark in (tmp_path / ".redirect").iterdir()} == {HOST, "_wildcard.foo.com"}
    assert (tmp_path / ".hsts-86400" / HOST).exists()
    served.mark({"*.foo.com": HostTls("auto")}, time.time())
    assert not list((tmp_path / ".redirect").iterdir())
    # Another life takes up the marks that it finds.
    (tmp_path / ".hsts-31536000").mkdir()
    (tmp_path / ".hsts-31536000/gone.com").touch()
    HostMarkers(tmp_path).follow({})
    assert not list((tmp_path / ".hsts-31536000").iterdir())


def test_a_handshake_proves_what_openssl_would_refuse(tmp_path: Path) -> None:
    pair = signed()
    (tmp_path / "fullchain.pem").write_bytes(pair.chain)
    (tmp_path / "privkey.pem").write_bytes(pair.key)
    prove(tmp_path, HOST)
    with pytest.raises(ProofError, match="ostname"):
        prove(tmp_path, "other.example.com")


def test_a_state_that_others_may_have_written_is_put_aside(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / ".state")
    state.open()
    state.save({HOST: HostRecord(HOST, failures=3)}, CaRecord())
    assert state.load()[0][HOST].failures == 3
    (tmp_path / ".state/state.json").chmod(0o666)
    hosts, _, problem = state.load()
    assert hosts == {}
    assert "put aside" in problem
    (tmp_path / ".state/state.json").write_text("{")
    assert "put aside" in state.load()[2]
    assert state.load() == ({}, CaRecord(), "")
    state.close()
