"""A CA that misbehaves on demand: it signs without looking, counts what it is asked, and breaks where a test says."""

from __future__ import annotations

import base64
import datetime
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

#: Status, headers, body: what is sent instead of the right answer.
Answer = tuple[int, dict[str, str], bytes]


class FakeCa:
    """``break_at(kind, host)`` gives another answer; ``kind``: directory, nonce, account, order, authz, challenge,
    finalize, poll, certificate, info."""

    def __init__(self, life: float = 90 * 86_400.0) -> None:
        self.life = life
        self.asked: list[tuple[float, str, str]] = []
        self.break_at: Callable[[str, str], Answer | None] = lambda kind, host: None
        #: Host -> its order: status and certificate.
        self.orders: list[dict[str, Any]] = []
        #: (start, end) of the window in which the CA wants renewals, in seconds from now; None: it has no such word.
        self.window: tuple[float, float] | None = None
        #: The contacts that it was told of our account, and what each order was said to replace.
        self.contacts: list[list[str]] = []
        self.replaced: list[str | None] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.directory = f"{self.base}/directory"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> FakeCa:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, kind: str) -> int:
        return Counter(asked for _, asked, _ in self.asked)[kind]

    def answer(self, path: str, payload: dict[str, Any]) -> tuple[str, str, Answer]:
        kind, _, rest = path.strip("/").partition("/")
        order = self.orders[int(rest)] if rest.isdigit() and int(rest) < len(self.orders) else None
        host = order["host"] if order else ""
        if kind == "order":
            host = payload["identifiers"][0]["value"]
        return kind, host, getattr(self, f"_{kind}")(order, payload, rest)

    def _json(self, body: object, status: int = 200, **headers: str) -> Answer:
        return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()

    def _directory(self, order: Any, payload: Any, rest: str) -> Answer:
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        known = {name: f"{self.base}/{path}" for name, path in names.items()}
        return self._json({**known, **({"renewalInfo": f"{self.base}/info"} if self.window else {})})

    def _nonce(self, order: Any, payload: Any, rest: str) -> Answer:
        return 200, {}, b""

    def _account(self, order: Any, payload: Any, rest: str) -> Answer:
        self.contacts.append(payload.get("contact", []))
        return self._json({"status": "valid"}, 200 if rest else 201, Location=f"{self.base}/account/1")

    def _order(self, order: Any, payload: dict[str, Any], rest: str) -> Answer:
        self.replaced.append(payload.get("replaces"))
        self.orders.append({"host": payload["identifiers"][0]["value"], "status": "pending"})
        number = len(self.orders) - 1
        return self._json(self._body(number), 201, Location=f"{self.base}/poll/{number}")

    def _body(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        body = {
            "status": order["status"], "identifiers": [{"type": "dns", "value": order["host"]}],
            "authorizations": [f"{self.base}/authz/{number}"], "finalize": f"{self.base}/finalize/{number}",
        }  # fmt: skip
        return body | ({"certificate": f"{self.base}/certificate/{number}"} if order["status"] == "valid" else {})

    def _poll(self, order: Any, payload: Any, rest: str) -> Answer:
        return self._json(self._body(int(rest)))

    def _authz(self, order: dict[str, Any], payload: Any, rest: str) -> Answer:
        status = "pending" if order["status"] == "pending" else "valid"
        token = base64.urlsafe_b64encode(f"token-of-order-{rest:>016}".encode()).rstrip(b"=").decode()
        challenge = {"type": "http-01", "url": f"{self.base}/challenge/{rest}", "token": token, "status": status}
        identifier = {"type": "dns", "value": order["host"]}
        return self._json({"status": status, "identifier": identifier, "challenges": [challenge]})

    def _challenge(self, order: dict[str, Any], payload: Any, rest: str) -> Answer:
        order["status"] = "ready"
        return self._json({"type": "http-01", "url": f"{self.base}/challenge/{rest}", "status": "processing"})

    def _finalize(self, order: dict[str, Any], payload: dict[str, Any], rest: str) -> Answer:
        csr = x509.load_der_x509_csr(_decoded(payload["csr"]))
        order["status"], order["chain"] = "valid", self.sign(order["host"], csr.public_key())
        return self._json(self._body(int(rest)))

    def _certificate(self, order: dict[str, Any], payload: Any, rest: str) -> Answer:
        return 200, {"Content-Type": "application/pem-certificate-chain"}, order["chain"]

    def _info(self, order: Any, payload: Any, rest: str) -> Answer:
        assert self.window is not None
        now = datetime.datetime.now(datetime.UTC)
        start, end = (now + datetime.timedelta(seconds=seconds) for seconds in self.window)
        form = "%Y-%m-%dT%H:%M:%SZ"
        return self._json({"suggestedWindow": {"start": start.strftime(form), "end": end.strftime(form)}})

    def sign(self, host: str, key: Any, *, issuer_key: Any = None) -> bytes:
        """A chain of two for ``host``."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake CA")])
        now = datetime.datetime.now(datetime.UTC)

        def made(subject: x509.Name, public: Any, ca: bool, extension: x509.ExtensionType) -> bytes:
            builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
            builder = builder.serial_number(x509.random_serial_number()).not_valid_before(
                now - datetime.timedelta(seconds=1)
            )
            builder = builder.not_valid_after(now + datetime.timedelta(seconds=self.life))
            builder = builder.add_extension(extension, critical=False)
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

        leaf = made(x509.Name([]), key, False, x509.SubjectAlternativeName([x509.DNSName(host)]))
        return leaf + made(
            name, self._key.public_key(), True, x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({})

            do_HEAD = do_GET

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                payload = _decoded(body["payload"])
                self._answer(json.loads(payload) if payload else {})

            def _answer(self, payload: dict[str, Any]) -> None:
                kind = self.path.strip("/").partition("/")[0]
                rest = self.path.rpartition("/")[2]
                number = int(rest) if rest.isdigit() and kind not in ("account",) else -1
                host = payload["identifiers"][0]["value"] if kind == "order" and payload else ""
                host = outer.orders[number]["host"] if 0 <= number < len(outer.orders) else host
                outer.asked.append((time.time(), kind, host))
                broken = outer.break_at(kind, host)
                status, headers, body = broken or outer.answer(self.path, payload)[2]
                self.send_response(status)
                headers = {"Replay-Nonce": base64.urlsafe_b64encode(str(time.time_ns()).encode()).decode(), **headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Tests print what matters."""

        return Handler


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def problem(kind: str, detail: str, status: int, **headers: str) -> Answer:
    """An ACME error."""
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    return status, {"Content-Type": "application/problem+json", **headers}, json.dumps(body).encode()
