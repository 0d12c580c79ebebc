"""The SQL store: studies, their trials, and the ledger that keeps the FLOP budget.

`Store` is the whole surface; what it returns are the frozen rows of `einsearch.store.rows`.
"""

from einsearch.store.audit import Audit
from einsearch.store.errors import AlreadySettled, DuplicateTrial, LeaseLost
from einsearch.store.rows import Curve, LeaseRow, Point, SegmentRow, StudyRow, TrialRow
from einsearch.store.store import Store

__all__ = [
    "AlreadySettled",
    "Audit",
    "Curve",
    "DuplicateTrial",
    "LeaseLost",
    "LeaseRow",
    "Point",
    "SegmentRow",
    "Store",
    "StudyRow",
    "TrialRow",
]
