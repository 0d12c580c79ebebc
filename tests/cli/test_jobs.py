"""`einsearch submit`, `attach` and `stop` on a real head: real jobs that train."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from einsearch.store import Store, StudyRow
from tests.cli.conftest import Answer, Start
from tests.ray_head import Head


@pytest.fixture
def longer_study(tiny_study: Path) -> Path:
    """The tiny study with 1,000 dense steps before its search, in pieces of some."""
    text = tiny_study.read_text().replace("budget: 2e8", "budget: 2.6e9").replace("6.4e7", "2e9")
    tiny_study.write_text(text.replace("1.6e7, 3.2e7", "6.4e7, 1.28e8"))
    return tiny_study


@pytest.fixture
def on_head(start: Start, head: Head) -> Callable[..., Answer]:
    """A command about the jobs of the head: a process of its own, as Ray reads the token once a process."""

    def run(command: str, *arguments: object) -> Answer:
        process = start(command, "--address", head.jobs, *arguments, environment=head.environment)
        out, err = process.communicate(timeout=240)
        return Answer(process.returncode, out, err)

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
    assert "2.6e9 training FLOPs in all, never exceeded" in seen
    os.killpg(following.pid, signal.SIGINT)
    out, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")
    assert f"Detached; the job goes on. Follow it: einsearch attach {job} --address {head.jobs}\n" in out
    assert f"Stop it: einsearch stop {job} --address {head.jobs}\n" in out
    while spent(head) == 0:
        time.sleep(0.1)
    (trainer,) = head.processes("ray::Trainer")
    trainer.suspend()  # or it might end before it is stopped
    assert row(head).state == "running"

    answer = on_head("stop", job)
    trainer.resume()
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


def test_a_job_that_is_not_there(on_head, head):
    refused(on_head("attach", "einsearch-none"), f"there is no job einsearch-none at {head.jobs}; it has ")
    refused(on_head("stop", "../version"), "'../version' is no name of a job")


def test_another_token(start, head):
    process = start("attach", "x", "--address", head.jobs, environment=head.environment | {"RAY_AUTH_TOKEN": "0" * 64})
    out, err = process.communicate(timeout=60)
    refused(Answer(process.returncode, out, err), "the job server at ", "Authentication failed: Forbidden")


def test_a_head_without_einsearch(on_head, head):
    """Its shell finds no such command."""
    program = (
        "import sys; from einsearch.jobs import Jobs; print(Jobs(sys.argv[1])._client.submit_job(entrypoint='x-y'))"
    )
    command = [sys.executable, "-c", program, head.jobs]
    job = subprocess.run(command, env=os.environ | head.environment, stdout=subprocess.PIPE, text=True, check=True)
    refused(
        on_head("attach", job.stdout.strip()), f"the head at {head.jobs} found no `einsearch`: install it there, and "
    )


# Refused before the head is asked: there is none here.


def test_input_that_is_refused_here(cli, tiny_study, monkeypatch):
    pytest.importorskip("ray")
    submit = ("submit", "--address", "http://127.0.0.1:1")
    refused(cli(*submit, "--bugdet", "1e14"), "No such option", "--bugdet")
    refused(cli(*submit, "--budget", "1e14", tiny_study, "more.yaml"), "unexpected extra argument")
    refused(cli(*submit, "--", tiny_study.with_name("none.yaml")), "no study file at ")
    secret = cli(*submit, "--store", "postgresql://me:secret@db/x")
    refused(secret, "leave the password out of --store")
    assert "secret" not in secret.err
    refused(cli(*submit, "--runs", "runs"), "--runs runs is a path on the head node")
    refused(cli(*submit, tiny_study), "no job server answers at http://127.0.0.1:1 (")
    with monkeypatch.context() as patch:
        patch.setattr("einsearch.job_files.UPLOAD_BYTES", 10)
        refused(cli(*submit, "--data", tiny_study.with_name("text")), "put it where the head sees it")
    tiny_study.write_text(tiny_study.read_text().replace("seed", "sede") + "sede: 1\n")
    refused(cli(*submit, "--deterministic", tiny_study), "study.yaml line 9, field sede: unknown field")


def test_without_ray(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in (("submit", "--budget", "1e14"), ("attach", "x"), ("stop", "x")):
        refused(cli(*command), "the Ray backend needs Ray (", "pip install 'einsearch[ray]'")
