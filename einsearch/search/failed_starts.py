"""Workers that cannot come up: some tries, then one clear error."""

from __future__ import annotations

import re
from collections import Counter

from einsearch.errors import EinsearchError

MOST_FAILURES = 3
"""Workers of one slot in a row that may fail to come up."""


class FailedStarts:
    """Counts, slot by slot, the workers that failed to come up; one that came up begins the count anew.

    remedy: what a person can do. A worker that dies while it comes up, as its node does, raised nothing and does not
    count: nodes come and go.
    """

    def __init__(self, remedy: str = "mend that or take the node out of the cluster") -> None:
        self._remedy = remedy
        self._failures: Counter[str] = Counter()

    def failed(self, slot: str, said: str) -> None:
        """A worker failed to come up. said: the text of its error. EinsearchError where trying again is in vain."""
        self._failures[slot] += 1
        if self._failures[slot] >= MOST_FAILURES:
            raise EinsearchError(
                f"no worker comes up{_place(said)}: {cause_in(said)} ({MOST_FAILURES} times in a row); "
                f"{self._remedy}, then the same command goes on"
            )

    def came_up(self, slot: str) -> None:
        del self._failures[slot]


def _place(said: str) -> str:
    """Where the constructor ran, if the text says so."""
    found = re.search(r"\(pid=\d+, ip=([^,)\s]+)", said)
    return f" on node {found[1]}" if found else ""


def cause_in(said: str) -> str:
    """The error at the end of a traceback, in one line.

    >>> cause_in('Traceback:\\n  File "a.py", line 1, in f\\n    f()\\nValueError: too\\n\\nlong')
    'ValueError: too long'
    """
    lines = said.strip().splitlines()
    frames = [n for n, line in enumerate(lines) if line.lstrip().startswith("File ")]
    after = lines[frames[-1] + 1 :] if frames else lines
    error = [line for n, line in enumerate(after) if any(not held.startswith(" ") for held in after[: n + 1])]
    return " ".join(" ".join(error or lines).split())[:300]
