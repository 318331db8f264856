"""Clocks of those who answer, compared with ours."""

import pytest

from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.spec import HOUR_MS, FleetSpec
from app.wiring.examining import clocks
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

NOW_MS = 1_795_428_000_000


def told(
    prometheus_ms: int, newest_ms: int | None, kubernetes_ms: int
) -> dict[str, tuple[bool, str]]:
    """Return what is said of servers whose clocks and newest sample show these times."""

    def vector(ms: int | None) -> Reply:
        sample = {"metric": {}, "value": [NOW_MS / 1000, str((ms or 0) / 1000)]}
        data = {"resultType": "vector", "result": [] if ms is None else [sample]}
        return json_reply({"status": "success", "data": data})

    def answer(request: Request) -> Reply:
        question = request.form.get("query", "")
        if question == "vector(time())":
            return vector(prometheus_ms)
        if question:
            return vector(newest_ms)
        return Reply(status=404)

    fleet = Fleet.build(FleetSpec(start_ms=NOW_MS - HOUR_MS, hours=1, nodes=1, services=1))
    with (
        scripted_server(answer) as server,
        SimulatedKubernetes(fleet, lambda: kubernetes_ms) as kubernetes,
    ):
        cluster = ClusterSettings(
            name="eu",
            prometheus=PrometheusSettings(url=server.url, scrape_interval_seconds=30),
            kubernetes=KubernetesSettings(mode="url", url=kubernetes.url),
        )
        found = clocks(Settings(clusters=(cluster,)), lambda: NOW_MS)
    return {one.name: (one.ok, one.detail) for one in found}


def test_clocks_that_agree_are_well() -> None:
    assert told(NOW_MS, NOW_MS - 12_000, NOW_MS) == {
        "eu Prometheus clock": (True, "agrees with ours"),
        "eu newest sample": (True, "12 s old"),
        "eu Kubernetes clock": (True, "agrees with ours"),
    }


@pytest.mark.parametrize(
    ("skew_ms", "ok", "words"),
    [
        (60_000, True, "60 s ahead of ours"),
        (61_000, False, "61 s ahead of ours; set both by NTP"),
        (-60_000, True, "60 s behind ours"),
        (-75_000, False, "75 s behind ours; set both by NTP"),
    ],
)
def test_a_clock_may_be_off_by_two_scrapes(skew_ms: int, *, ok: bool, words: str) -> None:
    said = told(NOW_MS + skew_ms, NOW_MS, NOW_MS)["eu Prometheus clock"]

    assert (said[0], said[1].startswith(words)) == (ok, True)


def test_the_date_of_kubernetes_has_whole_seconds() -> None:
    found = told(NOW_MS, NOW_MS, NOW_MS - 90_000)

    assert found["eu Kubernetes clock"] == (
        False,
        "89 s behind ours; set both by NTP: samples and holds are joined by their times",
    )


def test_no_sample_of_any_target_is_a_failure() -> None:
    ok, detail = told(NOW_MS, None, NOW_MS)["eu newest sample"]

    assert not ok
    assert "no target has a sample" in detail


def test_who_does_not_answer_tells_no_time() -> None:
    cluster = ClusterSettings(
        name="eu",
        prometheus=PrometheusSettings(url="http://127.0.0.1:9", timeout_seconds=1),
        kubernetes=KubernetesSettings(mode="off"),
    )

    assert clocks(Settings(clusters=(cluster,)), lambda: NOW_MS) == ()
