"""Proposals from shared trials are those from Optuna's own storage, and leave the shared trials as they were."""

import copy

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from einsearch.search.suggest import SAMPLERS, quiet_optuna
from einsearch.search.window_storage import WindowStorage

DISTRIBUTIONS = {f"x{n}": FloatDistribution(0.0, 1.0) for n in range(3)} | {"width": CategoricalDistribution(range(2))}


def trials(count: int) -> list[optuna.trial.FrozenTrial]:
    """Of every state that a history has."""
    draw = np.random.default_rng(0)
    states = (TrialState.PRUNED, TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL)
    found = []
    for n in range(count):
        state = states[n % len(states)]
        params = {name: float(draw.random()) for name in DISTRIBUTIONS if name != "width"} | {"width": n % 2}
        found.append(
            create_trial(
                state=state,
                value=float(params["x0"]) if state is TrialState.COMPLETE else None,
                params=params,
                distributions=DISTRIBUTIONS,
                intermediate_values={0: float(params["x0"])} if state is TrialState.PRUNED else {},
                system_attrs={"NSGAIISampler:generation": 0},
            )
        )
    return found


def proposals(study: optuna.Study) -> list[dict[str, object]]:
    """Some that are told a value, some that fail, one that was asked for by name."""
    study.enqueue_trial({"x0": 0.25, "x1": 0.5, "x2": 0.75, "width": 1})
    found = []
    for n in range(5):
        trial = study.ask(DISTRIBUTIONS)
        found.append(dict(trial.params))
        if n % 2:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(n))
    return found


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
@pytest.mark.parametrize("count", [0, 8, 60])
def test_samplers_propose_the_same_from_it(sampler, count):
    """TPE here without the shortcut of `suggest`, which is compared too."""
    quiet_optuna()
    shared = trials(count)
    plain = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](7))
    plain.add_trials(shared)
    expected = proposals(plain)
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](7), storage=WindowStorage(shared))
    assert proposals(study) == expected
    if sampler == "tpe":
        own = optuna.samplers.TPESampler(seed=7, multivariate=True, n_startup_trials=10)
        assert (
            proposals(optuna.create_study(direction="maximize", sampler=own, storage=WindowStorage(shared))) == expected
        )


def test_other_seeds_propose_other_things():
    """The comparison above can fail."""
    quiet_optuna()
    found = [
        proposals(optuna.create_study(sampler=SAMPLERS["tpe"](seed), storage=WindowStorage(trials(60))))
        for seed in (7, 8)
    ]
    assert found[0] != found[1]


def test_the_shared_trials_are_not_changed():
    shared = trials(40)
    WindowStorage(shared)  # numbers them
    before = copy.deepcopy(shared)
    storage = WindowStorage(shared)
    running = next(t for t in shared if t.state is TrialState.RUNNING)
    storage.set_trial_user_attr(running.number, "a", 1)
    storage.set_trial_intermediate_value(running.number, 1, 2.0)
    assert storage.get_trial(running.number).user_attrs == {"a": 1}
    proposals(optuna.create_study(direction="maximize", sampler=SAMPLERS["tpe"](0), storage=storage))
    assert shared == before
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_user_attr(0, "a", 1)
