"""What several texts tell of one thing counts once in the ledger's facts."""

import pandas as pd
import pytest

from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.usage.activity import DeviceMetrics, measure
from app.usage.services import ServingMetrics, serve
from app.usage.states import device_states
from tests.samples.places import SAMPLES
from tests.samples.reading import DAY_MS, harvested
from tests.samples.scraping import SCRAPE_MS, Scraped
from tests.usage.builders import a_count, a_hold, a_pool, counts_of, holds_frame, pools_of, spans

pytestmark = pytest.mark.xdist_group("samples")

REQUESTS = [f"requests_{outcome}" for outcome in ("stop", "length", "abort", "error", "other")]
READINESS = pd.DataFrame(
    {
        name: pd.Series([], dtype="int64")
        for name in ("hold_id", "workload_id", "scheduled_ms", "ready_ms")
    }
)


def tokens(prometheus: Scraped, *texts: str) -> tuple[int, int, int]:
    """Return the prompt and generation tokens and the requests of all services of some texts."""
    found = harvested(prometheus, *texts)
    facts = serve(
        prometheus.window,
        ServingMetrics(
            counters=found.counters,
            buckets=found.buckets,
            births=found.births,
            gauges=found.gauges,
            adapters=found.adapters,
        ),
        holds_frame(),
        READINESS,
        cluster="c",
        scrape_ms=SCRAPE_MS,
        lookback_ms=DAY_MS,
    )
    usage = facts.token_usage
    requests = sum(int(usage[name].fillna(0).sum()) for name in REQUESTS)
    return int(usage["prompt_tokens"].sum()), int(usage["generation_tokens"].sum()), requests


def test_a_frontend_and_the_worker_behind_it_count_once(prometheus: Scraped) -> None:
    frontend, worker = "dynamo_frontend_real_fe_log", "dynamo_worker_sglang_passthrough"

    assert tokens(prometheus, worker) == (33, 300, 1)
    # Alone nobody else says it; the model's name differs in its case.
    assert tokens(prometheus, frontend) == (33, 300, 1)
    assert tokens(prometheus, frontend, worker) == (33, 300, 1)


def test_an_engine_and_the_sidecar_that_serves_its_text_count_once(prometheus: Scraped) -> None:
    assert tokens(prometheus, "vllm_v0_jan2025_aibrix_runtime_passthrough") == (148, 955, 4)


def test_energy_of_a_device_counts_once_however_many_instances_repeat_it(
    prometheus: Scraped,
) -> None:
    found = harvested(prometheus, "dcgm_mig_a100_mixed_profiles_active")
    window = prometheus.window
    # Held while it was scraped: of a counter that misses part of a hold nothing is told.
    first, last = int(found.energy.at_ms.min()), int(found.energy.at_ms.max())
    start = window.start_ms
    states = device_states(
        window,
        pools_of(a_pool(1, devices=1, start_ms=start)),
        counts_of(a_count(1, allocatable=1, start_ms=start)),
        holds_frame(a_hold(1, start_ms=first, end_ms=last, node_id=1)),
        spans((start, window.end_ms)),
    )
    metrics = DeviceMetrics(
        activity=found.activity,
        sharers=found.sharers,
        energy=found.energy,
        memory_used_max_mib=found.memory_used_max_mib,
        sm_active_mean=found.sm_active_mean,
        dram_active_mean=found.dram_active_mean,
    )
    hostname = "nvidia-dcgm-exporter-q28k4"
    nodes = pd.DataFrame({"node_id": [1], "node_name": pd.Series([hostname], dtype="str")})

    usage = measure(window, states, metrics, nodes, SCRAPE_MS)

    assert usage["energy_mj"].tolist() == [57_585_599]


def test_an_answer_of_a_real_server_is_decoded() -> None:
    body = (SAMPLES / "prometheus_api_instant_query_vllm_kops.json").read_bytes()

    answer = PrometheusSource(PrometheusSettings(url="http://127.0.0.1:9")).decode(body, "waiting")

    (series,) = answer.result
    assert series["metric"]["__name__"] == "vllm:num_requests_waiting"
    assert series["metric"]["model_name"] == "Qwen/Qwen2.5-0.5B-Instruct"
    assert series["value"] == [1774011473.784, "0"]
    assert (answer.warnings, answer.is_partial, answer.repaired) == ((), False, 0)
