"""Engines that share a pod add up; what a sidecar shows again counts once."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.sources.ports import pods_of_several, with_ports
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.growth import growth
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples

TEN_MS = 1_795_428_000_000
WINDOW = Window(from_ms(TEN_MS), from_ms(TEN_MS + HOUR_MS))
SCRAPE_MS = 30_000
POD = frozenset({("serving", "vllm-0")})
Series = tuple[str, int, Callable[[int], int]]


def counters(*series: Series) -> SampleSet:
    """Series of one identity: target, how much later they are scraped, the value at an instant."""
    rows = [
        dict.fromkeys(COUNTER_LABELS, "")
        | {
            "namespace": "serving",
            "pod": "vllm-0",
            "target": target,
            "identity": "generation",
            "quantity": "GENERATION_TOKENS",
            "engine": "vllm",
            "layer": "engine",
            "series": f"{number}",
        }
        for number, (target, _, _) in enumerate(series)
    ]
    instants = [
        [*range(TEN_MS - SCRAPE_MS + later, TEN_MS + HOUR_MS, SCRAPE_MS)] for _, later, _ in series
    ]
    return SampleSet(
        pd.DataFrame(rows, columns=[*COUNTER_LABELS]).astype("str"),
        np.cumsum([0, *map(len, instants)]).astype(np.int64),
        np.array([at for own in instants for at in own], dtype=np.int64),
        np.array(
            [
                float(value(at))
                for (_, _, value), own in zip(series, instants, strict=True)
                for at in own
            ]
        ),
    )


def steady(per_second: int, before: int = 0) -> Callable[[int], int]:
    return lambda at_ms: before + per_second * (at_ms - TEN_MS + HOUR_MS) // 1000


def grown(samples: SampleSet) -> int:
    told = with_ports(samples, pods_of_several(samples, SCRAPE_MS))
    frame = growth(WINDOW, told, no_samples(COUNTER_LABELS), SCRAPE_MS, HOUR_MS)
    return int(frame["growth"].sum())


def test_engines_of_one_model_on_ports_of_one_pod_add_up() -> None:
    both = counters(("10.0.0.1:8000", 0, steady(10)), ("10.0.0.1:8001", 7_000, steady(20, 50_000)))

    assert pods_of_several(both, SCRAPE_MS) == POD
    assert grown(both) == 120 * 30 * 10 + 120 * 30 * 20


@given(later=st.integers(1, SCRAPE_MS - 1), old=st.integers(0, SCRAPE_MS), restart=st.booleans())
def test_a_sidecar_that_shows_the_engines_figures_is_no_engine(
    later: int, old: int, *, restart: bool
) -> None:
    half_ms = TEN_MS + HOUR_MS // 2

    def value(at_ms: int) -> int:
        since = half_ms if restart and at_ms >= half_ms else TEN_MS - HOUR_MS
        return 10 * (at_ms - since) // 1000

    both = counters(
        ("10.0.0.1:8000", 0, value),
        ("10.0.0.1:8080", later, lambda at_ms: value(at_ms - old)),
    )

    assert not pods_of_several(both, SCRAPE_MS)


def test_a_pod_made_anew_has_another_address() -> None:
    samples = counters(("10.0.0.1:8000", 0, steady(10)), ("10.0.0.2:8000", 0, steady(20)))

    assert not pods_of_several(samples, SCRAPE_MS)
    assert with_ports(samples, frozenset()) is samples


def test_engines_that_stand_still_add_nothing() -> None:
    assert grown(counters(("a:1", 0, lambda _: 7), ("a:2", 9_000, lambda _: 9))) == 0
