"""The SLURM script on a real Ray cluster of two nodes: stopped by SLURM's signal, submitted again, finished.

`srun` and `scontrol` are stand-ins that run everything on this machine. The study trains with local workers
here, so that what is tested is the script: nodes, signals, exit codes, order at the end. Slow: `make test-images`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from einsearch.errors import EinsearchError
from einsearch.store import Store, StudyRow

from .image import FOLDER, Build

pytestmark = pytest.mark.slow

SRUN = """\
#!/bin/bash
# Every task of a step is a process of this machine; a signal to the step reaches all of them.
tasks=1
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks=* ]] && tasks=${1#*=}
    shift
done
if [[ " $* " == *" --head "* && -e $FAIL_ONCE ]]; then
    rm "$FAIL_ONCE"
    exit 1
fi
pids=()
trap 'kill -TERM "${pids[@]}"' TERM
for ((i = 0; i < tasks; i++)); do "$@" & pids+=($!); done
for pid in "${pids[@]}"; do while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done; done
"""
SCONTROL = """\
#!/bin/sh
case "$1" in
show) printf 'localhost\\nlocalhost\\n' ;;
requeue) echo "$2" >>"$REQUEUED" ;;
esac
"""
EINSEARCH = """\
#!/bin/sh
[ "$1 $2 $3 $4 $6 $7" = "run --backend ray --address --storage {storage}" ] || exit 9
shift 7
exec {einsearch} run "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Submits the script as one job at a time."""

    folder: Path
    path: str
    job: int
    study: Path

    @property
    def requeued(self) -> Path:
        return self.folder / "requeued"

    @property
    def fail_once(self) -> Path:
        """While this file exists, the head fails to start, and takes it away."""
        return self.folder / "fail-once"

    @property
    def temporary(self) -> Path:
        return Path(f"/tmp/ray-{self.job}")

    def submit(self, **environment: str) -> subprocess.Popen[str]:
        known = {
            "PATH": self.path,
            "HOME": str(self.folder),
            "SLURM_JOB_ID": str(self.job),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_CPUS_PER_TASK": "1",
            "EINSEARCH_STORAGE": str(self.folder / "storage"),
            "EINSEARCH_CACHE": str(self.folder / "cache"),
            "REQUEUED": str(self.requeued),
            "FAIL_ONCE": str(self.fail_once),
        }
        return subprocess.Popen(
            ["/bin/bash", FOLDER / "slurm.sbatch", self.study, "--workers", "1", "--runs", self.folder / "runs"],
            env=known | environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def row(self) -> StudyRow | None:
        try:
            with Store.open(f"sqlite:///{self.folder}/runs/einsearch.db", create=False) as store:
                (row,) = store.studies()
                return row
        except (EinsearchError, ValueError):
            return None  # the job has not made it yet

    def violations(self) -> list[str]:
        """What is wrong with the books, now that nothing runs."""
        with Store.open(f"sqlite:///{self.folder}/runs/einsearch.db", create=False) as store:
            (row,) = store.studies()
            return list(store.audit(row.id).violations)

    def processes(self) -> list[psutil.Process]:
        """What the job's cluster has left running."""
        mark = str(self.temporary)
        return [p for p in psutil.process_iter(["cmdline"]) if any(mark in word for word in p.info["cmdline"] or ())]


@pytest.fixture
def slurm(image: Build, tiny_study: Path, tmp_path: Path) -> Iterator[Slurm]:
    programs = tmp_path / "bin"
    programs.mkdir()
    einsearch = image.folder / "opt/einsearch/bin/einsearch"
    texts = {
        "srun": SRUN,
        "scontrol": SCONTROL,
        "einsearch": EINSEARCH.format(einsearch=einsearch, storage=tmp_path / "storage"),
    }
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    # Long enough to be stopped in the middle.
    text = tiny_study.read_text()
    for small, large in (("2e8", "2e9"), ("6.4e7", "6.4e8"), ("1.6e7, 3.2e7", "1.6e8, 3.2e8")):
        assert small in text
        text = text.replace(small, large)
    tiny_study.write_text(text)
    path = os.pathsep.join([str(programs), image.environment["PATH"]])
    slurm = Slurm(folder=tmp_path, path=path, job=os.getpid(), study=tiny_study)
    yield slurm
    for process in slurm.processes():
        process.kill()


def test_a_job_stops_in_time_and_the_same_one_continues(slurm: Slurm) -> None:
    job = slurm.submit(EINSEARCH_REQUEUE="1")
    while job.poll() is None and ((row := slurm.row()) is None or row.spent == 0):
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, output
    assert "slurm.sbatch: 2 of 2 nodes are in the cluster at 127.0.0.1:" in output
    assert "slurm.sbatch: the study is asked to end" in output
    stopped = slurm.row()
    assert stopped is not None
    assert (stopped.state, stopped.lost) == ("stopped", 0), output
    assert slurm.requeued.read_text().split() == [str(slurm.job)]
    assert slurm.violations() == []
    assert slurm.processes() == []
    assert not slurm.temporary.exists()

    job = slurm.submit()
    output, _ = job.communicate(timeout=600)
    assert job.returncode == 0, output
    finished = slurm.row()
    assert finished is not None
    assert (finished.state, finished.lost) == ("finished", 0), output
    assert finished.spent > stopped.spent
    assert slurm.requeued.read_text().split() == [str(slurm.job)]
    assert slurm.violations() == []
    assert slurm.processes() == []


def test_the_head_is_tried_again_and_a_driver_that_refuses_its_input_ends_the_job(slurm: Slurm) -> None:
    slurm.study.write_text("budget: much\n")
    slurm.fail_once.touch()
    job = slurm.submit()
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 2, output
    assert "attempt 1 to start the Ray head" in output
    assert "attempt 2" not in output
    assert "einsearch: " in output
    assert slurm.processes() == []
