"""`--storage` with a URI: checkpoints are written there, read from there and cleaned up there."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from einsearch.store import Store
from tests.cli.conftest import Answer
from tests.ray_head import free_ports
from tests.s3_server import running_s3
from tests.search import ray_here

STUDY = ("--workers", 1, "--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment of processes that use an S3 server of this machine, which has the bucket `bucket`."""
    if importlib.util.find_spec("s3fs") is None or importlib.util.find_spec("moto") is None:
        pytest.skip("no S3: pip install s3fs 'moto[s3]' flask flask-cors")
    with running_s3() as environment:
        bucket(environment, "mkdir")
        yield environment


def bucket(environment: dict[str, str], command: str) -> list[str]:
    """Asks the bucket by a process of its own: its client leaves threads behind."""
    program = f"import json, s3fs; print(json.dumps(s3fs.S3FileSystem().{command}('bucket')))"
    answer = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout) or []


def ran(process: subprocess.Popen[str]) -> Answer:
    out, err = process.communicate(timeout=240)
    return Answer(process.returncode, out, err)


def curves(folder: Path) -> dict[str, list[tuple[int, float | None, float | None]]]:
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db", create=False) as store:
        found = store.curves(store.study("tiny").id)
    return {c.trial.key: [(p.step, p.train_loss, p.validation_loss) for p in c.points] for c in found}


def kept(folder: Path) -> set[str]:
    """The checkpoints that the store names."""
    with Store.open(f"sqlite:///{folder}/runs/einsearch.db", create=False) as store:
        trials = store.trials(store.study("tiny").id)
    return {trial.checkpoint for trial in trials if trial.checkpoint}


@pytest.mark.parametrize("backend", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_study_whose_checkpoints_lie_in_s3(cli, start, tiny_study, tmp_path, s3, backend):
    """The same losses as with a folder; trials of the second rung go on from what the first one wrote."""
    storage = ("--storage", "s3://bucket/shared")
    answer = ran(start("run", tiny_study, *STUDY, "--backend", backend, *storage, environment=s3))
    assert (answer.code, answer.err) == (0, ""), answer
    assert not (tmp_path / "runs" / "tiny" / "checkpoints").exists()
    there = kept(tmp_path)
    names = ("tensors.safetensors", "training.json")
    files = {f"{place.removeprefix('s3://')}/{name}" for place in there for name in names}
    assert set(bucket(s3, "find")) == files, "the latest of each trial, and nothing else"
    found, key = curves(tmp_path), next(iter(curves(tmp_path)))

    exported = ran(start("export", key, "--study", "tiny", "--output", "exported", environment=s3))
    assert (exported.code, exported.err) == (0, ""), exported
    assert (tmp_path / "exported" / "weights.safetensors").is_file()
    cleaned = ran(start("clean", "tiny", "--yes", environment=s3))
    assert cleaned.code == 0, cleaned
    assert bucket(s3, "find") == []

    assert cli("run", tiny_study, *STUDY).code == 0
    assert curves(tmp_path) == found


def test_a_study_whose_checkpoints_lie_in_a_folder_named_by_uri(cli, tiny_study, tmp_path):
    ray_here.start()
    answer = cli("run", tiny_study, *STUDY, "--backend", "ray", "--storage", f"file://{tmp_path}/shared")
    assert (answer.code, answer.err) == (0, "")
    there = kept(tmp_path)
    assert there
    assert {str(path.parent) for path in tmp_path.glob("shared/tiny/checkpoints/*/*/training.json")} == there
    assert cli("clean", "tiny", "--yes").code == 0
    assert not list(tmp_path.glob("shared/**/training.json"))


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("moon://bucket", "storage moon://bucket has the unknown protocol moon; give a folder or s3://..."),
        ("s3://none/path", "nothing can be written to the storage s3://none/path/tiny/checkpoints ("),
        ("s3://nowhere/path", "Could not connect to the endpoint URL"),
    ],
)
def test_a_storage_that_cannot_be_used(start, tiny_study, tmp_path, s3, storage, said):
    if "nowhere" in storage:
        s3 = s3 | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_ports(1)[0]}", "AWS_MAX_ATTEMPTS": "1"}
    answer = ran(start("run", tiny_study, *STUDY, "--storage", storage, environment=s3))
    assert answer.code == 2, answer
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1, answer.err
    assert said in answer.err
    assert "secret-of-the-test" not in answer.err
    with Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db") as store:
        assert store.studies() == []
