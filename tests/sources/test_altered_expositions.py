"""Expositions as an upgrade or another cluster alters them: nothing counts twice or is lost."""

from collections.abc import Mapping
from pathlib import Path

from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS
from app.usage.growth import increments
from tests.real.fixtures import PrometheusStarter
from tests.sources.scraped import SCRAPE_MS, START, WINDOW

DAY_MS = 24 * HOUR_MS
START_S = int(START.timestamp())


def harvest_of(
    server: PrometheusStarter, folder: Path, series: Mapping[str, tuple[float, float]]
) -> Harvest:
    """Harvest an hour in which each series has its first value, and from half past its second."""
    families: dict[str, list[str]] = {}
    for text, values in series.items():
        lines = families.setdefault(text.partition("{")[0], [])
        for at_s in range(-90, 3_600, SCRAPE_MS // 1_000):
            lines.append(f"{text} {values[at_s >= 1_800]} {START_S + at_s}.000")
    history = folder / "altered.om"
    parts = [line for name, rows in families.items() for line in (f"# TYPE {name} unknown", *rows)]
    history.write_text("\n".join([*parts, "# EOF\n"]), encoding="utf-8")
    source = PrometheusSource(PrometheusSettings(url=server(history).url))
    return harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)


def consumed(found: Harvest) -> dict[tuple[str, str], int]:
    """Return what grew by gateway and quantity."""
    part = found.gateways
    grown = increments(WINDOW, part.counters, part.births, SCRAPE_MS, DAY_MS)
    labels = grown.labels.loc[grown.series, ["gateway", "quantity"]].assign(grown=grown.grown)
    return {
        (str(key[0]), str(key[1])): int(value)
        for key, value in labels.groupby(["gateway", "quantity"])["grown"].sum().items()
    }


def test_a_gateway_s_tokens_under_an_older_name_are_not_another_gateway_s(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    who = 'job="gw",instance="gw:9090",team_id="search",gen_ai_request_model="llama"'
    of_envoy = f'{who},gen_ai_original_model="chat",gen_ai_token_type="input"'
    series = {
        f"gen_ai_client_token_usage_sum{{{of_envoy}}}": (100.0, 160.0),
        f"gen_ai_client_token_usage_token_sum{{{of_envoy}}}": (100.0, 160.0),
    }

    found = harvest_of(prometheus_server, tmp_path, series)

    assert consumed(found) == {("envoy_ai_gateway", "prompt_tokens"): 60}


def test_a_figure_of_no_device_is_said_to_be_lost(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    series = {
        'DCGM_FI_DEV_FB_USED{job="dcgm",instance="n1:9400",gpu="0"}': (50.0, 50.0),
        'DCGM_FI_DEV_FB_USED{job="dcgm",instance="n2:9400",gpu="0",UUID="GPU-2"}': (70.0, 70.0),
        'DCGM_FI_PROF_SM_ACTIVE{job="dcgm",instance="n1:9400",gpu="0"}': (0.5, 0.5),
    }

    found = harvest_of(prometheus_server, tmp_path, series)

    assert found.memory_used_max_mib["device"].tolist() == ["GPU-2"]
    lost = found.notes[found.notes["kind"] == "no_device"]
    assert dict(zip(lost["subject"], lost["quantity"], strict=True)) == {
        "memory_used": 1,
        "sm_active": 1,
    }
