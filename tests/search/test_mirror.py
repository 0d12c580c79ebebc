from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from einsearch.frontier import Frontier, dense_frontier
from einsearch.search import mirror as mirror_module
from einsearch.search.mirror import NOT_SHOWN, OptunaMirror, delete_mirror
from einsearch.search.study import Study
from einsearch.store import Store


@pytest.fixture
def finished(tiny_config, open_study, pretend) -> Study:
    """A finished study, one of whose candidates is left at the first rung."""
    pretend(0, mirror=True)
    study = open_study(replace(tiny_config, budget=17 * 10**7))
    assert study.run(workers=1)
    return study


def mirrored(study: Study) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=study.config.name, storage=study.store_url).get_trials()


def dense(study: Study) -> Frontier:
    return dense_frontier(study.curves())


def test_every_candidate_has_its_optuna_trial(finished):
    candidates = [c.trial for c in finished.curves() if c.trial.kind == "search"]
    shown = mirrored(finished)
    assert [t.user_attrs["einsearch:key"] for t in shown] == [c.key for c in candidates]
    for trial, candidate in zip(shown, candidates, strict=True):
        assert candidate.suggestion is not None
        assert trial.params == candidate.suggestion["params"]
        assert trial.user_attrs["structure"] == candidate.label
        top = candidate.state == "complete"
        assert trial.state == (TrialState.COMPLETE if top else TrialState.PRUNED)
        assert len(trial.intermediate_values) == candidate.rung + 1
    assert {t.state for t in shown} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_values_are_compute_multipliers(finished):
    frontier = dense(finished)
    by_key = {c.trial.key: c for c in finished.curves()}
    for trial in mirrored(finished):
        if trial.state is TrialState.COMPLETE:
            point = by_key[trial.user_attrs["einsearch:key"]].points[-1]
            assert point.validation_loss is not None
            assert trial.value == frontier.multiplier(point.flops, point.validation_loss).value
            assert trial.value == trial.intermediate_values[len(finished.plan.rungs) - 1]


def test_mirroring_again_changes_nothing(finished):
    before = mirrored(finished)
    mirror = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)
    for _ in range(2):
        mirror.sync(finished.curves(), dense(finished), final=True)
    assert mirrored(finished) == before


def test_a_running_study_is_mirrored_as_running_and_ends_later(finished, monkeypatch):
    monkeypatch.setattr(mirror_module, "_SAVED", 600.0)
    delete_mirror(finished.store_url, "tiny")
    mirror = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)
    mirror.sync(finished.curves(), Frontier.of([]), final=False)
    assert mirrored(finished) == [], "without a dense run there are no multipliers to show"
    mirror.sync(finished.curves(), dense(finished), final=False)
    states = [t.state for t in mirrored(finished)]
    assert TrialState.RUNNING in states
    again = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)  # another driver
    again.sync(finished.curves(), dense(finished), final=True)
    after = [t.state for t in mirrored(finished)]
    assert len(after) == len(states)
    assert after == [TrialState.PRUNED if state is TrialState.RUNNING else state for state in states]


def test_deleting_a_mirror_that_never_was(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    Store.open(url).close()
    delete_mirror(url, "none")
    assert optuna.get_all_study_names(url) == []


def test_optuna_dashboard_lists_the_study(finished):
    dashboard = pytest.importorskip("optuna_dashboard")
    app = dashboard.wsgi(finished.store_url)
    status = []
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/studies",
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environment, lambda code, headers, *_: status.append(code)))
    assert status[0].startswith("200")
    assert b'"tiny"' in body


def test_a_mirror_without_time_lags_and_catches_up_at_the_end(finished, monkeypatch):
    monkeypatch.setattr(mirror_module, "_SAVED", 0.0)
    delete_mirror(finished.store_url, "tiny")
    mirror = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)
    for _ in range(3):
        mirror.sync(finished.curves(), dense(finished), final=False)
    assert mirrored(finished) == []
    mirror.sync(finished.curves(), dense(finished), final=True)
    assert len(mirrored(finished)) == sum(c.trial.kind == "search" for c in finished.curves())


def test_what_has_not_changed_is_not_looked_at_again(finished, monkeypatch):
    monkeypatch.setattr(mirror_module, "_SAVED", 600.0)
    curves, frontier = finished.curves(), dense(finished)
    mirror = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)
    mirror.sync(curves, frontier, final=False)
    looked_at = []
    monkeypatch.setattr(mirror, "_sync_one", lambda curve, *_: looked_at.append(curve.trial.key))
    mirror.sync(curves, frontier, final=False)
    assert looked_at == []
    changed = next(c for c in curves if c.trial.kind == "search")
    mirror.sync([replace(changed, tokens=1) if c is changed else c for c in curves], frontier, final=False)
    assert looked_at == [changed.trial.key]


def test_of_many_trials_the_first_are_shown_and_the_rest_is_said(finished, monkeypatch):
    monkeypatch.setattr(mirror_module, "MOST_SHOWN", 2)
    delete_mirror(finished.store_url, "tiny")
    mirror = OptunaMirror(finished.store_url, "tiny", finished.plan.space, finished.plan.rungs)
    mirror.sync(finished.curves(), dense(finished), final=True)
    keys = [c.trial.key for c in finished.curves() if c.trial.kind == "search"]
    assert [t.user_attrs["einsearch:key"] for t in mirrored(finished)] == keys[:2]
    attributes = optuna.load_study(study_name="tiny", storage=finished.store_url).user_attrs
    assert attributes == {NOT_SHOWN: f"{len(keys) - 2} more candidates: see einsearch report"}
