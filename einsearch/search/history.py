"""What a sampler may learn from: what every proposal of a study came to, and the part of it that is shown to it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from einsearch.space.search_space import Params

WINDOW = 500
"""Observations up to which a sampler sees them all: asking grows with them."""

BEST, NEWEST, RUNNING = 50, 100, 25
"""Of a longer history: so many of the best, of the newest others, and of the newest without a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A proposal: the parameters and what the sampler wants to remember of it (JSON)."""

    params: Params
    memory: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"params": self.params, "memory": self.memory}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Suggestion:
        return cls(params=data["params"], memory=data.get("memory", {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a proposal came to. scores: log2 multiplier at each rung reached; done: at the top rung.

    A trial that still runs and has no score is known to the sampler as running.
    """

    key: str
    suggestion: Suggestion
    scores: tuple[float, ...]
    done: bool
    failed: bool

    @property
    def taught(self) -> bool:
        """Whether a sampler learns a score from it."""
        return bool(self.scores) and not self.failed


class History:
    """The observations of a study by key, in the order of their proposals."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._by_key: dict[str, Observation] = {}
        self._places: dict[str, int] = {}
        self._ranking: list[tuple[int, float, int, str]] = []
        for observation in observations:
            self.put(observation)

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def __getitem__(self, key: str) -> Observation:
        return self._by_key[key]

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._by_key.values())

    def put(self, observation: Observation) -> None:
        """Add a proposal, or replace what is known of it; it keeps its place."""
        old = self._by_key.get(observation.key)
        place = self._places.setdefault(observation.key, len(self._places))
        if old is not None and old.taught:
            del self._ranking[bisect_left(self._ranking, _rank(old, place))]
        if observation.taught:
            insort(self._ranking, _rank(observation, place))
        self._by_key[observation.key] = observation

    def window(self) -> list[Observation]:
        """What a sampler is shown, in the order of the proposals: all, or of more than WINDOW a part.

        The best ever, because they are what a sampler imitates; of the rest the newest that have a score, to tell the
        best from, and the newest without one: with hundreds of workers, the newest of all are all without.
        """
        if len(self) <= WINDOW:
            return list(self)
        chosen = {key for *_, key in self._ranking[:BEST]}
        newest = (o for o in reversed(self._by_key.values()) if o.taught and o.key not in chosen)
        running = (o for o in reversed(self._by_key.values()) if not o.scores and not o.failed)
        chosen |= {o.key for o in islice(newest, NEWEST)} | {o.key for o in islice(running, RUNNING)}
        return [self._by_key[key] for key in sorted(chosen, key=self._places.__getitem__)]


def _rank(observation: Observation, place: int) -> tuple[int, float, int, str]:
    """Ascending from the best: by rungs reached, then by score; halving's own order."""
    return -len(observation.scores), -observation.scores[-1], place, observation.key
