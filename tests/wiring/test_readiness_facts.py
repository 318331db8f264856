"""What the rules of conformance are given, read from servers."""

from app.findings.conformance import Indication, indications
from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.modes import Mode
from app.simulator.spec import HOUR_MS, FleetSpec
from app.wiring.readiness import facts_of
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

NOW_MS = 1_795_428_000_000
NAMES = ["DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "vllm:generation_tokens_total"]
FLEET = Fleet.build(
    FleetSpec(
        start_ms=NOW_MS - HOUR_MS,
        hours=2,
        nodes=1,
        gpus_per_node=4,
        services=1,
        modes=(Mode.TIME_SLICING_RENAMED,),
    )
)


def answering(devices: int) -> dict[str, tuple[Indication, str]]:
    """Return the indications where so many devices have fresh samples."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/label/__name__/values"):
            return json_reply({"status": "success", "data": NAMES})
        if request.path.endswith("/values"):
            return json_reply({"status": "success", "data": ["vllm:num_requests_waiting"]})
        sample = {"metric": {}, "value": [NOW_MS / 1000, str(devices)]}
        return json_reply(
            {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
        )

    with (
        scripted_server(answer) as prometheus,
        SimulatedKubernetes(FLEET, lambda: NOW_MS) as kubernetes,
    ):
        cluster = ClusterSettings(
            name="eu",
            prometheus=PrometheusSettings(url=prometheus.url),
            kubernetes=KubernetesSettings(mode="url", url=kubernetes.url),
        )
        facts = facts_of(cluster, Settings(clusters=(cluster,)), NOW_MS)
    assert facts.devices == 8
    return {one.requirement.id: (one.indication, one.evidence) for one in indications(facts)}


def test_every_advertised_device_needs_a_fresh_sample() -> None:
    whole, less = answering(8), answering(7)

    assert whole["accelerator_metrics"][0] is Indication.PASS
    assert less["accelerator_metrics"][0] is Indication.FAIL
    assert "Of 8 advertised devices" in less["accelerator_metrics"][1]


def test_what_nodes_and_metrics_say_is_evidence() -> None:
    found = answering(8)

    assert found["gpu_sharing"][0] is Indication.PASS
    assert "nvidia.com/gpu.shared" in found["gpu_sharing"][1]
    assert found["ai_service_metrics"] == (Indication.PASS, "Series of vllm are collected.")


def test_an_api_that_does_not_say_what_it_serves_leaves_it_open() -> None:
    indication, evidence = answering(8)["gang_scheduling"]

    assert indication is Indication.CANNOT_TELL
    assert "API groups: " in evidence
    assert "HTTP 404" in evidence
