"""Asks one controller of the swarm and believes only an answer that it has proven.  An edge; it blocks."""

from __future__ import annotations

import secrets

from fastroute.controller.swarm.peer_proof import NONCE, NONCE_SIZE, PROOF, answer_proof, proven, question_proof
from fastroute.router.runtime.http_client import httpx

#: Bytes of an answer, at most.
MAX_ANSWER = 16 << 20


def ask_peer(
    client: httpx.Client, url: str, secret: bytes, subject: str, params: dict[str, str] | None = None
) -> bytes | None:
    """The body of the answer to a question about ``subject`` at ``url``.

    None: the controller did not answer 200, could not prove its answer by ``secret``, or answered too much.
    """
    nonce = secrets.token_hex(NONCE_SIZE // 2)
    headers = {NONCE: nonce, PROOF: question_proof(secret, nonce, subject)}
    body = bytearray()
    try:
        with client.stream("GET", url, params=params, headers=headers) as answer:
            for piece in answer.iter_raw():
                body += piece
                if len(body) > MAX_ANSWER:
                    return None
    except httpx.HTTPError:
        return None
    proof = answer.headers.get(PROOF, "")
    if answer.status_code != 200 or not proven(proof, answer_proof(secret, nonce, bytes(body))):
        return None
    return bytes(body)
