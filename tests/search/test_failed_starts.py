"""Workers that cannot come up end a study in one line, on a real cluster whose nodes say that they have a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from einsearch.errors import EinsearchError
from einsearch.search.failed_starts import MOST_FAILURES, FailedStarts, cause_in
from einsearch.store import Store

SAID = """\
The actor died because of an error raised in its creation task, \x1b[36mray::Trainer.__init__()\x1b[39m (pid=17, \
ip=10.0.0.7, actor_id=ab01, repr=<einsearch.search.ray_worker.Trainer object at 0x7f>)
  File "/site-packages/einsearch/search/ray_worker.py", line 119, in __init__
    torch.cuda.set_per_process_memory_fraction(memory_fraction)
  File "/site-packages/torch/cuda/__init__.py", line 361, in _lazy_init
    torch._C._cuda_init()
RuntimeError: Found no NVIDIA driver on your system.
Check that you have one.
"""


def test_the_third_failure_in_a_row_says_where_and_why():
    starts = FailedStarts()
    starts.failed("ray-0", SAID)
    starts.failed("ray-0", SAID)
    with pytest.raises(EinsearchError) as raised:
        starts.failed("ray-0", SAID)
    assert str(raised.value) == (
        "no worker comes up on node 10.0.0.7: RuntimeError: Found no NVIDIA driver on your system. Check that you have "
        "one. (3 times in a row); mend that or take the node out of the cluster, then the same command goes on"
    )


def test_slots_are_counted_apart_and_one_that_came_up_begins_anew():
    starts = FailedStarts()
    for _ in range(2 * MOST_FAILURES):
        for slot in ("ray-0", "ray-1"):
            for _ in range(MOST_FAILURES - 1):
                starts.failed(slot, SAID)
        starts.came_up("ray-0")
        starts.came_up("ray-1")
    starts.came_up("ray-2")
    starts.failed("ray-2", SAID)


def test_the_cause_without_a_traceback_is_the_text():
    assert cause_in("something\n  went   wrong\n") == "something went wrong"


@pytest.fixture(scope="module")
def broken_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes beside the head: one that says that it has a GPU, and one whose einsearch cannot be imported."""
    pytest.importorskip("ray")
    import torch

    if torch.cuda.is_available():
        pytest.skip("CUDA works here")
    shadow = tmp_path_factory.mktemp("shadow")
    (shadow / "einsearch").mkdir()
    (shadow / "einsearch" / "__init__.py").write_text("raise ImportError('half installed')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_raylet_start_wait_time_s", "180")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.add_node(num_cpus=0, num_gpus=1)
        patch.setenv("PYTHONPATH", str(shadow))
        made.add_node(num_cpus=1)
        yield made
        made.shutdown()


WITHOUT_CUDA = (("--device", "cuda", "--gpus-per-trial", "0.5", "--cpus-per-trial", "0"), ("CUDA", "NVIDIA"))
WITHOUT_EINSEARCH = (("--device", "cpu"), ("ImportError: half installed",))


@pytest.mark.parametrize(
    ("backend", "broken"),
    [
        ("ray", WITHOUT_CUDA),
        ("tune", WITHOUT_EINSEARCH),
        pytest.param("ray", WITHOUT_EINSEARCH, marks=pytest.mark.slow),
        pytest.param("tune", WITHOUT_CUDA, marks=pytest.mark.slow),
    ],
    ids=["ray-without-cuda", "tune-without-einsearch", "ray-without-einsearch", "tune-without-cuda"],
)
def test_a_study_whose_workers_cannot_come_up_ends_in_one_line(backend, broken, broken_cluster, tiny_study):
    arguments, causes = broken
    folder = tiny_study.parent
    command = [sys.executable, "-m", "einsearch", "run", str(tiny_study), "--deterministic", "--workers", "1"]
    command += ["--quiet", "--backend", backend, "--address", broken_cluster.address, *arguments]
    ended = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": ""},
    )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("einsearch: ")]
    assert len(said) == 1, ended.stderr
    assert said[0].startswith("einsearch: no worker comes up on node ")
    assert any(cause in said[0] for cause in causes), said
    assert said[0].endswith("then the same command goes on")
    require_nothing_lost(folder)


def require_nothing_lost(folder: Path) -> None:
    """What was reserved for a worker that never came up is not trained, and no trial has failed for it."""
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db", create=False) as store:
        (study,) = store.studies()
        assert store.audit(study.id).violations == ()
        assert {trial.state for trial in store.trials(study.id)} <= {"queued", "running"}
        assert {segment.state for segment in store.segments(study.id)} <= {"reserved"}
