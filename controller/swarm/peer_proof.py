"""How controllers of one swarm prove to each other that they have the routers' secret.  Pure.

Whoever asks draws a nonce and proves the question with it; the answer is proven with the same nonce, so that an answer
that somebody recorded counts for no later question.  A question that was recorded may be asked again: it leads to an
answer that only a holder of the secret can check, and that says no more than labels and names of nodes.
"""

from __future__ import annotations

import hmac

#: Hex digits of a nonce.
NONCE_SIZE = 32
NONCE, PROOF = "X-Fastroute-Nonce", "X-Fastroute-Proof"


def question_proof(secret: bytes, nonce: str, subject: str) -> str:
    """The proof of a question; ``subject``: the digest of the view that the asker has, or what else is asked for."""
    return _proof(secret, b"swarm question", nonce, subject.encode())


def answer_proof(secret: bytes, nonce: str, body: bytes) -> str:
    """The proof of the answer ``body``."""
    return _proof(secret, b"swarm answer", nonce, body)


def proven(proof: str, expected: str) -> bool:
    """Whether ``proof`` is the one that was ``expected``; takes the same time whatever it is."""
    return hmac.compare_digest(proof.encode(), expected.encode())


def _proof(secret: bytes, purpose: bytes, nonce: str, text: bytes) -> str:
    return hmac.new(secret, b"\0".join((purpose, nonce.encode(), text)), "sha256").hexdigest()
