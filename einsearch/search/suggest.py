"""Optuna proposes the next candidate, from the study's history alone.

The in-memory Optuna study is rebuilt for every proposal from what the store knows, with a sampler seeded
by the study's seed and the number of the proposal. So a resumed study goes on as if it had not been
stopped, and a slow database is never on the way.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from einsearch.errors import EinsearchError
from einsearch.search.history import WINDOW, History, Observation, Suggestion
from einsearch.search.window_storage import WindowStorage
from einsearch.space.candidate import Candidate
from einsearch.space.draws import Drawer
from einsearch.space.search_space import Choice, Params, SearchSpace

ATTEMPTS = 10
"""Proposals a sampler may make for one new candidate, each 10 ms and more (GP: a second); then chance decides.
Where structures are few, as at small widths, samplers mostly repeat themselves."""

LATE_ATTEMPTS = 2
"""The same where more than WINDOW are known already: the sampler has settled, and repeats itself more and more."""

_POINTS = 100_000
"""Random structures that are looked at for a new candidate before a space counts as exhausted."""

_MENDED = 5
"""Times that a sampler's invalid proposal is mended with other random structures, before chance decides alone."""

_STARTUP = 10


class _Tpe(optuna.samplers.TPESampler):
    """TPE over parameters that never change: Optuna compares those of all trials to find that out, each time anew."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        past = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return {name: d for name, d in sorted(past[0].distributions.items()) if not d.single()} if past else {}


def _tpe(seed: int) -> BaseSampler:
    return _Tpe(seed=seed, multivariate=True, n_startup_trials=_STARTUP)


def _random(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP)


def _nsga2(seed: int) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "gp": _gp,
    "nsga2": _nsga2,
}
"""Names of `--sampler`."""


def require_sampler(name: str) -> None:
    """EinsearchError for an unknown sampler."""
    if name not in SAMPLERS:
        raise EinsearchError(f"unknown sampler {name!r}; known: {', '.join(SAMPLERS)}")


class Suggester:
    """Proposes candidates of one search space, but for the keys that are trained `elsewhere` in the study.

    Raises EinsearchError for an unknown sampler.
    """

    def __init__(self, space: SearchSpace, sampler: str, seed: int, elsewhere: frozenset[str] = frozenset()) -> None:
        require_sampler(sampler)
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._distributions = distributions(space)
        self._elsewhere = elsewhere
        self._frozen: dict[str, tuple[Observation, FrozenTrial]] = {}
        known = list(space.known_first())
        self._known = [
            (params, candidate, key) for params, candidate in known if (key := candidate.key) not in elsewhere
        ]
        count = space.count()
        # A listed structure is among the known ones at every width, so this counts all that are left out.
        self._count = None if count is None else count - len({key for *_, key in known} & elsewhere)

    def next(self, history: History | Sequence[Observation]) -> tuple[Candidate, Suggestion] | None:
        """A valid candidate whose key is not in `history`; None where there seems to be none left.

        Known structures come first, in their order; then the sampler is asked. A proposal that repeats
        a key is told its stored result, an invalid one that it failed, and the sampler is asked again.
        """
        known = history if isinstance(history, History) else History(history)
        for params, candidate, key in self._known:
            if key not in known:
                return candidate.canonical(), self._remember(known, params)
        if self._count is not None and len(known) >= self._count:
            return None
        study = self._study(known)
        refused: Params | None = None
        for _ in range(ATTEMPTS if len(known) <= WINDOW else LATE_ATTEMPTS):
            trial = study.ask(self._distributions)
            candidate = self._space.candidate(trial.params).canonical()
            if self._space.refuses(candidate) is not None or candidate.key in self._elsewhere:
                refused = refused or dict(trial.params)
                study.tell(trial, state=TrialState.FAIL)
            elif candidate.key in known:
                repeated = known[candidate.key]
                if repeated.scores:
                    study.tell(trial, repeated.scores[-1])
                else:
                    study.tell(trial, state=TrialState.FAIL)
            else:
                return candidate, _suggestion(study, trial)
        return self._by_chance(known, refused)

    def _by_chance(self, known: History, refused: Params | None) -> tuple[Candidate, Suggestion] | None:
        """A valid random candidate, where a sampler repeats itself or misses what may be trained.

        If the sampler proposed something that may not be trained, the valid structures nearest to it.
        """
        drawer = Drawer(self._space, np.random.default_rng((self._seed, len(known))))
        for _ in range(_MENDED if refused is not None and self._space.continuous else 0):
            params = drawer.mended(refused or {}, _POINTS)
            if params is None or params == refused:
                break
            candidate = self._space.candidate(params)
            if self._is_new(candidate, known) and self._space.refuses(candidate) is None:
                return candidate.canonical(), Suggestion(params=params)
        for params, candidate in drawer.valid(_POINTS):
            if self._is_new(candidate, known):
                return candidate.canonical(), Suggestion(params=params)
        return None

    def _is_new(self, candidate: Candidate, known: History) -> bool:
        return candidate.key not in known and candidate.key not in self._elsewhere

    def _remember(self, history: History, params: Params) -> Suggestion:
        """A known structure as a proposal, with what the sampler notes about it."""
        study = self._study(history)
        study.enqueue_trial(params)
        return _suggestion(study, study.ask(self._distributions))

    def _study(self, history: History) -> optuna.Study:
        quiet_optuna()
        entropy = np.random.SeedSequence((self._seed, len(history))).generate_state(1)
        storage = WindowStorage(self._trials(history.window()))
        sampler = SAMPLERS[self._sampler](int(entropy[0]))
        return optuna.create_study(direction="maximize", sampler=sampler, storage=storage)

    def _trials(self, window: Sequence[Observation]) -> list[FrozenTrial]:
        """The observations as Optuna's trials, those that did not change since the last proposal as they were."""
        before, self._frozen = self._frozen, {}
        for observation in window:
            seen = before.get(observation.key)
            same = seen is not None and seen[0] is observation
            self._frozen[observation.key] = seen if seen and same else (observation, self._freeze(observation))
        return [trial for _, trial in self._frozen.values()]

    def _freeze(self, observation: Observation) -> FrozenTrial:
        # TPE ranks pruned trials below complete ones and by the rung they reached: halving's own order.
        # The other samplers only learn from complete ones.
        scores = observation.scores
        if observation.failed:
            state = TrialState.FAIL
        elif not scores:
            state = TrialState.RUNNING
        else:
            state = TrialState.COMPLETE if observation.done or self._sampler != "tpe" else TrialState.PRUNED
        return create_trial(
            state=state,
            value=scores[-1] if state is TrialState.COMPLETE else None,
            params=observation.suggestion.params,
            distributions=self._distributions,
            intermediate_values=dict(enumerate(scores)),
            system_attrs=observation.suggestion.memory,
        )


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Optuna's view of a space's parameters."""
    return {
        name: CategoricalDistribution(range(p.options)) if isinstance(p, Choice) else FloatDistribution(0.0, 1.0)
        for name, p in space.parameters().items()
    }


def _suggestion(study: optuna.Study, trial: optuna.Trial) -> Suggestion:
    frozen = study.get_trials(deepcopy=False)[trial.number]
    # Copies of the proposal itself are not worth keeping; NSGA-II's generation is.
    memory = {k: v for k, v in frozen.system_attrs.items() if k.endswith(":generation")}
    return Suggestion(params=dict(trial.params), memory=memory)


def quiet_optuna() -> None:
    """Optuna says nothing on our screen: no log lines, no notes on experimental arguments."""
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
