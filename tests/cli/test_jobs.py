"""`einsearch submit`, `attach` and `stop` on a real head: real jobs that train."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from einsearch.jobs import Jobs
from einsearch.store import Store, StudyRow
from tests.cli.conftest import Answer, Cli
from tests.ray_head import Head


@pytest.fixture
def longer_study(tiny_study: Path) -> Path:
    """The tiny study with 2,500 dense steps before its search: time enough to follow it, and to stop it."""
    text = tiny_study.read_text()
    tiny_study.write_text(text.replace("budget: 2e8", "budget: 6e9").replace("6.4e7", "5e9"))
    return tiny_study


@pytest.fixture
def on_head(cli: Cli, head: Head, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """A command about the jobs of the head, called in this process."""
    for name, value in head.environment.items():
        monkeypatch.setenv(name, value)

    def run(command: str, *arguments: object) -> Answer:
        return cli(command, "--address", head.jobs, *arguments)

    return run


def row(head: Head) -> StudyRow:
    """The study in the store on the head; its books are right."""
    with Store.open(f"sqlite:///{head.home}/einsearch-runs/einsearch.db", create=False) as store:
        found = store.study("tiny")
        assert store.audit(found.id).violations == ()
    return found


def spent(head: Head) -> int:
    return row(head).spent if (head.home / "einsearch-runs" / "einsearch.db").exists() else 0


def read_until(process: subprocess.Popen[str], text: str, seconds: float = 120) -> str:
    """What a command says, up to a line with this text."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + seconds
    for line in process.stdout:
        said += line
        if text in line:
            return said
        assert time.monotonic() < deadline, said
    raise AssertionError(f"it ended without {text!r}:\n{said}")


def refused(answer: Answer, *parts: str) -> None:
    assert answer.code == 2, answer
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1, answer.err
    for part in parts:
        assert part in answer.err


def test_submit_leave_find_again_stop_and_continue(on_head, start, head, longer_study):
    study = ("--", longer_study, "--workers", 1)
    sent = on_head("submit", "--detach", *study)
    assert (sent.code, sent.err) == (0, "")
    job = sent.out.split()[1]
    assert sent.out == f"Job {job} at {head.jobs}\nFollow it: einsearch attach {job} --address {head.jobs}\n"

    following = start("attach", job, "--address", head.jobs, environment=head.environment)
    seen = read_until(following, " of budget ")
    assert "Running entrypoint for job" in seen
    assert "6e9 training FLOPs in all, never exceeded" in seen
    os.killpg(following.pid, signal.SIGINT)
    out, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")
    assert f"Detached; the job goes on. Follow it: einsearch attach {job} --address {head.jobs}\n" in out
    assert f"Stop it: einsearch stop {job} --address {head.jobs}\n" in out
    while spent(head) == 0:
        time.sleep(0.2)
    assert row(head).state == "running"

    answer = on_head("stop", job)
    assert answer.code == 0
    assert answer.out.startswith(f"Job {job} was asked to stop; `einsearch attach {job} --address {head.jobs}` shows")
    again = on_head("attach", job)
    assert (again.code, again.err) == (130, "")
    assert again.out.startswith(seen), "from the beginning"
    assert "Stopped; every running trial wrote a checkpoint." in again.out
    stopped = row(head)
    assert (stopped.state, stopped.lost, stopped.reserved) == ("stopped", 0, 0)
    assert 0 < stopped.spent < stopped.budget
    assert list(head.home.glob("einsearch-runs/tiny/checkpoints/*/step-*/tensors.safetensors"))
    assert on_head("stop", job).out == f"Job {job} had ended already: STOPPED.\n"

    done = on_head("submit", *study)
    assert (done.code, done.err) == (0, ""), done
    assert "done: Dense width 16: loss " in done.out
    assert "done: Kronecker width 16: loss " in done.out
    assert "Study tiny" in done.out
    finished = row(head)
    assert (finished.state, finished.lost) == ("finished", 0)
    assert finished.spent > stopped.spent


def test_input_that_the_head_refuses(on_head):
    answer = on_head("submit", "--space", "btt", "--budget", "1e3")
    assert (answer.code, answer.err) == (2, "")
    assert "einsearch: budget 1e3 FLOPs is too small" in answer.out.splitlines()[-1]


def test_input_that_is_refused_here(on_head, tiny_study, head, monkeypatch):
    before = len(Jobs(head.jobs)._client.list_jobs())
    refused(on_head("submit", "--bugdet", "1e14"), "No such option", "--bugdet")
    refused(on_head("submit", "--", tiny_study.with_name("none.yaml")), "no study file at ")
    tiny_study.write_text(tiny_study.read_text().replace("name", "nmae"))
    refused(on_head("submit", "--deterministic", tiny_study), "field nmae: unknown field")
    secret = on_head("submit", "--store", "postgresql://me:secret@db/x")
    refused(secret, "leave the password out of --store")
    assert "secret" not in secret.err
    monkeypatch.setattr("einsearch.job_files.UPLOAD_BYTES", 10)
    refused(on_head("submit", "--data", tiny_study.with_name("text")), "put it where the head sees it")
    assert len(Jobs(head.jobs)._client.list_jobs()) == before, "nothing was sent"


def test_a_job_that_is_not_there(on_head, head):
    for command in ("attach", "stop"):
        refused(on_head(command, "einsearch-none"), f"there is no job einsearch-none at {head.jobs}; it has ")
        refused(on_head(command, "../version"), "'../version' is no name of a job")


def test_another_token(on_head, monkeypatch, head):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    program = [sys.executable, "-m", "einsearch", "attach", "x", "--address", head.jobs]
    answer = subprocess.run(program, capture_output=True, text=True, timeout=60)
    refused(Answer(answer.returncode, answer.stdout, answer.stderr), "the job server at ", "oken")


def test_a_head_without_einsearch(on_head, head):
    """Its shell finds no such command."""
    client = Jobs(head.jobs)._client
    job = client.submit_job(entrypoint="exec einsearch-of-another-name run")
    answer = on_head("attach", job)
    refused(
        answer, f"the head at {head.jobs} found no `einsearch`: install it there, and start Ray with it on the PATH"
    )
    assert answer.code == 2
