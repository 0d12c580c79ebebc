"""`einsearch run`: its output, and what no crash may break."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from einsearch.store import Store, StudyRow


@pytest.fixture
def longer_study(tiny_study: Path) -> Path:
    """The tiny study with 250 dense steps before its search: time enough to disturb it."""
    text = tiny_study.read_text()
    tiny_study.write_text(text.replace("budget: 2e8", "budget: 7e8").replace("6.4e7", "5e8"))
    return tiny_study


def row_of(folder: Path) -> StudyRow:
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db") as store:
        row = store.study("tiny")
        assert store.audit(row.id).violations == ()
        trials = store.trials(row.id)
    assert len({(trial.key, trial.seed) for trial in trials}) == len(trials)
    assert row.spent + row.lost + row.reserved <= row.budget
    return row


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.1)


def training(folder: Path) -> bool:
    """Whether a running segment has told of its progress or a trial has a checkpoint."""
    if not (folder / "runs" / "einsearch.db").exists():
        return False
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db") as store:
        return any(
            segment.progress_step or segment.state == "done"
            for study in store.studies()
            for segment in store.segments(study.id)
        )


def test_a_dry_run_says_the_plan_and_begins_nothing(cli, tiny_study, tmp_path):
    answer = cli("run", tiny_study, "--dry-run", "--workers", 2, "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    for said in (
        "tiny in sqlite:///", "2 workers", " documents, ", "GPT-2 of depth 1, head size 8; 4 sequences of 16",
        "width 16: 6.4e7 FLOPs (together 6.4e7)", "about 4 of 4 (tiny), widths 16", "1.6e7 → 3.2e7 FLOPs a trial",
        "2e8 training FLOPs in all, never exceeded", "expected time", "GFLOP/s a worker",
    ):  # fmt: skip
        assert said in answer.out
    with Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db") as store:
        assert store.studies() == []


def test_a_dry_run_as_json(cli, tiny_study):
    answer = cli("run", tiny_study, "--dry-run", "--json", "--workers", 1, "--device", "cpu")
    plan = json.loads(answer.out)["plan"]
    assert plan["rungs"] == [16000000, 32000000]
    assert plan["ladder"] == [{"width": 16, "flops": 64000000}]
    assert plan["workers"] == 1
    assert plan["expected_seconds"] > 0


def test_a_run_in_plain_lines_then_the_finished_study_again(cli, tiny_study, tmp_path):
    answer = cli("run", tiny_study, "--workers", 1, "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    assert "\x1b" not in answer.out, "no colours where there is no terminal"
    assert "done: Dense width 16: loss " in answer.out
    assert "done: Kronecker width 16: loss " in answer.out
    assert "Study tiny" in answer.out
    assert "Report: " in answer.out
    assert "einsearch show " in answer.out
    assert (tmp_path / "runs" / "tiny" / "report.html").is_file()
    row = row_of(tmp_path)
    assert row.state == "finished"
    assert row.lost == 0
    for flags in ((), ("--quiet",), ("--json",)):
        again = cli("run", tiny_study, "--workers", 1, "--device", "cpu", *flags)
        assert again.code == 0
        assert row_of(tmp_path) == row, "a finished study is not run again"
    assert json.loads(again.out)["study"] == "tiny"


def test_a_second_driver_is_refused_and_ctrl_c_leaves_a_checkpoint(cli, start, longer_study, tmp_path):
    command = ("run", longer_study, "--workers", 1, "--device", "cpu")
    first = start(*command)
    wait_until(lambda: training(tmp_path))
    me = f"einsearch: study 'tiny' is being run by {os.uname().nodename}:{first.pid} (last sign of life "
    for other in (command, ("clean", "tiny", "--checkpoints", "--yes"), ("clean", "tiny", "--yes")):
        answer = cli(*other)
        assert answer.code == 2
        assert answer.err.startswith(me)
        assert answer.err.count("\n") == 1
    (status,) = json.loads(cli("status", "--json").out)
    assert (status["state"], status["driven"]) == ("running", True)

    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to all its processes
    out, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (130, "")
    assert "Stopped; every running trial wrote a checkpoint." in out
    stopped = row_of(tmp_path)
    assert (stopped.state, stopped.reserved, stopped.lost) == ("stopped", 0, 0)
    assert 0 < stopped.spent < stopped.budget


@pytest.mark.slow  # in parts: tests/search/test_driver.py
def test_a_killed_driver_is_charged_and_the_same_command_finishes(cli, start, longer_study, tmp_path):
    command = ("run", longer_study, "--workers", 1, "--device", "cpu")
    driver = start(*command)
    wait_until(lambda: training(tmp_path))
    wait_until(lambda: row_of(tmp_path).reserved > 0)
    workers = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    killed = row_of(tmp_path)
    assert killed.state == "running"
    assert killed.reserved > 0
    (status,) = json.loads(cli("status", "--json").out)
    assert status["driven"] is False

    answer = cli(*command, "--quiet")
    assert (answer.code, answer.err) == (0, "")
    row = row_of(tmp_path)
    assert (row.state, row.reserved) == ("finished", 0)
    assert row.lost == killed.reserved
    assert row.spent > killed.spent


@pytest.mark.slow  # in parts: tests/search/test_local.py and test_driver.py
def test_a_folder_that_cannot_be_written_stops_the_study_in_one_line(cli, tiny_study, tmp_path):
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "checkpoints").write_text("in the way")
    answer = cli("run", tiny_study, "--workers", 1, "--device", "cpu")
    assert answer.code == 2
    assert answer.err.startswith("einsearch: ")
    assert "runs/tiny/checkpoints" in answer.err
    assert answer.err.count("\n") == 1
    row = row_of(tmp_path)
    assert (row.state, row.reserved, row.spent) == ("stopped", 0, 0)
    assert row.lost < 0.5 * row.budget, "no trial after another is burnt"
