"""What is known at this moment: names, devices with fresh samples, served groups of the API."""

import pytest

from app.sources.catalogue import load_catalogue
from app.sources.kubernetes import KubernetesSource
from app.sources.kubernetes_access import KubernetesSettings
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.sources.readiness import (
    engines_of,
    fresh_devices,
    names_at,
    newest_sample_ms,
    scaled_on,
)
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

AT_MS = 1_795_428_000_000
DCGM = frozenset({"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_TEMP"})


def vector(value: float | None) -> Reply:
    sample = {"metric": {}, "value": [AT_MS / 1000, str(value)]}
    result = [] if value is None else [sample]
    return json_reply({"status": "success", "data": {"resultType": "vector", "result": result}})


def answer(request: Request) -> Reply:
    question = request.form.get("query", "")
    if request.path.endswith("/label/metric_name/values"):
        return json_reply({"status": "success", "data": ["cpu", "vllm:num_requests_waiting"]})
    if request.path.endswith("/values"):
        return json_reply({"status": "success", "data": [*sorted(DCGM)]})
    if "timestamp" in question:
        return vector(AT_MS / 1000 - 12)
    if "UTIL" in question:
        return vector(8)
    if "FB_USED" in question:
        return vector(7)
    return vector(None)


def test_devices_are_counted_by_what_is_measured_of_them() -> None:
    with scripted_server(answer) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))

        names = names_at(source, AT_MS)
        fresh = fresh_devices(source, load_catalogue(), names, AT_MS)

    assert names == DCGM
    assert fresh == {"utilization": 8, "memory": 7, "temperature": 0}
    (asked,) = (one.form["query"] for one in server.asked if "FB_USED" in one.form.get("query", ""))
    assert asked.startswith("count(count by (")
    assert "UUID, uuid, gpu_uuid) (" in asked
    assert asked.endswith('({__name__=~"DCGM_FI_DEV_FB_USED"}))')


def test_what_autoscalers_look_at_and_how_old_the_newest_sample_is() -> None:
    with scripted_server(answer) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))

        assert scaled_on(source, AT_MS) == ("cpu", "vllm:num_requests_waiting")
        assert newest_sample_ms(source, AT_MS) == AT_MS - 12_000


@pytest.mark.parametrize(
    ("names", "engines"),
    [
        ({"vllm:generation_tokens_total", "up"}, ("vllm",)),
        ({"process_start_time_seconds", "up"}, ()),
        (set(), ()),
    ],
)
def test_engines_are_known_by_their_own_figures(names: set[str], engines: tuple[str, ...]) -> None:
    assert engines_of(load_catalogue(), frozenset(names)) == engines


def test_the_groups_of_the_api_are_discovered() -> None:
    groups = [
        {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]},
        {
            "name": "resource.k8s.io",
            "versions": [
                {"groupVersion": "resource.k8s.io/v1", "version": "v1"},
                {"groupVersion": "resource.k8s.io/v1beta1", "version": "v1beta1"},
            ],
        },
    ]
    with scripted_server(
        lambda _: json_reply({"kind": "APIGroupList", "groups": groups})
    ) as server:
        source = KubernetesSource(KubernetesSettings(mode="url", url=server.url))

        assert source.groups() == {"apps": ("v1",), "resource.k8s.io": ("v1", "v1beta1")}
    assert server.paths() == ["/apis/"]
