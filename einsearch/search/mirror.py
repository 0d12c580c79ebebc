"""The Optuna study in the same database, so that optuna-dashboard opens it.

It mirrors the search trials and may lag by some seconds; decisions never read it. A trial reports the
compute multiplier at every rung (step = rung) and is COMPLETE at the top rung. Optuna knows no paused
trials: they are RUNNING until the study ends, then PRUNED, and stay so if more budget promotes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from einsearch.frontier import Frontier
from einsearch.search.suggest import distributions, quiet_optuna
from einsearch.search.trials import rung_losses
from einsearch.space.search_space import SearchSpace
from einsearch.store import Curve
from einsearch.store.engine import BUSY_SECONDS, parse_url

_KEY = "einsearch:key"
_STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}


class OptunaMirror:
    """Keeps the Optuna study `name` at `url` in line with the search trials."""

    def __init__(self, url: str, name: str, space: SearchSpace, rungs: Sequence[int]) -> None:
        quiet_optuna()
        self._rungs = rungs
        self._distributions = distributions(space)
        self._study = optuna.create_study(
            storage=_storage(url),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        # Only what another process mirrored before: from here on this object knows what it wrote.
        self._shown: dict[str, FrozenTrial] = {
            t.user_attrs[_KEY]: t for t in self._study.trials if _KEY in t.user_attrs
        }

    def sync(self, curves: Sequence[Curve], frontier: Frontier, final: bool) -> None:
        """Create, report and end trials until the mirror shows `curves`. `final`: paused ones end as PRUNED."""
        if frontier.empty:
            return
        for curve in curves:
            if curve.trial.kind == "search" and curve.trial.suggestion is not None:
                self._sync_one(curve, frontier, final)

    def _sync_one(self, curve: Curve, frontier: Frontier, final: bool) -> None:
        trial = curve.trial
        scores = {
            rung: frontier.multiplier(flops // trial.flops_per_step * trial.flops_per_step, loss).value
            for rung, (flops, loss) in enumerate(zip(self._rungs, rung_losses(curve, self._rungs), strict=False))
        }
        state = _STATES.get(trial.state, TrialState.PRUNED if final else TrialState.RUNNING)
        shown = self._shown.get(trial.key)
        if shown is None:
            self._shown[trial.key] = self._create(curve, state, scores)
        elif not shown.state.is_finished() and (state, scores) != (shown.state, shown.intermediate_values):
            self._shown[trial.key] = self._advance(shown, state, scores)

    def _create(self, curve: Curve, state: TrialState, scores: dict[int, float]) -> FrozenTrial:
        trial = curve.trial
        assert trial.suggestion is not None
        frozen = create_trial(
            state=state,
            value=scores[max(scores)] if state is TrialState.COMPLETE else None,
            params=trial.suggestion["params"],
            distributions=self._distributions,
            intermediate_values=scores,
            user_attrs=_attributes(curve),
        )
        self._study.add_trial(frozen)
        return self._study.trials[-1]

    def _advance(self, shown: FrozenTrial, state: TrialState, scores: dict[int, float]) -> FrozenTrial:
        live = Trial(self._study, shown._trial_id)
        for rung, score in scores.items():
            if rung not in shown.intermediate_values:
                live.report(score, rung)
        if state is TrialState.COMPLETE:
            self._study.tell(shown.number, scores[max(scores)])
        elif state is not TrialState.RUNNING:
            self._study.tell(shown.number, state=state)
        return self._study.trials[shown.number]


def _attributes(curve: Curve) -> dict[str, Any]:
    trial = curve.trial
    taxonomy = trial.facts["taxonomy"]
    return {
        _KEY: trial.key,
        "structure": trial.label,
        "theta": trial.facts["theta"],
        "width": trial.facts["width"],
        "parameters": trial.parameters,
        **taxonomy,
    }


def delete_mirror(url: str, name: str) -> None:
    """Remove the Optuna study of that name; a study that was never mirrored has none."""
    quiet_optuna()
    storage = _storage(url)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)


def _storage(url: str) -> RDBStorage:
    """Optuna's storage in the database of a store, reached by the same driver."""
    parsed = parse_url(url)
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.drivername == "sqlite":
        arguments = {"connect_args": {"timeout": BUSY_SECONDS}}
    return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=arguments)
