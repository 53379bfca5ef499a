"""Which of those who announce a key's nodes decides on a setting of the key.  Pure.

People go before controllers, those before files, and these before the workers themselves, as it is for the attributes
of a node; of equals the one who has said something for longest counts, whatever the others say since.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, NamedTuple

from fastroute.router.control.table.sources import RecordId
from fastroute.router.protocol.node_options import KEY_SETTINGS, KeyOptions, text_of

SAYS_NOTHING = KeyOptions()


class Vote(NamedTuple):
    """What one record says of one setting."""

    record: RecordId
    value: Any


class _SettingVotes:
    """The votes for one setting that has at least one."""

    __slots__ = ("_by_rank", "_told")

    def __init__(self) -> None:
        # The oldest first.  An ordinary dict would search for its first item behind all those that have left.
        self._by_rank: dict[int, OrderedDict[RecordId, Any]] = {}
        # The value that counts, and those of whom people know that they don't.
        self._told: set[Any] = set()

    @property
    def winner(self) -> Vote:
        """The vote that counts."""
        return Vote(*next(iter(self._by_rank[max(self._by_rank)].items())))

    def put(self, record: RecordId, value: object) -> Vote | None:
        """``record`` says ``value``, at the place that it has if it has one.  Returns the vote that counts instead, if
        people should learn of that."""
        votes = self._by_rank.setdefault(record.rank, OrderedDict())
        before = votes.get(record)
        votes[record] = value
        if before == value:
            return None
        winner = self.winner
        if winner.record == record:
            self._told = {value}
        told = value in self._told
        self._told |= {winner.value, value}
        # What one controller says of its own containers it has settled and told already.
        settled = winner.record.source == record.source and record.source != ""
        return None if told or settled or winner.value == value else winner

    def drop(self, record: RecordId) -> bool:
        """Whether no vote is left now."""
        votes = self._by_rank.get(record.rank)
        if votes is not None and votes.pop(record, None) is not None and not votes:
            del self._by_rank[record.rank]
        return not self._by_rank


class KeyVotes:
    """All votes on the settings of one key."""

    __slots__ = ("_settings",)

    def __init__(self) -> None:
        self._settings: dict[str, _SettingVotes] = {}

    def options(self, defaults: KeyOptions) -> KeyOptions:
        """Each setting as the vote that counts says it, else as in ``defaults``."""
        if not self._settings:
            return defaults
        return replace(defaults, **{name: votes.winner.value for name, votes in self._settings.items()})

    def put(self, record: RecordId, options: KeyOptions) -> list[str]:
        """``record`` says this from now on.  Returns sentences about what it disagrees on since, and with whom."""
        disagreements: list[str] = []
        for setting in KEY_SETTINGS:
            name, value, votes = setting.name, getattr(options, setting.name), self._settings.get(setting.name)
            if value == getattr(SAYS_NOTHING, name):
                if votes is not None and votes.drop(record):
                    del self._settings[name]
                continue
            if votes is None:
                votes = self._settings[name] = _SettingVotes()
            if (winner := votes.put(record, value)) is not None:
                text = f"{name} {text_of(winner.value)} by {_who(winner.record)} counts, {_who(record)} says"
                disagreements.append(f"{text} {text_of(value)}")
        return disagreements

    def forget(self, record: RecordId) -> None:
        """``record`` says nothing any more."""
        self.put(record, SAYS_NOTHING)


def _who(record: RecordId) -> str:
    container, at, _ = record.owner.partition("@")
    of = f"container {container[:12]} of {record.source}" if at and record.source else record.source or "worker"
    return f"{of} at {record.address}" if record.address else of
