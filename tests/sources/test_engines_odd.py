"""Bad expositions of engines: what cannot be read is named, and nothing else suffers."""

from pathlib import Path

import pandas as pd
import pytest

from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS
from app.usage.growth import growth
from tests.real.fixtures import PrometheusStarter
from tests.sources.scraped import ODD, SCRAPE_MS, WINDOW, Target, write_history

DAY_MS = 24 * HOUR_MS


def harvest_of(
    server: PrometheusStarter, folder: Path, *targets: Target, kind: str = "unknown"
) -> Harvest:
    history = write_history(targets, folder / "history.om", kind=kind)
    source = PrometheusSource(PrometheusSettings(url=server(history).url))
    return harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)


def grown(found: Harvest) -> pd.DataFrame:
    return growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS)


def test_values_that_are_no_counts_are_left_out_and_said(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    found = harvest_of(prometheus_server, tmp_path, Target("values.prom", folder=ODD))

    frame = grown(found)
    prompt = frame[frame["quantity"] == "PROMPT_TOKENS"].set_index("model")
    # Below zero is no count: what follows is a first value of unknown age.
    assert prompt["growth"].to_dict() == {
        "not-a-number": 0,
        "negative": 0,
        "infinite": 0,
        "steady": 30,
        "large": 1000,
    }
    assert prompt["uncounted"].to_dict()["negative"] == 50
    # 55 is no ratio, so the use of the cache is not known.
    assert "cache_usage" not in set(found.gauges.labels["quantity"])
    dropped = found.notes[found.notes["kind"] == "dropped_samples"].set_index("subject")
    said = str(dropped["detail"].to_dict()["vllm:prompt_tokens_total"])
    assert "not finite" in said
    assert "outside the possible range" in said
    assert dropped["quantity"].to_dict()["vllm:kv_cache_usage_perc"] == 1
    assert not found.partial


def test_odd_labels_stay_apart_and_fit_into_a_database(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    found = harvest_of(prometheus_server, tmp_path, Target("labels.prom", folder=ODD))

    frame = grown(found)
    prompt = frame[frame["quantity"] == "PROMPT_TOKENS"]
    long = prompt[prompt["model"].str.startswith("xxx")]
    assert sorted(long["growth"]) == [60, 700]
    assert long["model"].str.len().max() <= 500
    others = prompt.drop(long.index).set_index("model")["growth"].to_dict()
    assert others == {"": 5, "caf\ufffd": 9000, 'say "hi" \\ there': 100}
    requests = frame[frame["quantity"] == "REQUESTS"].set_index("outcome")["growth"]
    assert requests[""] == 4
    assert requests.sum() == 6


def test_unknown_names_are_no_zeros(prometheus_server: PrometheusStarter, tmp_path: Path) -> None:
    found = harvest_of(prometheus_server, tmp_path, Target("names.prom", folder=ODD))

    frame = grown(found)
    assert frame["quantity"].tolist() == ["GENERATION_TOKENS"]
    assert len(found.buckets.labels) == 0
    missing = found.notes[found.notes["kind"] == "missing_family"].set_index("subject")["detail"]
    assert "vllm:prompt_tokens_total" in missing["prompt_tokens"]
    assert "ray_vllm" not in missing["prompt_tokens"]
    assert "vllm:e2e_request_latency_seconds" in missing["end_to_end"]
    # What came with later releases is not missed.
    assert "queue_time" not in missing.index


@pytest.mark.parametrize("kind", ["gauge", "info"])
def test_the_type_that_an_exposition_states_changes_nothing(
    prometheus_server: PrometheusStarter, tmp_path: Path, kind: str
) -> None:
    target = Target("vllm_v0.prom")

    found = harvest_of(prometheus_server, tmp_path, target, kind=kind)

    frame = grown(found).set_index("quantity")["growth"]
    assert (frame["PROMPT_TOKENS"], frame["GENERATION_TOKENS"]) == (600, 250)


def test_a_series_that_two_quantities_are_read_from_stays_both(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    # Nothing was scraped before half past, so that earlier samples are looked for.
    found = harvest_of(prometheus_server, tmp_path, Target("llamacpp.prom", late=True))

    uncounted = grown(found).set_index("quantity")["uncounted"].to_dict()
    assert uncounted == {
        "PROMPT_TOKENS": 1_905_230 + 421_506,
        "CACHED_PROMPT_TOKENS": 421_506,
        "GENERATION_TOKENS": 196_808,
    }


def test_a_scrape_may_say_which_model_an_engine_without_labels_serves(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    targets = [
        Target("llamacpp.prom", pod="router", further={"model": model}) for model in ("a", "b")
    ]

    found = harvest_of(prometheus_server, tmp_path, *targets)

    frame = grown(found)
    prompt = frame[frame["quantity"] == "PROMPT_TOKENS"].set_index("model")["growth"]
    assert prompt.to_dict() == {"a": 1120, "b": 1120}


def test_a_doubled_series_counts_once(prometheus_server: PrometheusStarter, tmp_path: Path) -> None:
    once = Target("names.prom", folder=ODD, pod="engine")
    again = Target("names.prom", folder=ODD, pod="engine", further={"endpoint": "metrics"})

    found = harvest_of(prometheus_server, tmp_path, once, again)

    frame = grown(found)
    assert frame[["growth", "duplicates"]].to_numpy().tolist() == [[5, 1]]


def test_without_an_engine_there_is_nothing_and_nothing_is_asked(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    from_elsewhere = Target("not_nim.prom")

    found = harvest_of(prometheus_server, tmp_path, from_elsewhere)

    assert len(found.counters.labels) == len(found.gauges.labels) == len(found.adapters) == 0
    assert "query" not in set(found.notes["kind"])
    seen = found.evidence.set_index("family")["seen"]
    assert seen["prompt_tokens"] == seen["requests"] == seen["time_to_first_token"] == 0


def told_by(metric: str, pod: str, values: list[tuple[int, float]]) -> list[str]:
    labels = f'job="serving",namespace="n",pod="{pod}",instance="{pod}:8000",model_name="m"'
    return [
        f"{metric}{{{labels}}} {value} {(WINDOW.start_ms + second * 1000) / 1000:.3f}"
        for second, value in values
    ]


def test_every_start_of_a_process_tells_how_long_it_took(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    zero = WINDOW.start_ms / 1000
    scrapes = range(0, 3600, SCRAPE_MS // 1000)
    # Started 30 minutes before the hour, at 10 and at 40 minutes; ready 60 and 90 seconds later.
    starts = [(at, zero + (-1800 if at < 690 else 600 if at < 2490 else 2400)) for at in scrapes]
    births = [(at, zero + (-1700 if at < 690 else 660 if at < 2490 else 2490)) for at in scrapes]
    families = {
        "process_start_time_seconds": told_by("process_start_time_seconds", "a", starts),
        "vllm:generation_tokens_created": told_by("vllm:generation_tokens_created", "a", births),
        "vllm:generation_tokens_total": told_by(
            "vllm:generation_tokens_total", "a", [(at, 1.0) for at in scrapes]
        ),
    }
    history = tmp_path / "starts.om"
    text = [line for name, rows in families.items() for line in (f"# TYPE {name} unknown", *rows)]
    history.write_text("\n".join([*text, "# EOF", ""]), encoding="utf-8")

    source = PrometheusSource(PrometheusSettings(url=prometheus_server(history).url))
    found = harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)

    mine = (found.gauges.labels["quantity"] == "startup").to_numpy()
    assert mine.sum() == 1
    (row,) = mine.nonzero()[0]
    samples = slice(found.gauges.first[row], found.gauges.first[row + 1])
    assert found.gauges.value[samples].tolist() == [60.0, 90.0]
    assert ((found.gauges.at_ms[samples] - WINDOW.start_ms) // 1000).tolist() == [660, 2490]
