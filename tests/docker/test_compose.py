"""The compose files: by the schema of the Compose specification, and what they refer to exists."""

import json
import re
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from .image import FOLDER, read_stages

SCHEMA = json.loads(
    (Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/compose-spec.json").read_text(encoding="utf-8")
)
FILES = {name: yaml.safe_load((FOLDER / name).read_text()) for name in ("compose.yaml", "compose.gpu.yaml")}
MAIN, GPU = FILES.values()
SERVICES = MAIN["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}


def problems(document: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.validators.validator_for(SCHEMA)(SCHEMA).iter_errors(document)]


def broken_references(document: dict[str, Any]) -> list[str]:
    """Secrets, volumes and services that are named and do not exist."""
    found = []
    for name, service in document["services"].items():
        found += [f"{name}: secret {s}" for s in service.get("secrets", []) if s not in document["secrets"]]
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if not source.startswith((".", "/", "$")) and source not in document["volumes"]:
                found.append(f"{name}: volume {source}")
        for other, how in service.get("depends_on", {}).items():
            target = document["services"].get(other)
            if target is None:
                found.append(f"{name}: service {other}")
            elif how["condition"] == "service_healthy" and "healthcheck" not in target:
                found.append(f"{name}: {other} has no health check")
            elif how["condition"] == "service_completed_successfully" and target.get("restart") != "no":
                found.append(f"{name}: {other} never completes")
        for key, value in service.get("environment", {}).items():
            if str(value).startswith("/run/secrets/") and Path(value).name not in service.get("secrets", []):
                found.append(f"{name}: {key} names a secret that the service has not")
    return found


@pytest.mark.parametrize("name", FILES)
def test_files_are_valid(name: str) -> None:
    assert problems(FILES[name]) == []


def test_a_wrong_file_is_refused() -> None:
    assert problems({"services": {"head": {"image": "x", "portz": []}}})
    wrong = {
        "services": {
            "a": {"secrets": ["s"], "volumes": ["v:/v"], "depends_on": {"b": {"condition": "service_healthy"}}},
            "b": {"environment": {"X_FILE": "/run/secrets/t"}, "depends_on": {"c": {"condition": "service_started"}}},
        },
        "secrets": {},
        "volumes": {},
    }
    assert len(broken_references(wrong)) == 5


def test_references_exist() -> None:
    assert broken_references(MAIN) == []
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert used == set(MAIN["volumes"])
    assert {s for service in SERVICES.values() for s in service.get("secrets", [])} == set(MAIN["secrets"])


def test_images_are_stages_of_the_dockerfile() -> None:
    stages = {stage.name for stage in read_stages((FOLDER / "Dockerfile").read_text())[1]}
    for service in (*OURS.values(), *GPU["services"].values()):
        target = service["build"]["target"]
        assert target in stages
        assert service["image"].endswith(f"-{target}")
    assert re.fullmatch(r"postgres:15\.\d+-\w+", SERVICES["postgres"]["image"])


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_come_from_files_and_only_to_whom_they_concern() -> None:
    for secret in MAIN["secrets"].values():
        assert set(secret) == {"file"}
    text = (FOLDER / "compose.yaml").read_text()
    assert not re.search(r"://\w+:[^@/\s]*@", text), "a password in a URL"
    for name, service in SERVICES.items():
        assert ("postgres_password" in service.get("secrets", [])) == (name != "worker"), name
        for key in service.get("environment", {}):
            assert not re.search(r"PASSWORD$|TOKEN$", key), key


def test_every_service_says_when_it_is_well_or_ends_by_itself() -> None:
    assert {name for name, s in SERVICES.items() if "healthcheck" not in s} == {"schema", "driver"}
    assert all(SERVICES[name]["restart"] == "no" for name in ("schema", "driver"))


def test_nodes_of_ray_share_token_and_shared_memory() -> None:
    for name in ("head", "worker", "driver"):
        service = SERVICES[name]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
        assert service["shm_size"]
        assert "storage:/storage" in service["volumes"]
    assert "--num-cpus=0" in SERVICES["head"]["command"]
    assert any(word.startswith("--num-cpus=") for word in SERVICES["worker"]["command"])


def test_there_is_one_node_with_the_gpus() -> None:
    (gpu,) = GPU["services"].values()
    assert gpu["deploy"]["replicas"] == 1
    assert gpu["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]
    assert gpu["extends"]["service"] in SERVICES
    assert not any(word.startswith("--num-gpus") for word in gpu["command"])
