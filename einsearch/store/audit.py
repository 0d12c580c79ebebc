"""The books, added up again from the segments."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from einsearch.store.engine import Database
from einsearch.store.ledger import read_segments
from einsearch.store.outage import survives_outages
from einsearch.store.rows import SegmentRow, StudyRow, TrialRow
from einsearch.store.studies import read_study
from einsearch.store.trials import read_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Sums over a study's segments, in FLOPs, and every rule that its books break (none: they are right)."""

    study_id: int
    budget: int
    spent: int
    lost: int
    reserved: int
    violations: tuple[str, ...]


class Audits(Database):
    """The check that the counters can be trusted."""

    @survives_outages
    def audit(self, study_id: int) -> Audit:
        """Add the segments up again and compare with counters, budget and trials."""
        with self._read() as connection:
            study = read_study(connection, study_id, self.url)
            segments = read_segments(connection, study_id)
            trials = read_trials(connection, study_id)
        sums = {"spent": 0, "lost": 0, "reserved": 0}
        of_trial: dict[int, list[SegmentRow]] = defaultdict(list)
        for segment in segments:
            sums["spent" if segment.state == "done" else segment.state] += segment.flops
            of_trial[segment.trial_id].append(segment)
        violations = list(_check_counters(study, sums))
        for trial in trials:
            violations += _check_trial(trial, of_trial[trial.id])
        return Audit(study_id=study_id, budget=study.budget, violations=tuple(violations), **sums)


def _check_counters(study: StudyRow, sums: dict[str, int]) -> Iterator[str]:
    counters = {"spent": study.spent, "lost": study.lost, "reserved": study.reserved}
    for name, counter in counters.items():
        total = sums[name]
        if counter != total:
            yield f"the counter {name} is {counter}, the segments sum to {total}"
    if sum(sums.values()) > study.budget:
        yield f"spent + lost + reserved is {sum(sums.values())}, more than the budget {study.budget}"


def _check_trial(trial: TrialRow, segments: list[SegmentRow]) -> Iterator[str]:
    name = f"trial {trial.number}"
    reserved = [segment for segment in segments if segment.state == "reserved"]
    if len(reserved) > 1:
        yield f"{name} has {len(reserved)} reserved segments"
    if (trial.state == "running") != bool(reserved):
        yield f"{name} is {trial.state} with {len(reserved)} reserved segments"
    if trial.reused_from is not None:
        if segments:
            yield f"{name} is reused and has {len(segments)} segments of its own"
        return
    done = sorted(
        (segment for segment in segments if segment.state == "done"),
        key=lambda segment: (segment.start_step, segment.end_step),
    )
    step = 0
    for segment in done:
        if segment.start_step != step:
            yield f"{name}: segment {segment.id} begins at step {segment.start_step}, not {step}"
        step = segment.end_step
    if trial.step != step:
        yield f"{name} stands at step {trial.step}, its done segments end at {step}"
    flops = sum(segment.flops for segment in done)
    if trial.flops_done != flops:
        yield f"{name} counts {trial.flops_done} FLOPs, its done segments {flops}"
