"""Words in which expectations are written; whatever is not written down must not be read."""

from collections.abc import Mapping

from tests.samples.reading import Key, Read

Parts = Mapping[tuple[str, str], float]


def served(
    engine: str,
    model: str,
    *,
    layer: str = "engine",
    tokens: Mapping[str, int] | None = None,
    requests: Mapping[str, int] | None = None,
    latency: Mapping[str, int] | None = None,
    gauges: Mapping[str, float] | None = None,
    notes: Mapping[Key, int] | None = None,
) -> Read:
    """Return what one engine says of one model: what grows is what its text shows.

    ``tokens`` by kind, ``requests`` by outcome, ``latency`` with the number of observations.
    """
    grown = {
        (engine, layer, model, f"{kind.upper()}_TOKENS", ""): count
        for kind, count in (tokens or {}).items()
    }
    for outcome, count in (requests or {}).items():
        grown[engine, layer, model, "REQUESTS", outcome] = count
    return Read(
        grown=grown,
        buckets={
            (engine, model, f"{name.upper()}_BUCKET"): n for name, n in (latency or {}).items()
        },
        gauges={(engine, model, name): value for name, value in (gauges or {}).items()},
        notes=dict(notes or {}),
    )


def together(*reads: Read) -> Read:
    """Return what several engines say in one text."""
    whole = Read()
    for one in reads:
        whole.grown.update(one.grown)
        whole.buckets.update(one.buckets)
        whole.gauges.update(one.gauges)
        whole.notes.update(one.notes)
    return whole


def measured(
    basis: str,
    active: Parts,
    *,
    energy: Parts | None = None,
    memory: Parts | None = None,
    dram: Parts | None = None,
    holders: Mapping[tuple[str, str], frozenset[str]] | None = None,
) -> Read:
    """Return what an exporter says of devices and their parts: ratios, mJ that grew, MiB."""
    return Read(
        activity={(basis, *key): value for key, value in active.items()},
        energy=dict(energy or {}),
        memory=dict(memory or {}),
        dram_active=dict(dram or {}),
        holders=dict(holders or {}),
    )


def consumed(gateway: str, *rows: tuple[str, str, str, str, Mapping[str, int]]) -> Read:
    """Return what a gateway says: rows of team, alias, asked model, target model, figures."""
    return Read(
        consumed={
            (gateway, *who, quantity): count
            for *who, figures in rows
            for quantity, count in figures.items()
        }
    )
