"""A real CA for tests: Debian's ``pebble`` with ``pebble-challtestsrv`` as its DNS, on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import tempfile
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from support.programs import Program, free_port, listens


def own_https_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA's HTTPS")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "ca-https.pem", folder / "ca-https.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


class ChallengeDns(Program):
    """pebble-challtestsrv: every name is 127.0.0.1, unless :meth:`set` says otherwise."""

    def __init__(self) -> None:
        self.port, self.management = free_port(), free_port()
        super().__init__(
            "pebble-challtestsrv", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.port}", "-http01", "",
            "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{self.management}",
        )  # fmt: skip
        self.wait_for(lambda: listens(self.management), "challtestsrv answers")

    def set(self, what: str, **body: object) -> None:
        """POST to its management: ``add-a``, ``set-txt``, ``clear-txt``."""
        url = f"http://127.0.0.1:{self.management}/{what}"
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=5).read()

    def hook(self) -> str:
        """A program for --dns-hook."""
        return (
            "#!/usr/bin/python3\nimport json, sys, urllib.request\n"
            "action, name, value = sys.argv[1:]\n"
            "what = {'set': {'host': name + '.', 'value': value}, 'clear': {'host': name + '.'}}[action]\n"
            f"url = 'http://127.0.0.1:{self.management}/' + action + '-txt'\n"
            "urllib.request.urlopen(urllib.request.Request(url, json.dumps(what).encode()))\n"
            "print(action, 'done')\n"
        )


class Pebble(Program):
    """pebble, which looks for challenges on ``http_port`` of what ``dns`` says."""

    def __init__(
        self, dns: ChallengeDns, http_port: int, *, eab: dict[str, str] | None = None, port: int = 0, life: int = 0,
        files: Path | None = None, **environment: object,
    ) -> None:  # fmt: skip
        self.port, self.management = port or free_port(), free_port()
        self.files = files or Path(tempfile.mkdtemp(prefix="fastroute-pebble-"))
        if files is None:
            own_https_certificate(self.files)
        self.ca_file = self.files / "ca-https.pem"
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.ca_file),
            "privateKey": str(self.files / "ca-https.key"),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "externalAccountBindingRequired": eab is not None,
            "externalAccountMACKeys": eab or {},
        }
        if life:
            config["certificateValidityPeriod"] = life
        path = self.files / "pebble.json"
        path.write_text(json.dumps({"pebble": config}))
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        env |= {name: str(value) for name, value in environment.items()}
        super().__init__("pebble", "-config", str(path), "-dnsserver", f"127.0.0.1:{dns.port}", env=env)
        self.wait_for(lambda: listens(self.port) and listens(self.management), "pebble answers")

    @property
    def url(self) -> str:
        """The URL of its ACME directory."""
        return f"https://127.0.0.1:{self.port}/dir"

    def root(self) -> str:
        """Its root certificate in PEM."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        url = f"https://127.0.0.1:{self.management}/roots/0"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return str(answer.read().decode())
