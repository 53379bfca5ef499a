"""Single attempts, in this process, at a CA that breaks where the test says: each ends with a value, whatever comes."""

from __future__ import annotations

import contextlib
import gzip
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_ca import Answer, FakeCa, problem

from fastroute.certs.attempt import CertificateAttempts
from fastroute.certs.ca import order
from fastroute.certs.ca.session import CaSession, Registration
from fastroute.certs.ca.transport import CaTransport
from fastroute.certs.decide.outcomes import CaFailed, Failed, Issued, Limited, RenewalInfo
from fastroute.certs.store.pairs import PairStore
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.store.x509 import self_signed

HOST = "foo.example.com"
STEPS = ["directory", "nonce", "account", "order", "authz", "challenge", "poll", "finalize", "certificate"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MIN_POLL_INTERVAL", 0.02)


class NoProof:
    """The fake CA does not look."""

    kind = "http-01"

    @contextlib.contextmanager
    def prepared(self, host: str) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def answering(self, host: str, token: str, answer: str) -> Iterator[None]:
        yield


class Bench:
    """One host with a self-signed pair, and attempts for it."""

    def __init__(self, directory: Path, url: str, timeout: float = 5.0) -> None:
        self.store, self.state = PairStore(directory), StateDirectory(directory / ".state")
        self.store.open()
        self.state.open()
        self.store.install(HOST, self_signed(HOST, time.time()))
        self.transport = CaTransport(url, None, timeout)
        self.began: list[str] = []
        session = CaSession(Registration(url), self.transport, self.state)
        self.attempts = CertificateAttempts(session, self.store, lambda host: NoProof(), self._note)

    def _note(self, host: str, url: str) -> None:
        self.began.append(url)

    def served(self) -> str:
        certificates, problems = self.store.scan()
        assert not problems
        return certificates[HOST].issuer

    def close(self) -> None:
        self.transport.close()
        self.state.close()


@contextlib.contextmanager
def bench(directory: Path, url: str, timeout: float = 5.0) -> Iterator[Bench]:
    made = Bench(directory, url, timeout)
    try:
        yield made
    finally:
        made.close()


def test_a_certificate_with_the_key_of_the_pair_before(tmp_path: Path) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        key = here.store.key(HOST)
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, Issued), outcome
        assert here.served() == "Fake CA"
        assert here.store.key(HOST) == key
        assert here.began == [f"{ca.base}/poll/0"]


@pytest.mark.parametrize("what", STEPS)
def test_an_error_500_is_about_no_host_and_the_pair_that_is_there_stays(tmp_path: Path, what: str) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        ca.break_at = lambda asked, host: problem("serverInternal", "oops", 500) if asked == what else None
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, CaFailed), outcome
        assert "the CA answers 500" in outcome.reason
        assert here.served() == HOST
        assert ca.count(what) == 1


@pytest.mark.parametrize("what", STEPS)
def test_a_limit_says_how_long(tmp_path: Path, what: str) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        limit = problem("rateLimited", "too many", 429, **{"Retry-After": "77"})
        ca.break_at = lambda asked, host: limit if asked == what else None
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, Limited), outcome
        assert (outcome.retry_after, outcome.domain) == (77.0, "")
        # Nobody else begins meanwhile.
        asked = ca.count("order")
        again = here.attempts.order(HOST, "")
        assert isinstance(again, Limited)
        assert ca.count("order") == asked


@pytest.mark.parametrize("what", ["order", "authz", "challenge", "finalize"])
def test_a_refusal_is_about_the_host(tmp_path: Path, what: str) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        ca.break_at = lambda asked, host: problem("rejectedIdentifier", "forbidden", 400) if asked == what else None
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, Failed), outcome
        assert outcome.reason == "the CA says: forbidden"
        assert outcome.order_over


@pytest.mark.parametrize("status", ["pending", "ready", "valid"])
def test_an_order_of_an_earlier_life_is_gone_on_with(tmp_path: Path, status: str) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        stop = {"pending": "challenge", "ready": "finalize", "valid": "certificate"}[status]
        ca.break_at = lambda asked, host: problem("serverInternal", "oops", 500) if asked == stop else None
        assert isinstance(here.attempts.order(HOST, ""), CaFailed)
        ca.break_at = lambda asked, host: None
        outcome = here.attempts.order(HOST, here.began[0])
        assert isinstance(outcome, Issued), outcome
        assert ca.count("order") == 1


@pytest.mark.parametrize("missing", [404, 410])
def test_an_order_that_the_ca_has_forgotten_is_made_anew(tmp_path: Path, missing: int) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        lost = f"{ca.base}/poll/77"
        gone = missing, {"Content-Type": "text/html"}, b"<p>gone"
        ca.break_at = lambda asked, host: gone if asked == "poll" and not ca.orders else None
        assert isinstance(here.attempts.order(HOST, lost), Issued)


def test_an_order_of_another_host_is_not_taken(tmp_path: Path) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        ca.orders.append({"host": "bar.example.com", "status": "ready"})
        assert isinstance(here.attempts.order(HOST, f"{ca.base}/poll/0"), Issued)
        assert ca.count("order") == 1


def test_an_account_that_the_ca_has_forgotten_is_made_anew_with_the_same_key(tmp_path: Path) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        assert isinstance(here.attempts.order(HOST, ""), Issued)
        key = here.state.load_account(ca.directory)["key"]
        forgotten = problem("accountDoesNotExist", "who?", 400)
        ca.break_at = lambda asked, host: forgotten if asked == "order" and ca.count("account") == 1 else None
        assert isinstance(here.attempts.order(HOST, ""), Issued)
        assert ca.count("account") == 2
        assert here.state.load_account(ca.directory)["key"] == key


def test_many_attempts_at_once_make_one_account_or_fail_once(tmp_path: Path) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:

        def slow(asked: str, host: str) -> Answer | None:
            if asked != "account":
                return None
            time.sleep(0.5)
            return problem("serverInternal", "oops", 500)

        ca.break_at = slow
        outcomes: list[object] = []
        threads = [threading.Thread(target=lambda: outcomes.append(here.attempts.order(HOST, ""))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {type(outcome) for outcome in outcomes} == {CaFailed}
        assert ca.count("account") == 1


@pytest.mark.parametrize("kind", ["other-name", "other-key", "no-issuer", "expired"])
def test_a_certificate_that_would_not_serve_is_never_served(tmp_path: Path, kind: str) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        right = ca.sign

        def wrong(host: str, key: Any, **_: Any) -> bytes:
            if kind == "other-name":
                return right("bar.example.com", key)
            if kind == "expired":
                ca.life = -0.5
            if kind == "other-key":
                other = FakeCa()
                return right(host, other._key.public_key())
            chain = right(host, key)
            if kind == "no-issuer":
                with FakeCa() as stranger:
                    return chain[: chain.index(b"-----END") + 25] + b"\n" + stranger.sign("x.y", key)
            return chain

        ca.sign = wrong  # type: ignore[method-assign]
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, Failed), outcome
        assert "the CA's certificate is not served" in outcome.reason
        assert outcome.order_over
        assert here.served() == HOST


def test_when_the_ca_wants_a_renewal(tmp_path: Path) -> None:
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        ca.window = (100.0, 200.0)
        here.attempts.order(HOST, "")
        info = here.attempts.renewal_info(HOST)
        assert isinstance(info, RenewalInfo)
        assert info.known
        assert time.time() + 90 < (info.renew_at or 0) < time.time() + 210
        ca.break_at = lambda asked, host: problem("serverInternal", "oops", 500) if asked == "info" else None
        info = here.attempts.renewal_info(HOST)
        assert isinstance(info, RenewalInfo)
        assert not info.known


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(tmp_path: Path, packed: bool) -> None:
    body = b" " * (64 << 20)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    large = 200, headers, gzip.compress(body) if packed else body
    with FakeCa() as ca, bench(tmp_path, ca.directory) as here:
        ca.break_at = lambda asked, host: large if asked == "order" else None
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, CaFailed), outcome
        assert packed or "over 1,048,576 bytes" in outcome.reason


def test_a_ca_that_drips_has_its_time_as_a_whole(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        threading.Thread(target=drip, daemon=True).start()
        with bench(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}/directory", 1.0) as here:
            began = time.monotonic()
            outcome = here.attempts.order(HOST, "")
            ended.set()
        assert isinstance(outcome, CaFailed), outcome
        assert "in time" in outcome.reason
        assert time.monotonic() - began < 10


def garbage(dice: random.Random, right: Answer) -> Answer:
    """Something else than ``right``, by chance."""
    status, headers, body = right
    kind = dice.randrange(8)
    if kind == 0:
        return status, headers, body[: dice.randrange(len(body) + 1)]
    if kind == 1:
        return status, headers, dice.randbytes(dice.randrange(2000))
    if kind == 2:
        return dice.choice([200, 201, 302, 400, 403, 404, 409, 418, 503]), headers, body
    if kind == 3:
        return status, headers, dice.choice([b"null", b"[]", b"3", b'"x"', b"{}", b"[" * 100_000, b'{"a":' * 50_000])
    if kind == 4:
        changed = bytearray(body or b"x")
        for _ in range(1 + dice.randrange(8)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        return status, headers, bytes(changed)
    if kind == 5:
        return status, headers, body + b" " * (2 << 20)
    if kind == 6:
        return status, {**headers, "Location": "gopher://x", "Retry-After": "soon", "Replay-Nonce": "!"}, body
    words = body.split(b'"')
    words[dice.randrange(len(words))] = dice.choice(
        [b"null", b"7", b"[]", b"http://127.0.0.1:1/", b"file:///etc/passwd"]
    )
    return status, headers, b'"'.join(words)


@pytest.mark.parametrize("seed", range(40))
def test_garbage_ends_in_a_value_and_what_is_served_stays_whole(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with FakeCa() as ca, bench(tmp_path, ca.directory, 2.0) as here:
        right = ca.answer

        def broken(path: str, payload: dict[str, Any]) -> tuple[str, str, Answer]:
            what, host, answer = right(path, payload)
            return what, host, garbage(dice, answer) if dice.random() < 0.2 else answer

        ca.answer = broken  # type: ignore[method-assign]
        outcome = here.attempts.order(HOST, "")
        assert isinstance(outcome, Issued | Failed | CaFailed | Limited), outcome
        assert here.served() == ("Fake CA" if isinstance(outcome, Issued) else HOST)
        assert "PRIVATE" not in str(outcome)
    shutil.rmtree(tmp_path)
