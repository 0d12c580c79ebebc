"""All that a report says of a study comes from here: its row, its curves, its segments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from einsearch.frontier import Frontier, dense_frontier
from einsearch.store import Curve, SegmentRow, Store, StudyRow


@dataclass(frozen=True)
class StudyData:
    """A study as the store had it at one moment; the trials in the order of their numbers."""

    study: StudyRow
    curves: tuple[Curve, ...]
    segments: tuple[SegmentRow, ...]

    @cached_property
    def frontier(self) -> Frontier:
        """The lower envelope of the study's dense ladder; empty before its first evaluation."""
        return dense_frontier(self.curves)


def read_study(store_url: str, name: str) -> StudyData:
    """Read a study, also while it runs; nothing is written.

    Raises EinsearchError where there is no such store or no study of that name.
    """
    with Store.open(store_url, create=False) as store:
        return snapshot(store, store.study(name).id)


def snapshot(store: Store, study_id: int) -> StudyData:
    """The same from an open store. Raises EinsearchError where there is no such study."""
    study, curves, segments = store.snapshot(study_id)
    return StudyData(study, tuple(curves), tuple(segments))
