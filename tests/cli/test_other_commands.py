"""status, resume, report, show and clean, over one study that was run once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.store import Store


@pytest.fixture(scope="module")
def run_once(write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    config = read_study_file(write_tiny_study(folder))
    store = f"sqlite:///{folder}/runs/einsearch.db"
    assert Study.open(config, store=store, runs=folder / "runs", device="cpu").run(workers=1)
    return folder


@pytest.fixture
def runs(run_once: Path, tmp_path: Path) -> Path:
    """A copy of its `runs`, where the commands look for it."""
    return shutil.copytree(run_once / "runs", tmp_path / "runs")


@pytest.fixture
def key(runs: Path) -> str:
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        return store.trials(store.study("tiny").id)[1].key


def test_status_lists_the_studies(cli, runs):
    answer = cli("status")
    assert (answer.code, answer.err) == (0, "")
    header, row = (line.split() for line in answer.out.splitlines())
    assert header == ["study", "state", "budget", "spent", "lost", "reserved", "seconds"]
    assert row[:3] == ["tiny", "finished", "2e8"]
    assert row[4:6] == ["0", "0"]


def test_status_as_json(cli, runs):
    (all_of_them,) = json.loads(cli("status", "--json").out)
    one = json.loads(cli("status", "tiny", "--json").out)
    assert one == all_of_them | {"running": [], "stuck": [], "lost_work": [], "violations": []}
    assert (one["name"], one["state"], one["lost"], one["driven"]) == ("tiny", "finished", 0, False)


def test_status_of_one_study_shows_its_leaders(cli, runs):
    answer = cli("status", "tiny")
    assert (answer.code, answer.err) == (0, "")
    for said in ("Running", "Leaders", "Kronecker", "multiplier"):
        assert said in answer.out
    assert "books:" not in answer.out


def test_show_a_trial(cli, runs, key):
    answer = cli("show", key[:6])
    assert (answer.code, answer.err) == (0, "")
    for said in (f"{key}, seed 0, trial 1 (search)", "BTT rank 1", "ω 0", "complete", "down", "validation loss", "x"):
        assert said in answer.out
    shown = json.loads(cli("show", key[:6], "--json").out)
    assert shown["key"] == key
    assert [point["step"] for point in shown["points"]] == sorted({point["step"] for point in shown["points"]})


def test_show_what_is_not_there_or_not_one(cli, runs, key):
    answer = cli("show", "zz")
    assert (answer.code, answer.err) == (2, "einsearch: no trial of this study has a key that begins with 'zz'\n")
    answer = cli("show", "")
    assert answer.code == 2
    assert answer.err.startswith("einsearch: 5 trials have a key that begins with '': ")
    assert answer.err.count("\n") == 1
    answer = cli("show", key, "--seed", 7)
    assert answer.err == f"einsearch: no trial of this study has a key that begins with '{key}' and seed 7\n"


@pytest.mark.parametrize(("format", "name"), [("html", "report.html"), ("md", "report.md"), ("json", "report.json")])
def test_a_report_is_written_where_it_is_asked_for(cli, runs, tmp_path, format, name):
    answer = cli("report", "-o", tmp_path / "new" / "folder", "--format", format)
    assert (answer.code, answer.err) == (0, "")
    text = (tmp_path / "new" / "folder" / name).read_text()
    assert "tiny" in text
    assert "Kronecker" in text
    if format == "json":
        assert json.loads(text)["study"] == "tiny"


def test_a_report_is_printed_without_a_folder(cli, runs):
    assert cli("report", "tiny", "--format", "md").out.startswith("# tiny\n")
    assert json.loads(cli("report", "--format", "json").out)["state"] == "finished"
    assert cli("report").code == 0
    assert (runs / "tiny" / "report.html").is_file()


def test_a_report_where_no_file_can_be(cli, runs, tmp_path):
    (tmp_path / "file").write_text("x")
    for format in ("html", "md", "json"):
        answer = cli("report", "-o", tmp_path / "file", "--format", format)
        assert answer.code == 2, format
        assert answer.err.startswith("einsearch: cannot write ")
        assert answer.err.count("\n") == 1


def test_resuming_a_finished_study_shows_its_result(cli, runs):
    answer = cli("resume", "--workers", 1, "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    assert "Study tiny is finished; this is its result." in answer.out


def test_resuming_with_less_than_is_used(cli, runs):
    answer = cli("resume", "tiny", "--budget", "1e8", "--workers", 1, "--device", "cpu", "--quiet")
    assert answer.code == 2
    assert answer.err.startswith("einsearch: budget 100000000 of study 'tiny' is below the ")
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        row = store.study("tiny")
        assert (row.state, row.budget) == ("finished", 2 * 10**8)
        assert store.lease(row.id) is None


def test_clean_the_checkpoints(cli, runs):
    assert any((runs / "tiny" / "checkpoints").iterdir())
    answer = cli("clean", "tiny", "--checkpoints", "--yes")
    assert (answer.code, answer.out) == (0, "Removed the checkpoints of tiny.\n")
    assert not (runs / "tiny" / "checkpoints").exists()
    assert json.loads(cli("status", "tiny", "--json").out)["state"] == "finished"
    assert cli("report").code == 0, "results stay"


def test_clean_everything(cli, runs):
    answer = cli("clean", "tiny", "--yes")
    assert (answer.code, answer.out) == (0, "Removed all results, checkpoints and reports of tiny.\n")
    assert not (runs / "tiny").exists()
    assert json.loads(cli("status", "--json").out) == []
    assert optuna.get_all_study_names(f"sqlite:///{runs}/einsearch.db") == []


def test_the_lease_of_a_dead_driver_hinders_no_cleaning(cli, runs):
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        store.acquire_lease(store.study("tiny").id, owner=_dead(), alive=lambda _: None)
    (row,) = json.loads(cli("status", "--json").out)
    assert row["driven"] is False
    assert cli("clean", "tiny", "--checkpoints", "--yes").code == 0
    assert cli("clean", "tiny", "--yes").code == 0


def _dead() -> str:
    import os

    return f"{os.uname().nodename}:{2**22 + 1}:1.00"
