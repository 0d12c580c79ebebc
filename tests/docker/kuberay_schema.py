"""The part of KubeRay's API `ray.io/v1` that the manifests use, as JSON schemas that refuse every other field.

Pod templates are left open here: they are validated as pods by the schemas of Kubernetes.
"""

from typing import Any


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
POD_TEMPLATE = _object({"metadata": {"type": "object"}, "spec": {"type": "object"}}, ("spec",))
METADATA = _object({"name": TEXT, "generateName": TEXT, "labels": TEXTS, "annotations": TEXTS})

HEAD = _object(
    {"rayStartParams": TEXTS, "template": POD_TEMPLATE, "serviceType": TEXT, "labels": TEXTS},
    ("rayStartParams", "template"),
)
WORKERS = _object(
    {
        "groupName": TEXT,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "idleTimeoutSeconds": COUNT,
        "rayStartParams": TEXTS,
        "template": POD_TEMPLATE,
        "labels": TEXTS,
    },
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
)
AUTOSCALER = _object(
    {
        "version": {"enum": ["v1", "v2"]},
        "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
        "idleTimeoutSeconds": COUNT,
        "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "resources": {"type": "object"},
    }
)
CLUSTER_SPEC = _object(
    {
        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "authOptions": _object({"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT}),
        "enableInTreeAutoscaling": {"type": "boolean"},
        "autoscalerOptions": AUTOSCALER,
        "headGroupSpec": HEAD,
        "workerGroupSpecs": {"type": "array", "items": WORKERS},
    },
    ("headGroupSpec",),
)
JOB_SPEC = _object(
    {
        "clusterSelector": TEXTS,
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        "entrypoint": TEXT,
        "rayClusterSpec": CLUSTER_SPEC,
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "ttlSecondsAfterFinished": COUNT,
    },
    ("entrypoint",),
)


def _kind(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    properties = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": name}, "metadata": METADATA, "spec": spec}
    return _object(properties, ("apiVersion", "kind", "metadata", "spec"))


KINDS = {"RayCluster": _kind("RayCluster", CLUSTER_SPEC), "RayJob": _kind("RayJob", JOB_SPEC)}
