"""Runs every scenario of this folder: given prices, a contract, nodes and pods, expect these lines.

A scenario is a TOML file that anyone in finance can read and add; nothing here needs a change.
"""

import tomllib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract
from app.attribution.rating import Rated
from app.pricing.rows import plain_amount
from app.sources.price_book import COLUMNS, read_price_book
from app.sources.team_contract import read_team_contract
from app.units.window import to_ms
from app.usage.identity import hold_id, node_id, team_id
from tests.attribution.fleets import CLUSTER, AFleet, AHold, APool, Span, rated

FILES = sorted(Path(__file__).parent.glob("*.toml"))


@dataclass(frozen=True)
class Scenario:
    fleet: AFleet
    prices: str
    contract: str
    zone: str
    window: Span
    expected: list[tuple[str, ...]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = read(tomllib.loads(path.read_text(encoding="utf-8")))

    result = rated(
        scenario.fleet,
        read_price_book(scenario.prices, filename=path.name, billing_currency="USD"),
        contract_of(scenario, path.name),
        (scenario.window,),
        ZoneInfo(scenario.zone),
    )

    assert lines(scenario.fleet, result) == sorted(scenario.expected)


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 8


def read(document: dict[str, object]) -> Scenario:
    start, end = (ms(instant) for instant in document["window"])
    return Scenario(
        fleet=AFleet(
            pools=tuple(pool(node, start, end) for node in document["nodes"]),
            holds=tuple(hold(one) for one in document.get("pods", [])),
            unobserved=tuple(spans(document.get("nobody_watched", []))),
        ),
        prices=price_file(document["prices"]),
        contract=document.get("contract", ""),
        zone=document.get("billing_zone", "UTC"),
        window=(start, end),
        expected=[
            tuple(cell.strip() for cell in line.split("|"))
            for line in document["expect"].strip().splitlines()[1:]
        ],
    )


def pool(node: dict[str, object], start: int, end: int) -> APool:
    return APool(
        node=node["name"],
        gpu_model=node.get("gpu_model", "NVIDIA-H100-80GB-HBM3"),
        devices=node["gpus"],
        allocatable=node.get("allocatable"),
        instance_type=node.get("instance_type", ""),
        provider=node.get("provider", ""),
        region=node.get("region", ""),
        capacity_type=node.get("capacity_type", ""),
        start=ms(node["created"]) if "created" in node else start,
        end=ms(node["deleted"]) if "deleted" in node else end,
    )


def hold(one: dict[str, object]) -> AHold:
    return AHold(
        pod=one["name"],
        namespace=one["namespace"],
        labels=tuple(one.get("labels", {}).items()),
        node=one["node"],
        gpu_model=one.get("gpu_model", "NVIDIA-H100-80GB-HBM3"),
        gpus=one["gpus"],
        start=ms(one["from"]),
        end=ms(one["until"]),
        active=tuple(spans(one.get("active", []))),
        unmeasured=tuple(spans(one.get("unmeasured", []))),
    )


def price_file(rows: list[dict[str, object]]) -> str:
    filled = [{"currency": "USD", **row} for row in rows]
    cells = [",".join(str(row.get(name, "")) for name in COLUMNS) for row in filled]
    return "\n".join([",".join(COLUMNS), *cells])


def contract_of(scenario: Scenario, name: str) -> Contract | None:
    return read_team_contract(scenario.contract, filename=name) if scenario.contract else None


def lines(fleet: AFleet, result: Rated) -> list[tuple[str, ...]]:
    """Return team, pod, node, kind, GPU-seconds and cost of every line, as texts.

    Costs are shown to a millionth: each segment of a line may round it by a nano.
    """
    teams = {team_id(name): name for name in (*result.teams, "")}
    pods = {hold_id(CLUSTER, one.pod, "nvidia.com/gpu"): one.pod for one in fleet.holds}
    nodes = {node_id(CLUSTER, one.node): one.node for one in fleet.pools}
    sums: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for row in result.charges.itertuples():
        kind = ChargeKind(row.kind).name.lower() + ("" if row.priced else " (unpriced)")
        key = (teams[row.team_id], pods.get(row.hold_id, ""), nodes[row.node_id], kind)
        sums[key][0] += Decimal(int(row.gpu_ms)).scaleb(-3)
        sums[key][1] += Decimal(int(row.cost_nanos)).scaleb(-9)
    return sorted(
        (*key, *(plain_amount(round(one, 6)) for one in both)) for key, both in sums.items()
    )


def spans(pairs: list[list[str]]) -> list[Span]:
    return [(ms(first), ms(last)) for first, last in pairs]


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))
