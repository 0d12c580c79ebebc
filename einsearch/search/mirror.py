"""The Optuna study in the same database, so that optuna-dashboard opens it.

It mirrors the search trials and may lag by some seconds; decisions never read it. A trial reports the
compute multiplier at every rung (step = rung) and is COMPLETE at the top rung. Optuna knows no paused
trials: they are RUNNING until the study ends, then PRUNED, and stay so if more budget promotes them.

Optuna takes some 50 statements for a trial, longer than all else that the driver does for it. So the mirror has only a
share of the driver's time, may lag behind, and shows no more trials than the dashboard can.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier, dense_frontier
from einsearch.search.optuna_storage import TROUBLE, line_of, open_storage, optuna_storage
from einsearch.search.suggest import distributions, quiet_optuna
from einsearch.search.trials import rung_losses
from einsearch.space.search_space import SearchSpace
from einsearch.store import Curve, Store, TrialRow

MOST_SHOWN = 1000
"""Trials that are mirrored, the first ones: with more the dashboard takes seconds for every refresh."""

SHARE = 0.04
"""Of the driver's time, while the study runs."""

_SAVED = 0.5
"""Seconds that a mirror may take at once: when it begins, and when it had nothing to do for a while."""

NOT_SHOWN = "einsearch:not shown"
"""The study's attribute that counts the trials beyond MOST_SHOWN."""

_KEY = "einsearch:key"
_STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}


@dataclass(slots=True)
class _Shown:
    """What Optuna has of a trial: its id there, its state, the rungs it reported."""

    trial_id: int
    state: TrialState
    rungs: set[int]


class OptunaMirror:
    """Keeps the Optuna study `name` at `url` in line with the search trials."""

    def __init__(self, url: str, name: str, space: SearchSpace, rungs: Sequence[int]) -> None:
        quiet_optuna()
        self._rungs = rungs
        self._distributions = distributions(space)
        self._storage = open_storage(url)
        study = optuna.create_study(storage=self._storage, study_name=name, direction="maximize", load_if_exists=True)
        # What another driver mirrored before; from here on this object knows what it wrote, and never
        # reads the study again: Optuna copies all its trials for every look.
        self._shown = {
            trial.user_attrs[_KEY]: _Shown(trial._trial_id, trial.state, set(trial.intermediate_values))
            for trial in study.get_trials(deepcopy=False)
            if _KEY in trial.user_attrs
        }
        self._study_id = self._storage.get_study_id_from_name(name)
        self._synced: dict[str, Curve] = {}
        self._may_end = False
        self._seconds, self._synced_at = _SAVED, time.monotonic()

    def sync(self, curves: Sequence[Curve], frontier: Frontier, final: bool) -> None:
        """Create, report and end trials until the mirror shows `curves`, or its share of the time is used up.

        `final`: however long it takes; paused trials end as PRUNED. No trial ends before the dense ladder is done,
        since its value, once written, is final.
        """
        if frontier.empty:
            return
        began = time.monotonic()
        if self._synced:
            self._seconds = min(_SAVED, self._seconds + SHARE * (began - self._synced_at))
        may_end = final or all(c.trial.state in ("complete", "failed") for c in curves if c.trial.kind == "ladder")
        if final or may_end != self._may_end:
            self._synced.clear()  # trials that have not changed may end now
        self._may_end = may_end
        for curve in self._behind(curves):
            if not final and time.monotonic() - began > self._seconds:
                break
            self._sync_one(curve, frontier, final, may_end)
            self._synced[curve.trial.key] = curve
        self._synced_at = time.monotonic()
        self._seconds -= self._synced_at - began
        if final and (left_out := sum(c.trial.kind == "search" for c in curves) - len(self._shown)) > 0:
            text = f"{left_out} more candidates: see einsearch report"
            self._storage.set_study_user_attr(self._study_id, NOT_SHOWN, text)

    def _behind(self, curves: Sequence[Curve]) -> Iterator[Curve]:
        """The search trials that changed since they were mirrored, but for those beyond the limit."""
        for curve in curves:
            key = curve.trial.key
            if curve.trial.kind != "search" or curve.trial.suggestion is None or self._synced.get(key) is curve:
                continue
            if key in self._shown or len(self._shown) < MOST_SHOWN:
                yield curve

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _sync_one(self, curve: Curve, frontier: Frontier, final: bool, may_end: bool) -> None:
        trial = curve.trial
        scores = rung_multipliers(curve, self._rungs, frontier)
        state = _STATES.get(trial.state, TrialState.PRUNED if final else TrialState.RUNNING)
        if not may_end:
            state = TrialState.RUNNING
        shown = self._shown.get(trial.key)
        if shown is None:
            self._shown[trial.key] = self._create(curve, state, scores)
        elif not shown.state.is_finished():
            self._advance(shown, state, scores)

    def _create(self, curve: Curve, state: TrialState, scores: dict[int, float]) -> _Shown:
        assert curve.trial.suggestion is not None
        frozen = create_trial(
            state=state,
            value=scores[max(scores)] if state is TrialState.COMPLETE else None,
            params=curve.trial.suggestion["params"],
            distributions=self._distributions,
            intermediate_values=scores,
            user_attrs=attributes(curve.trial),
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=frozen)
        return _Shown(trial_id, state, set(scores))

    def _advance(self, shown: _Shown, state: TrialState, scores: dict[int, float]) -> None:
        for rung in sorted(scores.keys() - shown.rungs):
            self._storage.set_trial_intermediate_value(shown.trial_id, rung, scores[rung])
            shown.rungs.add(rung)
        if state is not TrialState.RUNNING:
            values = [scores[max(scores)]] if state is TrialState.COMPLETE else None
            self._storage.set_trial_state_values(shown.trial_id, state, values)
            shown.state = state


def rung_multipliers(curve: Curve, rungs: Sequence[int], frontier: Frontier) -> dict[int, float]:
    """The compute multiplier at every rung that a trial completed. Raises ValueError on an empty frontier."""
    step_flops = curve.trial.flops_per_step
    return {
        rung: frontier.multiplier(flops // step_flops * step_flops, loss).value
        for rung, (flops, loss) in enumerate(zip(rungs, rung_losses(curve, rungs), strict=False))
    }


def attributes(trial: TrialRow) -> dict[str, Any]:
    """What Optuna shows of a trial beside its parameters."""
    taxonomy = trial.facts["taxonomy"]
    return {
        _KEY: trial.key,
        "structure": trial.label,
        "theta": trial.facts["theta"],
        "width": trial.facts["width"],
        "parameters": trial.parameters,
        **taxonomy,
    }


def rebuild_mirror(url: str, name: str) -> None:
    """Make the Optuna study of a stored study from its trials; one that is there is completed.

    Raises EinsearchError where the database fails, or the study was not made by `einsearch run`.
    """
    from einsearch.search.plan import Plan  # it needs torch, and who only shows a mirror does not

    with Store.open(url, create=False) as store:
        row = store.study(name)
        curves = store.curves(row.id)
    if "plan" not in row.config:
        raise EinsearchError(f"study {name!r} has no plan, from which its Optuna study could be made")
    plan = Plan.from_json(row.config["plan"], row.budget)
    try:
        mirror = OptunaMirror(url, name, plan.space, plan.rungs)
        try:
            mirror.sync(curves, dense_frontier(curves), final=row.state == "finished")
        finally:
            mirror.close()
    except TROUBLE as error:
        raise EinsearchError(line_of(url, error)) from error


def delete_mirror(url: str, name: str) -> None:
    """Remove the Optuna study of that name; a study that was never mirrored has none."""
    quiet_optuna()
    with optuna_storage(url) as storage:
        if name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
