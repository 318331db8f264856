"""Kubernetes objects of the samples, and what a cluster would have added to those from a page."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

import orjson
import yaml

from app.sources.kubernetes_json import Json
from app.sources.kubernetes_objects import pod_facts
from app.usage.claims_lives import Sighting
from app.usage.inventory import PodFacts
from tests.samples.places import SAMPLES

FOLDER = SAMPLES / "k8s"
CREATED = "2026-11-02T10:00:00Z"
CREATED_MS = 1_793_613_600_000
SEEN = Sighting(at_ms=CREATED_MS + 250)
_FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def documents(name: str) -> list[Json]:
    """Return the objects of a file, those of a list one by one; of a page its fenced blocks."""
    text = text_of(name)
    blocks = _FENCED.findall(text) if name.endswith(".yaml.txt") else [text]
    found: list[Json] = []
    for block in blocks:
        for document in yaml.safe_load_all(block):
            if document is not None:
                found += document["items"] if document["kind"] == "List" else [document]
    return found


def of_kind(name: str, kind: str) -> list[Json]:
    return [document for document in documents(name) if document["kind"] == kind]


def one_of(name: str, kind: str) -> Json:
    (found,) = of_kind(name, kind)
    return found


def labels_of(name: str) -> dict[str, str]:
    """Return the labels in a JSON file whose first line says where it is from."""
    return cast("dict[str, str]", orjson.loads(text_of(name).partition("\n")[2]))


def a_node_object(
    name: str, labels: Mapping[str, str], capacity: Mapping[str, int | str]
) -> dict[str, object]:
    amounts = {resource: str(units) for resource, units in capacity.items()}
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "creationTimestamp": CREATED,
            "labels": dict(labels),
        },
        "spec": {},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def born(item: Json) -> dict[str, object]:
    """Return an object as the API server shows it: with UID and creation, whatever it lacked."""
    metadata = dict(cast("Json", item["metadata"]))
    metadata.setdefault("namespace", "default")
    metadata.setdefault("uid", f"uid-of-{metadata['namespace']}-{metadata['name']}")
    metadata.setdefault("creationTimestamp", CREATED)
    return {**item, "metadata": metadata}


def bound(item: Json, node_name: str, *, at: str = CREATED, **status: object) -> PodFacts:
    """Return a pod that was bound to a node at an instant, and runs."""
    pod = born(item)
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
    pod["spec"] = {**cast("Json", item["spec"]), "nodeName": node_name}
    pod["status"] = {"phase": "Running", "conditions": [condition], **status}
    return pod_facts(pod)


def allocated(item: Json, results: Sequence[Json], *pods: PodFacts) -> dict[str, object]:
    """Return a claim to which devices were given, reserved for pods."""
    claim = born(item)
    claim["status"] = {
        "allocation": {"devices": {"results": list(results)}, "allocationTimestamp": CREATED},
        "reservedFor": [{"resource": "pods", "name": pod.name, "uid": pod.uid} for pod in pods],
    }
    return claim


def from_template(template: Json, name: str) -> dict[str, object]:
    """Return the claim that is made for a pod from a template."""
    metadata = {**cast("Json", template["metadata"]), "name": name}
    spec = cast("Json", template["spec"])["spec"]
    return {"kind": "ResourceClaim", "metadata": metadata, "spec": spec}
