"""The list of all containers and networks, whole or, where Docker can't make it whole, in pieces.

One container that Docker can't describe makes the whole answer a 500, and Docker does not look at what a filter leaves
out.  So a list that is answered with an error is asked for again by state, and a state that fails by the labels that
opt in.  What is missing then is said; nobody is gone because of it, as what a list lacks is looked at one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container import Network, Summary, read_network, read_summary
from fastroute.controller.observe.docker_sdk import docker, requests

_STATES = ("running", "paused", "restarting", "created", "exited", "removing", "dead")
_BLANKS = (" ", "\t", "\r", "\n")
_REASON = 200

Filters = Mapping[str, list[str]]


class Lists:
    """Takes the lists of one engine.  The networks of the last one stand in where Docker can't tell them."""

    def __init__(self) -> None:
        self._networks: dict[str, Network] | None = None

    def take(self, ticket: int, labels: tuple[str, ...], client: docker.APIClient) -> m.Listed:
        """The list; raises what the client does when there is none.  ``labels`` (``NAME`` or ``NAME=VALUE``) opt in."""
        try:
            summaries, trouble = _summaries(client, {}), ""
        except docker.errors.APIError as error:
            summaries, trouble = _in_pieces(client, labels, error)
        try:
            self._networks = {network.name: network for network in map(read_network, client.networks())}
        except docker.errors.APIError as error:
            if self._networks is None:
                raise
            trouble = "; ".join(filter(None, (trouble, f"networks as they were: {_reason(error)}")))
        return m.Listed(ticket, tuple(summaries), self._networks, trouble)


def _in_pieces(
    client: docker.APIClient, labels: tuple[str, ...], whole: docker.errors.APIError
) -> tuple[list[Summary], str]:
    """What can be listed, and what can't; raises ``whole`` if that is nothing."""
    summaries: dict[str, Summary] = {}
    lacks: list[str] = []
    answered = False
    for state in _STATES:
        try:
            summaries |= {summary.id: summary for summary in _summaries(client, {"status": [state]})}
            answered = True
        except docker.errors.APIError:
            lacks.append(state)
            for label in labels:
                try:
                    summaries |= {
                        summary.id: summary for summary in _summaries(client, {"status": [state], "label": [label]})
                    }
                except docker.errors.APIError:
                    lacks[-1] = f"{state} (also of those with label {label})"
    if not answered:
        raise whole
    return list(summaries.values()), f"not all that are {', '.join(lacks)} are listed: {_reason(whole)}"


def _summaries(client: docker.APIClient, filters: Filters) -> list[Summary]:
    """The rows of ``containers/json``, read one by one.  Not the SDK's own ``containers()``: its JSON parser keeps
    every other thread from running, 100 ms with 5,000 containers, and a removal would wait for that."""
    params = {"all": "1"} | ({"filters": json.dumps(filters)} if filters else {})
    response = client.get(
        f"{client.base_url}/v{client.api_version}/containers/json", params=params, timeout=client.timeout
    )
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        raise docker.errors.APIError(str(error), response, _explanation(response)) from error
    return [read_summary(row) for row in _rows(response.content.decode("utf-8", "replace"))]


def _rows(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, at = json.JSONDecoder(), _after_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("an answer to a list of containers that is not a JSON list")
    at = _after_blanks(text, at + 1)
    while text[at : at + 1] != "]":
        row, at = decoder.raw_decode(text, at)
        yield row
        at = _after_blanks(text, at)
        if text[at : at + 1] == ",":
            at = _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _explanation(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text


def _reason(error: docker.errors.APIError) -> str:
    explanation = " ".join(str(error.explanation or error).split())
    return f"{error.status_code} {explanation[:_REASON]}"
