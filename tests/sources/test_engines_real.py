"""What is read of every engine's exposition, after a real Prometheus has had it."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from app.sources.catalogue import EngineFile, engine_of, load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS
from app.usage.growth import growth
from tests.real.prometheus import backfill, running_prometheus
from tests.sources.scraped import EXPOSITIONS, SCRAPE_MS, WINDOW, Target, write_history

DAY_MS = 24 * HOUR_MS
OWN = {
    "engine": "acme",
    "labels": {"model": ["served"]},
    "meanings": [
        {
            "name": name,
            "type": "counter",
            "unit": "tokens",
            "reason": "Tokens.",
            "aliases": [{"name": "acme_llm_tokens_total", "where": {"direction": [direction]}}],
        }
        for name, direction in (("prompt_tokens", "in"), ("generation_tokens", "out"))
    ],
}
# AIBrix puts a sidecar into the pod that publishes all of the engine's series again.
SIDECAR = Target("vllm.prom", pod="vllm", port=8080, further={"container": "aibrix-runtime"})
PROMPT, CACHED, GENERATION = "PROMPT_TOKENS", "CACHED_PROMPT_TOKENS", "GENERATION_TOKENS"

# By pod, which is named after its file: growth by quantity, of requests by outcome.
COUNTED: dict[str, dict[str, int]] = {
    "vllm": {
        PROMPT: 4000 + 1500,
        CACHED: 2000 + 500,
        GENERATION: 900 + 100,
        "stop": 30,
        "length": 10,
        "abort": 2,
        "error": 1,
        "repetition": 0,
    },
    "vllm_started": {PROMPT: 33, GENERATION: 12},
    "vllm_v0": {PROMPT: 600, GENERATION: 250, "stop": 5, "length": 1},
    "vllm_ray": {PROMPT: 200 + 100, GENERATION: 40 + 15},
    "vllm_ray_232": {PROMPT: 15, GENERATION: 5},
    "vllm_triton": {PROMPT: 100, GENERATION: 50, "stop": 4},
    "sglang": {PROMPT: 800 + 200, CACHED: 50 + 25, GENERATION: 310, "success": 30, "abort": 3},
    "sglang_old": {PROMPT: 50, "abort": 1},
    "tgi": {PROMPT: 6000, GENERATION: 2800, "success": 36, "error": 3 + 1},
    "tei": {PROMPT: 500, "success": 19 + 1, "error": 1},
    "nim": {PROMPT: 1000, GENERATION: 200, "length": 3, "stop": 1, "error": 2},
    "trtllm_serve": {
        PROMPT: 2000,
        CACHED: 600,
        GENERATION: 500,
        "stop": 12,
        "length": 1,
        "error": 1,
    },
    "trtllm_serve_11": {"stop": 5},
    "lmdeploy": {PROMPT: 600, CACHED: 60, GENERATION: 120, "success": 6, "abort": 1},
    # 120 were computed, 1,000 came from the cache.
    "llamacpp": {PROMPT: 120 + 1000, CACHED: 1000, GENERATION: 400},
    "llamacpp_old": {PROMPT: 600, GENERATION: 90},
    # Model and ensemble succeed 60 times each; tokens are not told.
    "triton": {"success": 60 + 60, "abort": 3, "error": 1},
    # Its requests are its own, since the engine inside tells none; of five endpoints one serves.
    "dynamo_worker": {PROMPT: 5500, GENERATION: 3600, "": 12},
    "own_server": {PROMPT: 100, GENERATION: 30},
}
FRONTENDS: dict[str, dict[str, int]] = {
    "dynamo": {PROMPT: 5500, GENERATION: 3650, "success": 11, "error": 1},
    "vllm_triton": {"success": 4, "abort": 2},
}
# What was observed up to each bound, in seconds.
BUCKETS: dict[str, dict[str, dict[str, int]]] = {
    "vllm": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 20, "0.5": 35, "1.0": 42, "+Inf": 43},
        "INTER_TOKEN_BUCKET": {"0.01": 600, "0.05": 800, "+Inf": 900},
        "END_TO_END_BUCKET": {"1.0": 6, "10.0": 40, "+Inf": 43},
        "QUEUE_TIME_BUCKET": {"0.3": 34, "1.0": 42, "+Inf": 43},
    },
    "vllm_v0": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 3, "1.0": 5, "+Inf": 6},
        "INTER_TOKEN_BUCKET": {"0.05": 240, "+Inf": 244},
    },
    "vllm_triton": {"TIME_TO_FIRST_TOKEN_BUCKET": {"0.001": 0, "0.1": 3, "+Inf": 4}},
    "sglang": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 10, "1.0": 29, "+Inf": 30},
        "INTER_TOKEN_BUCKET": {"0.02": 260, "+Inf": 310},
        "END_TO_END_BUCKET": {"2.0": 10, "4.0": 26, "+Inf": 30},
        "QUEUE_TIME_BUCKET": {"0.0": 1, "0.1": 4, "+Inf": 5},
    },
    "sglang_old": {"QUEUE_TIME_BUCKET": {"0.1": 1, "+Inf": 2}},
    "tgi": {
        "INTER_TOKEN_BUCKET": {"0.02": 20, "+Inf": 36},
        "END_TO_END_BUCKET": {"1": 10, "10": 30, "+Inf": 36},
        "QUEUE_TIME_BUCKET": {"0.1": 30, "+Inf": 36},
    },
    "tei": {
        "END_TO_END_BUCKET": {"0.05": 16, "+Inf": 20},
        "QUEUE_TIME_BUCKET": {"0.001": 14, "+Inf": 20},
    },
    # Published in milliseconds: 100, 500 and 2000.
    "triton": {"TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 20, "0.5": 50, "2": 59, "+Inf": 60}},
    "nim": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.02": 3, "+Inf": 6},
        "INTER_TOKEN_BUCKET": {"0.01": 150, "+Inf": 196},
        "END_TO_END_BUCKET": {"1.0": 3, "+Inf": 6},
    },
    "trtllm_serve": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 5, "+Inf": 13},
        "END_TO_END_BUCKET": {"5.0": 12, "+Inf": 13},
    },
    "trtllm_serve_11": {"TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 3, "+Inf": 5}},
    "lmdeploy": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"0.1": 4, "+Inf": 7},
        "END_TO_END_BUCKET": {"5.0": 6, "+Inf": 7},
    },
    "dynamo": {
        "TIME_TO_FIRST_TOKEN_BUCKET": {"1": 7, "2.2": 11, "+Inf": 12},
        "END_TO_END_BUCKET": {"3.4": 10, "+Inf": 12},
    },
}
# The last values of gauges, added up over what counts side by side in one pod.
GAUGES: dict[str, dict[str, list[float]]] = {
    "vllm": {"running": [3.0, 6.0], "waiting": [0.0, 2.0], "cache_usage": [0.5, 0.5]},
    "vllm_v0": {"running": [3.0], "waiting": [0.0], "cache_usage": [0.5]},
    "vllm_started": {"startup": [77.5]},
    "vllm_ray": {"running": [1.0, 2.0]},
    # Tensor-parallel ranks repeat a figure, the highest counts; data-parallel ones do not.
    "sglang": {
        "running": [3.0, 5.0],
        "waiting": [0.0, 1.0],
        "cache_usage": [0.25, 0.5],
        "startup": [77.5],
    },
    "sglang_old": {"startup": [61.25]},
    "tgi": {"running": [5.0], "waiting": [3.0]},
    "tei": {"waiting": [3.0]},
    "triton": {"running": [7.0], "waiting": [1.0], "cache_usage": [0.4875]},
    "nim": {"running": [1.0], "waiting": [0.0], "cache_usage": [0.125]},
    "trtllm_serve": {"running": [8.0], "waiting": [2.0], "cache_usage": [0.62]},
    "lmdeploy": {"running": [4.0], "waiting": [1.0], "cache_usage": [0.4]},
    "llamacpp": {"running": [2.0], "waiting": [1.0]},
    "dynamo": {"running": [12.0], "waiting": [3.0]},
    # Four of its five endpoints serve nobody.
    "dynamo_worker": {"running": [4.0]},
}
MODELS = {
    "vllm": "acme/tern-7b",
    "vllm_started": "acme/tern-7b",
    "vllm_v0": "acme/plover-1b",
    "vllm_triton": "wren",
    "vllm_ray": "acme/heron-8b",
    "vllm_ray_232": "acme/heron-8b",
    "own_server": "acme/wader",
    "sglang": "acme/kite-32b",
    "sglang_old": "acme/kite-2b",
    "dynamo_worker": "Acme/Tern-7B",
    "tgi": "",
    "tei": "",
    "llamacpp": "",
    "llamacpp_old": "",
    "nim": "acme/finch-8b",
    "trtllm_serve": "acme/stork-70b",
    "trtllm_serve_11": "acme/stork-1b",
    "lmdeploy": "acme/swift-20b",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harvest]:
    """Harvest every file at once, so that engines cannot take each other's series."""
    folder: Path = tmp_path_factory.mktemp("engines")
    targets = [
        Target(file.name, late=file.stem == "vllm_started")
        for file in sorted(EXPOSITIONS.glob("*.prom"))
    ]
    backfill(write_history([*targets, SIDECAR], folder / "history.om"), folder / "data")
    catalogue = load_catalogue((engine_of(EngineFile.model_validate(OWN)),))
    with running_prometheus(folder / "data") as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        yield harvest(source, catalogue, WINDOW, scrape_ms=SCRAPE_MS)


@pytest.fixture(scope="module")
def counted(found: Harvest) -> pd.DataFrame:
    return growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS)


def by_quantity(rows: pd.DataFrame) -> dict[str, int]:
    """Sum growth by quantity, of requests by outcome."""
    names = rows["outcome"].where(rows["quantity"] == "REQUESTS", rows["quantity"])
    return {str(name): int(much) for name, much in rows["growth"].groupby(names).sum().items()}


@pytest.mark.parametrize("pod", sorted(COUNTED))
def test_an_engine_is_read_exactly(counted: pd.DataFrame, pod: str) -> None:
    rows = counted[(counted["pod"] == pod) & (counted["layer"] == "engine")]

    assert by_quantity(rows) == COUNTED[pod]
    assert (rows["uncounted"] == 0).all()
    assert (rows["resets"] == 0).all()
    assert set(rows["model"]) == {MODELS[pod]} if pod in MODELS else {"tensorrt_llm", "ensemble"}


def test_every_exposition_is_expected_and_nothing_else_is_read(counted: pd.DataFrame) -> None:
    files = {file.stem for file in EXPOSITIONS.glob("*.prom")}
    known = {*COUNTED, *FRONTENDS, "sglang_prefill", "sglang_decode", "vllm_router"}

    assert files == known | {"not_nim"}
    assert set(counted["pod"]) == known


@pytest.mark.parametrize("pod", sorted(FRONTENDS))
def test_what_a_frontend_counts_again_is_told_from_the_engines(
    counted: pd.DataFrame, pod: str
) -> None:
    rows = counted[(counted["pod"] == pod) & (counted["layer"] == "frontend")]

    assert by_quantity(rows) == FRONTENDS[pod]


def test_a_router_that_publishes_an_engines_names_is_a_router(
    found: Harvest, counted: pd.DataFrame
) -> None:
    rows = counted[counted["pod"] == "vllm_router"]
    gauges = found.gauges.labels[found.gauges.labels["pod"] == "vllm_router"]

    assert set(rows["layer"]) == set(gauges["layer"]) == {"router"}
    # Two engines behind it are two counters: 2,000 and 50, as a gauge would be read wrongly.
    assert by_quantity(rows) == {CACHED: 2050}


def test_both_sides_of_a_disaggregated_engine_are_told_apart(counted: pd.DataFrame) -> None:
    rows = counted[counted["pod"].isin(["sglang_prefill", "sglang_decode"])]
    figures = rows.set_index(["role", "quantity"])["growth"].to_dict()

    assert figures == {
        ("prefill", PROMPT): 800,
        ("prefill", GENERATION): 0,
        ("decode", PROMPT): 800,
        ("decode", GENERATION): 300,
    }


def test_latencies_are_buckets_in_seconds(found: Harvest) -> None:
    frame = growth(WINDOW, found.buckets, found.births, SCRAPE_MS, DAY_MS)

    read: dict[str, dict[str, dict[str, int]]] = {}
    for row in frame.to_dict("records"):
        of_pod = read.setdefault(str(row["pod"]), {})
        of_pod.setdefault(str(row["quantity"]), {})[str(row["le"])] = int(row["growth"])
    assert read == BUCKETS


def test_gauges_tell_load_and_start(found: Harvest) -> None:
    gauges = found.gauges
    last = gauges.value[gauges.first[1:] - 1]
    rows = gauges.labels.assign(last=last).drop_duplicates("identity")

    read: dict[str, dict[str, list[float]]] = {}
    for row in rows[rows["layer"] != "router"].sort_values("last").to_dict("records"):
        of_pod = read.setdefault(str(row["pod"]), {})
        of_pod.setdefault(str(row["quantity"]), []).append(float(row["last"]))
    assert read == GAUGES


def test_each_series_says_which_engine_counted(counted: pd.DataFrame) -> None:
    rows = counted[counted["layer"] == "engine"]
    engines = {
        (str(pod), str(engine)) for pod, engine in zip(rows["pod"], rows["engine"], strict=True)
    }

    others = {("own_server", "acme"), ("dynamo_worker", "sglang")}
    assert others <= engines
    assert all(pod.startswith(engine) for pod, engine in engines - others)


def test_adapters_in_use_are_named(found: Harvest) -> None:
    named = set(zip(found.adapters["pod"], found.adapters["adapter"], strict=True))

    assert named == {("vllm", "billing-fr"), ("vllm", "legal-de")}


def test_births_come_from_counters_else_from_processes_else_from_nowhere(found: Harvest) -> None:
    births = found.births
    owner = births.series_of_samples()
    first = births.labels.assign(at=births.value[births.first[:-1]])
    counters = first[first["le"] == ""].groupby("pod")["at"].agg(["min", "max"])

    assert len(owner) == len(births.value)
    assert set(counters.index) == {"vllm", "vllm_started", "nim", "lmdeploy"}
    seconds_before = (WINDOW.start_ms - counters["max"]) / 1000
    assert seconds_before.to_dict() == {
        "vllm": 7199.75,
        "vllm_started": -1677.5,
        "nim": 4999.75,
        "lmdeploy": 9000.0,
    }


def test_limits_of_an_engine_are_said(found: Harvest) -> None:
    notes = found.notes

    coarse = notes[notes["kind"] == "counter_precision"]
    assert coarse[["subject", "quantity"]].to_numpy().tolist() == [["llamacpp", 6]]
    lacking = notes[notes["kind"] == "missing_part"]
    assert lacking["subject"].tolist() == ["serving/llamacpp_old"]
    assert "llamacpp:prompt_tokens_cached_total" in lacking["detail"].iloc[0]
    doubled = notes[notes["kind"] == "duplicate_series"].set_index("subject")["quantity"]
    assert doubled["prompt_tokens"] == 2
