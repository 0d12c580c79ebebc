"""`einsearch run`: its output, and what no crash may break."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from einsearch.store import Store, StudyRow

LONG_STUDY = ("budget: 2e8", "budget: 4e9"), ("[1.6e7, 3.2e7]", "[2e8, 4e8]"), ("6.4e7", "8e8")
"""Turns the tiny study into one of about 2,000 steps: time enough to disturb it."""


@pytest.fixture
def long_study(tiny_study: Path) -> Path:
    text = tiny_study.read_text()
    for before, after in LONG_STUDY:
        text = text.replace(before, after)
    tiny_study.write_text(text)
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
        "study", "tiny in sqlite:///", "2 workers", "text, 4 documents", "batch" not in answer.out or "sequences",
        "width 16: 6.4e7 FLOPs (together 6.4e7)", "about 4 of 4 (tiny), widths 16", "1.6e7 → 3.2e7 FLOPs a trial",
        "2e8 training FLOPs in all, never exceeded", "expected time", "GFLOP/s a worker",
    ):  # fmt: skip
        assert str(said) in answer.out
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


def test_two_drivers_then_ctrl_c_then_the_same_command(cli, start, long_study, tmp_path):
    """One study, disturbed twice: the books stay right and the same command ends it."""
    command = ("run", long_study, "--workers", 1, "--device", "cpu")
    first = start(*command)
    wait_until(lambda: training(tmp_path))
    second = cli(*command)
    assert second.code == 2
    assert second.err.startswith(f"einsearch: study 'tiny' is being run by {os.uname().nodename}:{first.pid} (last sign")
    assert second.err.count("\n") == 1
    cleaning = cli("clean", "tiny", "--checkpoints", "--yes")
    assert (cleaning.code, cleaning.err) == (2, "einsearch: study 'tiny' is being run; stop it first\n")

    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal: to all its processes
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert err == ""
    assert "Stopped; every running trial wrote a checkpoint." in out
    row = row_of(tmp_path)
    assert (row.state, row.reserved, row.lost) == ("stopped", 0, 0)
    assert 0 < row.spent < row.budget

    # Enough of it: what is left is the work of tests/search.
    with Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db") as store:
        trial = next(t for t in store.trials(row.id) if t.step)
    third = start(*command)
    wait_until(lambda: row_of(tmp_path).spent > row.spent)
    os.killpg(third.pid, signal.SIGKILL)
    third.communicate()
    with Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db") as store:
        continued = [s for s in store.segments(row.id) if s.trial_id == trial.id]
    assert [s.start_step for s in continued[1:2]] == [trial.step]


def test_a_killed_driver_is_charged_and_the_same_command_finishes(cli, start, tiny_study, tmp_path):
    command = ("run", tiny_study, "--workers", 1, "--device", "cpu", "--quiet")
    first = start(*command)
    wait_until(lambda: training(tmp_path))
    workers = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    before = row_of(tmp_path)
    status = cli("status", "--json")
    assert status.code == 0
    answer = cli(*command)
    assert (answer.code, answer.err) == (0, "")
    row = row_of(tmp_path)
    assert (row.state, row.reserved) == ("finished", 0)
    assert row.lost == before.reserved
    assert row.spent >= before.spent


def test_a_full_disk_stops_the_study_in_one_line(tiny_study, tmp_path):
    """No file may grow beyond 64 KiB: the checkpoints do, the log of the database does."""
    limited = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 60; exec "$@"', "-", *_command("run", tiny_study, "--workers", 1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 2, limited.stderr
    assert limited.stderr.startswith("einsearch: ")
    assert limited.stderr.count("\n") == 1


def _command(*arguments: object) -> list[str]:
    import sys

    return [sys.executable, "-m", "einsearch", *map(str, arguments)]
