"""What every form of the report says, computed once."""

from __future__ import annotations

from dataclasses import dataclass

from einsearch.report.budget import BudgetPart, budget_parts
from einsearch.report.finding import finding
from einsearch.report.ranking import DenseReference, Leader, dense_reference, rank
from einsearch.report.study_data import StudyData


@dataclass(frozen=True, slots=True)
class Summary:
    """The finding, the ranking, dense with the best one's FLOPs, and the use of the budget."""

    finding: str
    leaders: tuple[Leader, ...]
    dense: DenseReference | None
    budget: tuple[BudgetPart, ...]


def summarize(data: StudyData) -> Summary:
    """Summarize a study; `dense` is None where no candidate is ranked or no dense run was evaluated."""
    leaders = tuple(rank(data.curves, frontier=data.frontier))
    dense = dense_reference(data.curves, data.frontier, leaders[0].flops) if leaders else None
    return Summary(finding(data, leaders), leaders, dense, budget_parts(data))
