from pathlib import Path

import pytest

from app.simulator.openmetrics import write_openmetrics
from tests.oracle.growth_oracle import (
    DAY_MS,
    Growth,
    SeriesKey,
    families_with_births,
    growth_of,
    read_samples,
)
from tests.simulator.small import small_fleet

TOTAL = "vllm:prompt_tokens_total"
CREATED = "vllm:prompt_tokens_created"
START = 1_000_000
END = 2_000_000


def a_growth(
    tmp_path: Path, *points: tuple[float, int], born: dict[float, float] | float = 10.0
) -> Growth | None:
    """Return the growth of one counter; ``points`` are (seconds, value)."""
    path = tmp_path / "samples.om"
    lines = ["# TYPE vllm:prompt_tokens counter"]
    lines += [f'{TOTAL}{{pod="a",le="x\\"y"}} {value} {at:.3f}' for at, value in points]
    births = born if isinstance(born, dict) else dict.fromkeys((at for at, _ in points), born)
    lines += [f'{CREATED}{{pod="a"}} {value} {at:.3f}' for at, value in births.items()]
    path.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    samples = read_samples(path, families_with_births([TOTAL]))
    grown = growth_of(samples, start_ms=START, end_ms=END)
    return grown.get(SeriesKey(TOTAL, (("le", 'x\\"y'), ("pod", "a"))))


def test_growth_is_the_difference_to_the_newest_earlier_sample(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (990, 5), (1010, 7), (1990, 12)) == Growth(7, 0, 0, 2)


def test_a_sample_at_the_start_is_inside_and_one_at_the_end_is_not(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (999.999, 5), (1000, 8), (2000, 99)) == Growth(3, 0, 0, 1)


def test_a_fall_counts_from_zero(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (990, 5), (1010, 3), (1020, 4)) == Growth(4, 0, 1, 2)


def test_a_moved_birth_counts_from_zero_though_nothing_fell(tmp_path: Path) -> None:
    found = a_growth(tmp_path, (990, 5), (1010, 9), born={990: 10.0, 1010: 1000.5})

    assert found == Growth(9, 0, 1, 1)


def test_a_series_born_inside_the_window_counts_from_zero(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (1010, 9), (1020, 10), born=1000.0) == Growth(10, 0, 0, 2)


def test_a_series_of_unknown_past_has_an_uncounted_first_value(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (1010, 9), (1020, 10), born=999.999) == Growth(1, 9, 0, 2)
    assert a_growth(tmp_path, (1010, 9), born={}) == Growth(0, 9, 0, 1)


def test_a_sample_before_the_lookback_is_none(tmp_path: Path) -> None:
    early = (START - DAY_MS) / 1000

    assert a_growth(tmp_path, (early, 5), (1010, 9), born=-1e6) == Growth(4, 0, 0, 1)
    assert a_growth(tmp_path, (early - 0.001, 5), (1010, 9), born=-1e6) == Growth(0, 9, 0, 1)


def test_a_series_without_a_sample_in_the_window_has_no_growth(tmp_path: Path) -> None:
    assert a_growth(tmp_path, (990, 5), (2000, 9)) is None


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_growth_is_never_more_than_served_and_lacks_only_what_died_unseen(
    tmp_path: Path, seed: int
) -> None:
    fleet = small_fleet(seed=seed)
    spec = fleet.spec
    path = tmp_path / "fleet.om"
    write_openmetrics(fleet, path, families_with_births([TOTAL]))
    samples = read_samples(path, families_with_births([TOTAL]))

    grown = growth_of(samples, start_ms=spec.start_ms, end_ms=spec.end_ms)

    assert len(grown) >= 3
    lost = 0
    for key, found in grown.items():
        pod = next(pod for pod in fleet.pods if pod.name == key.label("pod"))
        times = sorted(samples[key])
        inside = [at for at in times if spec.start_ms <= at < spec.end_ms]
        earlier = [at for at in times if at < spec.start_ms]
        # A sample shows what came up to its instant, that instant included.
        since = earlier[-1] + 1 if earlier else spec.opens_ms
        served = fleet.truth.served(pod.uid, since, inside[-1] + 1).prompt_tokens
        unseen = 0
        for run in pod.runs:
            if since <= run.end_ms <= inside[-1]:
                seen = [at for at in times if run.serving_ms <= at < run.end_ms]
                last = seen[-1] + 1 if seen else run.serving_ms
                died = fleet.truth.served(pod.uid, max(last, since), run.end_ms)
                unseen += died.prompt_tokens
        assert found.growth + found.uncounted + unseen == served
        lost += unseen
    assert lost > 0


def test_the_process_start_stands_in_for_a_missing_birth(tmp_path: Path) -> None:
    path = tmp_path / "samples.om"
    path.write_text(
        f'{TOTAL}{{pod="a",instance="i"}} 5 990.0\n'
        f'{TOTAL}{{pod="a",instance="i"}} 9 1010.0\n'
        'process_start_time_seconds{pod="a",instance="i"} 10 990.0\n'
        'process_start_time_seconds{pod="a",instance="i"} 1000 1010.0\n'
        "# EOF\n",
        encoding="utf-8",
    )

    samples = read_samples(path, families_with_births([TOTAL]))
    grown = growth_of(samples, start_ms=START, end_ms=END)

    assert list(grown.values()) == [Growth(9, 0, 1, 1)]
