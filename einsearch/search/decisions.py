"""What a study trains next: work under way, the dense ladder, promotions, new candidates, what is left."""

from __future__ import annotations

from typing import Any

from einsearch.proxy.flops import flops_per_step, parameter_count
from einsearch.search.facts import facts_of
from einsearch.search.history import Suggestion
from einsearch.search.state import StudyState
from einsearch.search.suggest import Suggester
from einsearch.space.candidate import Candidate
from einsearch.store import Curve, TrialRow


class Decisions:
    """Chooses among the trials of a study, and makes new ones. It changes nothing of those that exist."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        plan, config = state.plan, state.config
        ladder_keys = frozenset(Candidate.dense(plan.space.shape(run.width)).key for run in plan.ladder)
        self._suggester = Suggester(plan.space, config.sampler, config.seed, elsewhere=ladder_keys)
        self._space_exhausted = False
        self._ahead: tuple[Candidate, Suggestion] | None = None

    def next_trial(self) -> TrialRow | None:
        """What to train next: what is under way, the ladder, promotions, new candidates, the leftovers."""
        state = self._state
        for trial in state.queued():
            if state.fits(trial):
                return trial
        promoted = state.halving.promotable()
        if promoted is not None and state.fits(state.curve(promoted).trial):
            return state.curve(promoted).trial
        return self._new_trial() or self._leftover()

    def think_ahead(self) -> None:
        """Have the next new candidate ready before a worker waits for it.

        The sampler does not see what is learnt until it is needed, and when that is depends on time: not for studies
        that have to repeat.
        """
        if self._ahead is None and self._may_begin():
            self._ahead = self._proposal()

    def _leftover(self) -> TrialRow | None:
        """Of the trials that could go on, the most advanced and best that the rest of the budget holds."""
        state, rungs = self._state, self._state.plan.rungs
        for rung in range(len(rungs) - 2, -1, -1):
            if state.free() <= rungs[rung + 1] - rungs[rung] - state.dearest_step:
                continue  # no trial is so near to the next rung: none has to be looked at
            for trial_id in state.halving.leftovers(rung):
                trial = state.curve(trial_id).trial
                if state.fits(trial):
                    return trial
        return None

    def _new_trial(self) -> TrialRow | None:
        if not self._may_begin():
            return None
        proposal, self._ahead = self._ahead or self._proposal(), None
        if proposal is None:
            return None
        candidate, suggestion = proposal
        return self._add(candidate, "search", suggestion)

    def _may_begin(self) -> bool:
        """Whether there may be a new candidate, and the budget holds its first rung."""
        return not self._space_exhausted and self._state.free() >= self._state.plan.rungs[0]

    def _proposal(self) -> tuple[Candidate, Suggestion] | None:
        with self._state.times("suggestions"):
            found = self._suggester.next(self._state.history)
        self._space_exhausted = found is None
        return found

    def _add(self, candidate: Candidate, kind: str, suggestion: Suggestion | None) -> TrialRow:
        protocol = self._state.config.protocol
        values: dict[str, Any] = {
            "key": candidate.key,
            "seed": self._state.config.seed,
            "kind": kind,
            "candidate": candidate.to_json(),
            "label": candidate.label,
            "flops_per_step": flops_per_step(candidate, protocol.context, protocol.batch),
            "parameters": parameter_count(candidate, protocol.context, protocol.weight_normalization),
            "facts": facts_of(candidate, protocol.context, protocol.weight_normalization),
            "suggestion": suggestion.to_json() if suggestion else None,
        }
        with self._state.times("books"):
            trial = self._state.store.add_trial(self._state.study.id, self._state.epoch, **values)
        self._state.put(Curve(trial=trial))
        return trial

    def add_ladder(self) -> None:
        """Queue the dense runs that the study does not have yet, or take them over from another study.

        A complete dense run of another study in the same store, under the same protocol and long enough,
        is copied and costs nothing.
        """
        state, protocol = self._state, self._state.config.protocol
        have = {c.trial.candidate["shape"]["width"] for c in state.curves if c.trial.kind == "ladder"}
        for run in state.plan.ladder:
            if run.width in have:
                continue
            candidate = Candidate.dense(state.plan.space.shape(run.width))
            step_flops = flops_per_step(candidate, protocol.context, protocol.batch)
            flops = run.flops // step_flops * step_flops
            source = state.store.reusable(state.study.protocol_id, candidate.key, state.config.seed, flops)
            if source is None:
                self._add(candidate, "ladder", None)
            else:
                trial = state.store.add_reused_trial(state.study.id, state.epoch, source)
                copied = tuple(state.store.points(state.study.id)[trial.id])
                state.put(Curve(trial=trial, points=copied))
