"""The ClusterRole grants exactly what the Kubernetes source asks for."""

from dataclasses import dataclass
from itertools import islice

import yaml

from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.modes import Mode
from app.simulator.spec import HOUR_MS, FleetSpec
from app.sources.kubernetes import KubernetesSettings, KubernetesSource
from tests.house import ROOT

START_MS = 1_790_000_400_000 // HOUR_MS * HOUR_MS


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of one API group."""

    group: str
    resource: str
    verb: str


def granted() -> set[Right]:
    text = (ROOT / "deploy" / "kubernetes" / "rbac.yaml").read_text(encoding="utf-8")
    _, role, _ = yaml.safe_load_all(text)
    return {
        Right(group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def right_of(path: str, form: dict[str, str]) -> Right | None:
    """Return what the API server checks before it answers a GET of this path."""
    verb = "watch" if form.get("watch") in {"true", "1"} else "list"
    match path.strip("/").split("/"):
        case ["api", "v1", resource]:
            return Right("", resource, verb)
        case ["apis", _]:
            # Discovery is open to everybody whom the API knows (ClusterRole system:discovery).
            return None
        case ["apis", group, _, resource]:
            return Right(group, resource, verb)
        case ["apis", group, _, "namespaces", _, resource, _]:
            return Right(group, resource, "get")
    message = f"{path} needs a right that this test does not know"
    raise AssertionError(message)


class RecordingKubernetes(SimulatedKubernetes):
    """Notes the right that each request needs."""

    def __init__(self, fleet: Fleet, now_ms: int) -> None:
        super().__init__(fleet, lambda: now_ms)
        self.used: set[Right] = set()

    def answer(self, path: str, form: dict[str, str], authorization: str) -> object:  # type: ignore[override]  # the answers' own types are private
        needed = right_of(path, form)
        self.used |= {needed} if needed else set()
        return super().answer(path, form, authorization)


def test_the_role_grants_what_is_asked_for_and_nothing_else() -> None:
    fleet = Fleet.build(
        FleetSpec(start_ms=START_MS, hours=2, nodes=3, services=1, modes=(Mode.DRA,))
    )

    with RecordingKubernetes(fleet, START_MS + HOUR_MS) as server:
        source = KubernetesSource(
            KubernetesSettings(mode="url", url=server.url, timeout_seconds=10, watch_seconds=1)
        )
        pods, pods_version = source.list_pods()
        nodes, nodes_version = source.list_nodes()
        list(islice(source.watch_pods(pods_version), 1))
        list(islice(source.watch_nodes(nodes_version), 1))
        dra = source.dra()
        assert dra is not None
        claims, claims_version = dra.list_claims()
        slices, slices_version = dra.list_slices()
        classes = dra.list_classes()
        list(islice(dra.watch_claims(claims_version), 1))
        list(islice(dra.watch_slices(slices_version), 1))

    assert {pod.workload.kind for pod in pods} >= {"Deployment"}
    assert len(nodes) == 4
    assert claims
    assert slices
    assert classes
    assert server.used == granted()
