"""The authenticator that the settings ask for; reads the secret's file.  One edge."""

from __future__ import annotations

from collections.abc import Callable

from fastroute.router.config.settings import Settings
from fastroute.router.control.auth.authenticator import PacketAuthenticator
from fastroute.router.control.auth.challenge_rules import ChallengeRules
from fastroute.router.control.auth.rules import AdmissionRules
from fastroute.router.control.auth.signatures import SignatureStamps, SignatureVerifier
from fastroute.router.protocol.proof import SecretError
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.secret_file import read_secret_file

log = get_logger("fastroute.router")


def read_subscription_secret(settings: Settings) -> bytes | None:
    """What announcers elsewhere prove themselves by; None when there is none, or its file can't be read any more."""
    try:
        return read_secret_file(settings.subscription_secret_file, log)
    except SecretError as error:
        log.error("subscription-secret-file: %s; nobody can prove anything by it", error)
        return None


def make_authenticator(
    settings: Settings, secret: bytes | None, owns: Callable[[str], bool], now: float, stamps: SignatureStamps
) -> PacketAuthenticator:
    """``owns``: whether an address is one of the router's own sockets; ``stamps``: those that the table holds."""
    verifier = None
    if settings.subscription_sign_check is not None:
        digest, _, directory = settings.subscription_sign_check.partition(":")
        verifier = SignatureVerifier(digest, directory)
    return PacketAuthenticator(AdmissionRules(settings.subscription_allow, owns), secret, now, verifier, stamps)


def make_challenge_authenticator(settings: Settings, owns: Callable[[str], bool], now: float) -> PacketAuthenticator:
    """That of challenge servers.  No secret counts there: who has it needs no such server."""
    senders = AdmissionRules(settings.subscription_allow, owns)
    return PacketAuthenticator(ChallengeRules(senders, settings.challenge_node), None, now)
