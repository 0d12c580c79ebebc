"""All that a report says of a study comes from here: its row, its curves, its segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from einsearch.frontier import Frontier
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
        return ladder_frontier(self.curves)


def ladder_frontier(curves: Iterable[Curve]) -> Frontier:
    """The lower envelope of all evaluated points of the dense ladder among `curves`."""
    return Frontier.of(
        (point.flops, point.validation_loss)
        for curve in curves
        if curve.trial.kind == "ladder"
        for point in curve.points
        if point.validation_loss is not None
    )


def read_study(store_url: str, name: str) -> StudyData:
    """Read a study, also while it runs; nothing is written.

    Raises EinsearchError where there is no such store or no study of that name.
    """
    with Store.open(store_url, create=False) as store:
        study = store.study(name)
        return StudyData(study, tuple(store.curves(study.id)), tuple(store.segments(study.id)))
