"""`einsearch run --backend ray`: what it refuses, Ctrl-C, clusters that differ, storages that are URIs."""

import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import einsearch
from einsearch.store import Store, StudyRow
from tests.cli.conftest import Answer
from tests.ray_head import free_ports
from tests.search import ray_here

ON_RAY = ("--backend", "ray", "--device", "cpu")


@pytest.fixture
def longer_study(tiny_study: Path) -> Path:
    """The tiny study with 500 dense steps before its search, in pieces of some: time enough to stop it."""
    text = tiny_study.read_text().replace("budget: 2e8", "budget: 1.6e9").replace("6.4e7", "1e9")
    tiny_study.write_text(text.replace("1.6e7, 3.2e7", "6.4e7, 1.28e8"))
    return tiny_study


def refused(answer: Answer, *parts: str) -> None:
    assert answer.code == 2, answer
    assert answer.err.startswith("einsearch: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    for part in parts:
        assert part in answer.err


def end_of(process: subprocess.Popen[str], seconds: float = 180) -> Answer:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"not within {seconds:.0f} s: {process.communicate()}") from None
    return Answer(process.returncode, out, err)


def row(folder: Path) -> StudyRow | None:
    """The study, if there is one; its books are right."""
    if not (folder / "runs" / "einsearch.db").exists():
        return None
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db") as store:
        studies = store.studies()
        assert all(store.audit(study.id).violations == () for study in studies)
    return studies[0] if studies else None


def wait_until_trained(folder: Path, process: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while (found := row(folder)) is None or found.spent == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


# Refused before anything is made.


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "'nonsense' is no address of a Ray cluster; give auto, HOST:PORT or ray://HOST:PORT"),
        ("127.0.0.1:port", "'127.0.0.1:port' is no address of a Ray cluster"),
        ("http://127.0.0.1:8265", "'http://127.0.0.1:8265' is no address of a Ray cluster"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999 ("),
        ("127.0.0.1:{free}", "refused); start one with `ray start --head`, or check the address"),
        ("ray://127.0.0.1:{free}", "no Ray cluster answers at ray://127.0.0.1:"),
    ],
)
def test_an_address_without_a_cluster(cli, tiny_study, tmp_path, address, said):
    pytest.importorskip("ray")
    (free,) = free_ports(1)
    refused(cli("run", tiny_study, *ON_RAY, "--address", address.format(free=free)), said)
    assert not (tmp_path / "runs").exists()


def test_a_server_that_is_silent(cli, tiny_study, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr("einsearch.search.ray_cluster._PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        refused(
            cli("run", tiny_study, *ON_RAY, "--address", address), f"no Ray cluster answers at {address} (timed out)"
        )
    assert not (tmp_path / "runs").exists()


def test_a_server_of_something_else(cli, tiny_study, tmp_path):
    pytest.importorskip("ray")

    class Page(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        answer = cli("run", tiny_study, *ON_RAY, "--address", address)
        server.shutdown()
    refused(answer, f"what answers at {address} is no Ray cluster; give the address that `ray start` printed")
    assert not (tmp_path / "runs").exists()


def test_without_ray(cli, tiny_study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for backend in ("ray", "tune"):
        answer = cli("run", tiny_study, "--backend", backend)
        refused(answer, "the Ray backend needs Ray (", "pip install 'einsearch[ray]'")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus-per-trial", 1), "has 1 cores and 1 GPUs for a trial (1 nodes: 4 cores, 0 GPUs); give a smaller"),
        (("--cpus-per-trial", 64), "has 64 cores and 0 GPUs for a trial (1 nodes: 4 cores, 0 GPUs); give a smaller"),
        (("--device", "cuda"), "has 1 cores and 1 GPUs for a trial"),
        (("--gpus-per-trial", 1, "--device", "cpu"), "gpus-per-trial is 1, but the study trains on CPUs"),
    ],
)
def test_a_cluster_without_room(cli, tiny_study, tmp_path, options, said):
    ray_here.start()
    refused(cli("run", tiny_study, "--backend", "ray", *options), said)
    assert row(tmp_path) is None
    assert not (tmp_path / "runs" / "tiny").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus-per-trial", 1.5), "gpus-per-trial is 1.5; give a fraction of one GPU, or whole ones"),
        (("--cpus-per-trial", -1), "cpus-per-trial is -1.0; it must be a number of at least 0"),
        (("--cpus-per-trial", 0), "a trial needs a part of something; give --cpus-per-trial or --gpus-per-trial"),
        (("--logger", "mlflow"), "--logger mlflow is of Ray Tune; give --backend tune"),
        (("--backend", "tune", "--logger", "wandb"), "--logger wandb needs its package: pip install wandb"),
        (("--backend", "tune", "--logger", "paper"), "unknown logger 'paper'; choose one of wandb, mlflow"),
        (("--backend", "local", "--address", "auto"), "are of a cluster; give --backend ray"),
        (("--backend", "slurm"), "unknown backend 'slurm'; choose one of local, ray, tune"),
        (("--worker-timeout", 0), "worker-timeout is 0 s; it must be positive"),
    ],
)
def test_an_option_that_is_wrong(cli, tiny_study, tmp_path, monkeypatch, options, said):
    monkeypatch.setattr("einsearch.search.backend.find_spec", lambda name: None)
    refused(cli("run", tiny_study, *ON_RAY, *options), said)
    assert not (tmp_path / "runs").exists()


# Versions that differ: the driver's are other than the cluster's.


def test_nodes_with_another_einsearch(start, tiny_study, tmp_path, head):
    """The driver runs a copy of the package in which a file that decides losses is another one."""
    package = Path(einsearch.__file__).parent
    copy = tmp_path / "other" / "einsearch"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kernels", "search_spaces"):
        source = package / name if (package / name).is_dir() else package.parent / name
        shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "proxy" / "trainer.py").open("a") as file:
        file.write("\n# another version\n")
    environment = head.environment | {"PYTHONPATH": str(copy.parent)}
    answer = end_of(start("run", tiny_study, *ON_RAY, "--address", head.address, environment=environment))
    refused(answer, " runs einsearch 0.", ", the study is of 0.", "install the same version on all nodes")
    assert row(tmp_path) is None


def test_a_cluster_with_another_ray(start, tiny_study, tmp_path, head):
    """The driver's Ray is the same with another number."""
    ray = Path(pytest.importorskip("ray").__file__).parent
    other = tmp_path / "other" / "ray"
    other.mkdir(parents=True)
    for entry in ray.iterdir():
        (other / entry.name).symlink_to(entry)
    (other / "_version.py").unlink()
    (other / "_version.py").write_text((ray / "_version.py").read_text().replace('version = "2.', 'version = "1.'))
    environment = head.environment | {"PYTHONPATH": str(other.parent)}
    answer = end_of(start("run", tiny_study, *ON_RAY, "--address", head.address, environment=environment))
    refused(
        answer, f"cannot use the Ray cluster at {head.address}: Version mismatch: The cluster was started with: Ray: 2."
    )
    assert row(tmp_path) is None


@pytest.mark.slow  # Ray tries for half a minute
def test_another_token(start, tiny_study, tmp_path, head):
    environment = head.environment | {"RAY_AUTH_TOKEN": "0" * 64}
    answer = end_of(start("run", tiny_study, *ON_RAY, "--address", head.address, environment=environment))
    refused(answer, f"cannot use the Ray cluster at {head.address}: it refuses the token; set RAY_AUTH_MODE and ")
    assert row(tmp_path) is None


@pytest.mark.slow  # Ray gives its client's server 30 s to start, which a busy machine may not keep
def test_from_outside_through_a_client(start, tiny_study, tmp_path, head):
    """ray://: nothing of Ray's runs in this process but the connection."""
    study = ("run", tiny_study, *ON_RAY, "--address", head.client, "--workers", 2)
    answer = end_of(start(*study, environment=head.environment))
    assert (answer.code, answer.err) == (0, ""), answer
    found = row(tmp_path)
    assert found is not None
    assert (found.state, found.lost) == ("finished", 0)


def test_tune_needs_a_node(cli, tiny_study, tmp_path):
    answer = cli("run", tiny_study, "--backend", "tune", "--address", "ray://127.0.0.1:1", "--device", "cpu")
    refused(answer, "Ray Tune does not run through a Ray client; give --backend ray, or --address HOST:PORT on a node")
    assert not (tmp_path / "runs").exists()


# Ctrl-C.


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("its own", signal.SIGINT),
        pytest.param("its own", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("given", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_checkpoints_and_resume_continues(request, start, longer_study, tmp_path, place, number):
    """Ctrl-C, and SIGTERM as of timeout(1): to the process group, where a cluster of its own has its processes."""
    pytest.importorskip("ray")
    environment, cluster = {"RAY_raylet_start_wait_time_s": "180"}, ()
    if place == "given":
        head = request.getfixturevalue("head")
        environment, cluster = head.environment, ("--address", head.address)
    options = (*ON_RAY, "--workers", 1, *cluster)
    process = start("run", longer_study, *options, environment=environment)
    wait_until_trained(tmp_path, process)
    os.killpg(process.pid, number)
    answer = end_of(process)
    assert (answer.code, answer.err) == (130, ""), answer
    assert "Stopped; every running trial wrote a checkpoint." in answer.out
    stopped = row(tmp_path)
    assert stopped is not None
    assert (stopped.state, stopped.lost, stopped.reserved) == ("stopped", 0, 0)
    assert 0 < stopped.spent < stopped.budget
    assert group(process.pid) == [], "nothing is left running"

    answer = end_of(start("resume", "tiny", *options, environment=environment))
    assert (answer.code, answer.err) == (0, ""), answer
    finished = row(tmp_path)
    assert finished is not None
    assert (finished.state, finished.lost) == ("finished", 0)


def group(leader: int) -> list[psutil.Process]:
    """Processes of a group that still run; those that are about to end have some seconds."""
    deadline = time.monotonic() + 10
    while True:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
