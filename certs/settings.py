"""What ``fastroute-certs`` was told, after every source was read and checked: one frozen object.

Field names are the option names with underscores (docs/reference/certs.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.router.protocol.address import Address, parse_address

SUBSCRIPTIONS = parse_address("127.0.0.1:3031")
CHALLENGE = parse_address(":8089")
ADMIN = parse_address("127.0.0.1:3037")

#: Why there are only self-signed certificates.
NOT_ASKED = "no CA is asked without --agree-tos (in the compose stack: FASTROUTE_ACME_EMAIL)"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertsSettings:
    """Every setting of ``fastroute-certs``."""

    router_url: tuple[str, ...] = ("http://127.0.0.1:3033",)
    """Admins of routers: whose keys get certificates."""
    controller_url: tuple[str, ...] = ("http://127.0.0.1:3034",)
    """Admins of controllers: whose keys get certificates, too."""
    token_file: str | None = None
    """File with the bearer token for those."""
    router: tuple[Address, ...] = (SUBSCRIPTIONS,)
    """Where routers take subscriptions: the challenge's path is announced there."""
    subscription_secret_file: str | None = None
    """File with the secret shared with the routers.  None: no HMAC."""
    challenge: Address = CHALLENGE
    """Where the CA's HTTP challenges are answered, through the routers."""
    self_check_address: Address | None = None
    """Where the self-check connects to.  None: to what the host name resolves to, port 80."""
    certificates: str = "/var/lib/fastroute/certificates"
    """Directory of the certificates, and of our own state."""
    directory: str = LETS_ENCRYPT
    """URL of the CA's directory."""
    ca_file: str | None = None
    """Certificates that the CA's own HTTPS may be signed by, beside the system's."""
    email: str | None = None
    """Contact of the account."""
    eab_kid: str | None = None
    """External account binding: the key's identifier."""
    eab_hmac_file: str | None = None
    """External account binding: file with the key."""
    agree_tos: bool = False
    """The CA's terms of service are agreed to; else no CA is asked."""
    dns_hook: tuple[str, ...] | None = None
    """Command that sets and clears TXT records."""
    keys: str = "all"
    """``all``: every host with a ready node; ``labelled``: those with ``fastroute.tls``."""
    admin: Address | None = ADMIN
    """HTTP: health, metrics, certificates.  None: turned off."""
    admin_token_file: str | None = None
    """File with the bearer token for readers who ask by another name than the one in ``admin``."""
    log_format: str | None = None
    """``text`` or ``json``.  None: text on a terminal, else json."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""

    @property
    def asks(self) -> bool:
        """Whether a CA is asked at all."""
        return self.agree_tos
