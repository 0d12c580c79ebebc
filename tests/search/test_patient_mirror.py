"""The mirror lags while its database is away, says so once, and catches up."""

import logging
from dataclasses import replace

import optuna
import pytest

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier, dense_frontier
from einsearch.search.mirror import OptunaMirror, rebuild_mirror
from einsearch.search.optuna_storage import make_tables, optuna_storage, upgrade_tables
from einsearch.search.patient_mirror import PatientMirror
from einsearch.store import Store

from ..postgresql import running_server


def mirrored(url):
    with optuna_storage(url) as storage:
        trials = optuna.load_study(study_name="tiny", storage=storage).get_trials()
        return [(trial.params, trial.state, trial.values, trial.intermediate_values) for trial in trials]


@pytest.fixture
def finished(tiny_config, open_study, pretend):
    pretend(0, mirror=True)
    study = open_study(replace(tiny_config, budget=17 * 10**7))
    assert study.run(workers=1)
    return study


def test_a_mirror_whose_server_goes_away_catches_up(finished, postgresql_server, caplog):
    curves = finished.curves()
    frontier = dense_frontier(curves)
    with running_server() as server, server.database() as url:
        mirror = PatientMirror(url, lambda: OptunaMirror(url, "tiny", finished.plan.space, finished.plan.rungs))
        with caplog.at_level(logging.WARNING, "einsearch"):
            mirror.sync(curves[:2], frontier, False)
            server.stop("immediate")
            for _ in range(2):
                mirror.sync(curves[:3], frontier, False)
            server.begin()
            mirror.sync(curves, frontier, True)
        (said,) = [record.getMessage() for record in caplog.records]
        assert said.startswith("the Optuna mirror lags: postgresql+psycopg://***@127.0.0.1:")
        assert "\n" not in said
        assert mirrored(url) == mirrored(finished.store_url)
        mirror.close()


def test_a_bug_is_not_swallowed():
    class Broken:
        def sync(self, *_):
            raise ZeroDivisionError

        def close(self):
            return None

    with pytest.raises(ZeroDivisionError):
        PatientMirror("sqlite:///s.db", Broken).sync([], Frontier.of([]), False)


def test_a_mirror_is_rebuilt_from_the_store(finished):
    before = mirrored(finished.store_url)
    rebuild_mirror(finished.store_url, "tiny")
    assert mirrored(finished.store_url) == before, "nothing was missing"


def test_tables_of_another_optuna_are_said(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    Store.open(url).close()
    make_tables(url)
    assert upgrade_tables(url) is False
    with optuna_storage(url) as storage, storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v3.0.0.a'")
    with pytest.raises(EinsearchError, match=r"do not suit Optuna .*; `einsearch db upgrade` brings old ones up to"):
        make_tables(url)
