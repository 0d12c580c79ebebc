"""The Kubernetes manifests: KubeRay's fields, pods by the schemas of Kubernetes, and references that exist."""

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from .image import FOLDER
from .kuberay_schema import KINDS
from .test_dockerfile import pins

KUBERNETES = "1.37"
DOCUMENTS = [
    document
    for name in ("kuberay.yaml", "kuberay-job.yaml")
    for document in yaml.safe_load_all((FOLDER / name).read_text())
]
BY_KIND = {document["kind"]: document for document in DOCUMENTS}
CLUSTER = BY_KIND["RayCluster"]


def templates(cluster: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "head", cluster["spec"]["headGroupSpec"]["template"]
    for group in cluster["spec"]["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


PODS = dict(templates(CLUSTER))


def as_pod(template: dict[str, Any]) -> dict[str, Any]:
    metadata = template["metadata"] | {"name": "x"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def check(document: dict[str, Any]) -> None:
    """Against KubeRay's schema where the kind is its own, else against that of Kubernetes."""
    if document["kind"] in KINDS:
        jsonschema.Draft202012Validator(KINDS[document["kind"]]).validate(document)
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_every_document_is_valid() -> None:
    assert sorted(BY_KIND) == ["PersistentVolumeClaim", "RayCluster", "RayJob"]
    for document in DOCUMENTS:
        check(document)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_valid(name: str) -> None:
    check(as_pod(PODS[name]))


def test_a_wrong_field_is_refused() -> None:
    cluster = copy.deepcopy(CLUSTER)
    cluster["spec"]["workerGroupSpecs"][0]["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        check(cluster)
    pod = copy.deepcopy(as_pod(PODS["head"]))
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        check(pod)


def test_versions_are_those_of_the_images() -> None:
    assert CLUSTER["spec"]["rayVersion"] == pins(FOLDER / "requirements-cluster.txt")["ray"]


@pytest.mark.parametrize("name", PODS)
def test_pods_run_without_privileges_and_with_what_they_mount(name: str) -> None:
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    volumes = {volume["name"] for volume in spec["volumes"]}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {BY_KIND["PersistentVolumeClaim"]["metadata"]["name"]}
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        # Ray hands out what is requested; with lower requests than limits Kubernetes would promise it twice.
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_only_the_head_knows_the_database_and_no_password_is_written_down() -> None:
    for name, template in PODS.items():
        (container,) = template["spec"]["containers"]
        environment = {entry["name"]: entry for entry in container.get("env", [])}
        assert ("EINSEARCH_STORE" in environment) == (name == "head")
        if name == "head":
            assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"] == {
                "name": "einsearch-database",
                "key": "password",
            }
            assert ":" not in environment["EINSEARCH_STORE"]["value"].split("//")[1].split("@")[0]


def test_gpus_are_held_only_while_they_are_asked_for() -> None:
    (gpu,) = [g for g in CLUSTER["spec"]["workerGroupSpecs"] if g["groupName"] == "gpu"]
    assert (gpu["replicas"], gpu["minReplicas"]) == (0, 0)
    (container,) = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].endswith("-cuda")
    assert CLUSTER["spec"]["enableInTreeAutoscaling"]


def test_the_job_finds_the_cluster() -> None:
    job = BY_KIND["RayJob"]["spec"]
    assert job["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}
    assert job["submissionMode"] != "SidecarMode", "KubeRay refuses it with a clusterSelector"
    assert job["entrypoint"].startswith("einsearch run --backend ray --address auto ")
