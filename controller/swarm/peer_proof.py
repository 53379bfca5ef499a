"""How controllers of one swarm prove to each other that they have the routers' secret.  Pure.

Whoever asks draws a nonce and proves the question with it; the answer is proven with the same nonce, so that none that
was kept counts later.  A question that was recorded may be asked again: it leads to an answer that only a holder of the
secret can check, and that says no more than labels and names of nodes.
"""

from __future__ import annotations

import hmac

#: Hex digits of a nonce.
NONCE_SIZE = 32
NONCE, PROOF = "X-Fastroute-Nonce", "X-Fastroute-Proof"


def question_proof(secret: bytes, nonce: str, known: str) -> str:
    """The proof of the question what there is beside what is ``known``."""
    return _proof(secret, b"swarm question", nonce, known.encode())


def answer_proof(secret: bytes, nonce: str, body: bytes) -> str:
    """The proof of the answer ``body``."""
    return _proof(secret, b"swarm answer", nonce, body)


def proven(given: str, right: str) -> bool:
    """Whether the proof is the right one."""
    return hmac.compare_digest(given.encode(), right.encode())


def _proof(secret: bytes, what: bytes, nonce: str, text: bytes) -> str:
    return hmac.new(secret, b"\0".join((what, nonce.encode(), text)), "sha256").hexdigest()
