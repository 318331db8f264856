"""What was read of one target, small enough to be compared with what its text says."""

from dataclasses import dataclass, field

import pandas as pd

from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.usage.growth import growth, increments
from app.usage.samples import SampleSet
from tests.samples.scraping import SCRAPE_MS, Scraped

DAY_MS = 24 * 3_600_000
# Noted of any text that is a part of what an exporter says, scraped for a few seconds.
_ALWAYS = frozenset({"query", "alias", "data_end_early", "missing_family", "scrape_interval"})

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Everything that was read; a kind of figure that is not expected is not there.

    ``grown`` is by engine, layer, model, quantity and outcome; ``buckets`` (all observations) and
    ``gauges`` by engine, model and quantity; ``activity`` by basis, device and part; ``energy`` and
    ``memory`` by device and part; ``holders`` by device and part of what has activity or energy;
    ``consumed`` by gateway, team, alias, asked model, target model and quantity.
    """

    grown: dict[Key, int] = field(default_factory=dict)
    buckets: dict[Key, int] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)
    activity: dict[Key, float] = field(default_factory=dict)
    energy: dict[Key, float] = field(default_factory=dict)
    memory: dict[Key, float] = field(default_factory=dict)
    sm_active: dict[Key, float] = field(default_factory=dict)
    dram_active: dict[Key, float] = field(default_factory=dict)
    sharers: dict[Key, float] = field(default_factory=dict)
    holders: dict[Key, frozenset[str]] = field(default_factory=dict)
    consumed: dict[Key, int] = field(default_factory=dict)
    notes: dict[Key, int] = field(default_factory=dict)


def read(prometheus: Scraped, *texts: str) -> Read:
    """Read some texts alone, or all of them."""
    return summary(prometheus, harvested(prometheus, *texts))


def harvested(prometheus: Scraped, *texts: str) -> Harvest:
    """Harvest some texts alone, or all of them."""
    source = prometheus.only(*texts) if texts else prometheus.everything
    return harvest(source, load_catalogue(), prometheus.window, scrape_ms=SCRAPE_MS)


def summary(prometheus: Scraped, found: Harvest) -> Read:
    """Return what was harvested, in figures."""
    counters = growth(prometheus.window, found.counters, found.births, SCRAPE_MS, DAY_MS)
    buckets = growth(prometheus.window, found.buckets, found.births, SCRAPE_MS, DAY_MS)
    return Read(
        grown=_by(counters, "engine", "layer", "model", "quantity", "outcome"),
        buckets=_by(buckets, "engine", "model", "quantity", how="max"),
        gauges=_last(found.gauges, "engine", "model", "quantity"),
        activity={
            (basis.name.lower(), *key): value
            for basis, samples in found.activity
            for key, value in _last(samples, "device", "instance").items()
        },
        energy=_span(found.energy, "device", "instance"),
        memory=_figures(found.memory_used_max_mib),
        sm_active=_figures(found.sm_active_mean),
        dram_active=_figures(found.dram_active_mean),
        sharers=_last(found.sharers, "device", "namespace", "pod"),
        holders=_holders([*(samples for _, samples in found.activity), found.energy]),
        consumed=_consumed(prometheus, found),
        notes={
            (kind, subject): int(quantity)
            for kind, subject, quantity in zip(
                found.notes["kind"], found.notes["subject"], found.notes["quantity"], strict=True
            )
            # The end of the window has not come yet.
            if kind not in _ALWAYS and subject != "window_end"
        },
    )


def _by(frame: pd.DataFrame, *columns: str, how: str = "sum") -> dict[Key, int]:
    sums = frame.groupby(list(columns), sort=True)["growth"].agg(how)
    return {tuple(str(part) for part in key): int(value) for key, value in sums.items()}


def _last(samples: SampleSet, *columns: str) -> dict[Key, float]:
    last = samples.value[samples.first[1:] - 1].tolist()
    return dict(zip(_keys(samples.labels, *columns), last, strict=True))


def _span(samples: SampleSet, *columns: str) -> dict[Key, float]:
    grown = samples.value[samples.first[1:] - 1] - samples.value[samples.first[:-1]]
    return dict(zip(_keys(samples.labels, *columns), grown.tolist(), strict=True))


def _figures(frame: pd.DataFrame) -> dict[Key, float]:
    return dict(zip(_keys(frame, "device", "instance"), frame["value"].tolist(), strict=True))


def _keys(frame: pd.DataFrame, *columns: str) -> list[Key]:
    return list(zip(*(frame[column].astype(str) for column in columns), strict=True))


def _holders(sets: list[SampleSet]) -> dict[Key, frozenset[str]]:
    found: dict[Key, frozenset[str]] = {}
    for samples in sets:
        labels = samples.labels
        for *key, namespace, pod in _keys(labels, "device", "instance", "namespace", "pod"):
            if pod:
                known = found.get(tuple(key), frozenset())
                found[tuple(key)] = known | {f"{namespace}/{pod}"}
    return found


def _consumed(prometheus: Scraped, found: Harvest) -> dict[Key, int]:
    part = found.gateways
    counted = increments(prometheus.window, part.counters, part.births, SCRAPE_MS, DAY_MS)
    labels = counted.labels.assign(row=range(len(counted.labels)))
    grown = pd.Series(counted.grown).groupby(counted.series).sum()
    labels["growth"] = labels["row"].map(grown).fillna(0).astype("int64")
    return _by(labels, "gateway", "team", "key_alias", "model", "target_model", "quantity")
