"""Companies of two clusters with prices, commitments, energy and policies: drawn, and rated."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pandas as pd
from hypothesis import strategies as st

from app.attribution.committed import capacity_for_commitments
from app.attribution.contract import Contract, Platform, Policies, RatingPolicy, Team
from app.attribution.derived import money_charges, unused_lines
from app.attribution.rating import rate
from app.attribution.tariffs import Place
from app.pricing.allotment import Allotted, allot
from app.pricing.book import PriceBook
from app.pricing.commitments import AllotmentRule, Commitment, CommitmentKind, CommitmentUnit
from app.pricing.exchange import ExchangeRate
from app.pricing.inputs import PriceInputs
from app.pricing.owned import EnergyTariff
from app.pricing.rows import PricedPool, PriceRow, PriceUnit
from app.pricing.terms import PriceTerm, TermKind
from app.units.window import HOUR_MS, OPEN_MS
from app.usage.identity import cluster_id, hold_id
from tests.attribution.fleets import CLUSTER, ELEVEN, TEN, AFleet, AHold, APool, rating_input
from tests.attribution.test_derived_oracle import policy_blocks
from tests.pricing.test_commitments import a_commitment

# How many steps of time a fleet lives; at the longest step that is ten minutes.
STEPS = 60
CLUSTERS = ("eu", "us")
NAMESPACES = ("search-prod", "monitoring", "ml")


@dataclass(frozen=True, kw_only=True)
class Company:
    """Everything that decides what is charged in the hour from ten.

    Every instant in it is a multiple of ``step_ms`` after ten, but for the midnight of the billing
    zone at ``midnight_ms``. ``energy_mj`` is by pod what a counter told.
    """

    step_ms: int
    midnight_ms: int
    fleets: Mapping[str, AFleet]
    prices: tuple[PriceRow, ...]
    rates: tuple[ExchangeRate, ...] = ()
    terms: tuple[PriceTerm, ...] = ()
    card: tuple[PriceRow, ...] = ()
    tariffs: tuple[EnergyTariff, ...] = ()
    energy_mj: Mapping[str, int] = field(default_factory=dict)
    commitments: tuple[Commitment, ...] = ()
    handover_ms: int = 0
    policies: tuple[Policies, ...] = ()

    @property
    def borders(self) -> int:
        """How many instants there are at which anything may change: no more segments a pool."""
        dated = (*self.prices, *self.rates, *self.terms, *self.card, *self.tariffs, *self.policies)
        found = {self.handover_ms, self.midnight_ms}
        found |= {at for one in dated for at in (one.valid_from_ms, one.valid_to_ms)}
        found |= {at for one in self.commitments for at in (one.term_start_ms, one.term_end_ms)}
        for fleet in self.fleets.values():
            found |= {at for one in (*fleet.pools, *fleet.holds) for at in (one.start, one.end)}
            found |= {at for span in fleet.unobserved for at in span}
        return len(found) + 1

    @property
    def zone(self) -> timezone:
        """The billing zone, whose day ends at ``midnight_ms``, between ten and eleven."""
        return timezone(timedelta(hours=14) - timedelta(milliseconds=self.midnight_ms - TEN))

    @property
    def contract(self) -> Contract:
        """search-prod goes from search to ads in one cluster and is lab's in the other."""
        own = {"namespaces": ("search-prod",), "clusters": ("eu",)}
        return Contract(
            teams=(
                Team(name="search", valid_to_ms=self.handover_ms, **own),
                Team(name="ads", valid_from_ms=self.handover_ms, **own),
                Team(name="lab", namespaces=("search-prod",), clusters=("us",)),
            ),
            platform=(Platform(team="platform", namespaces=("monitoring",)),),
            policies=self.policies,
        )


@dataclass(frozen=True)
class Ledger:
    """The product's answer: first-hand charges by cluster, what is unused, and the allotment."""

    charges: Mapping[str, pd.DataFrame]
    unused: pd.DataFrame
    allotted: Allotted


def ledger_of(company: Company) -> Ledger:
    """Allot and rate as the workflows do."""
    contract, book = company.contract, PriceBook(company.prices, company.rates, company.terms)
    inputs = PriceInputs(book=book, energy=company.tariffs)
    given = {}
    for name, fleet in company.fleets.items():
        plain = rating_input(fleet, (), contract, zone=company.zone)
        told = {
            hold_id(CLUSTER, pod, "nvidia.com/gpu"): mj for pod, mj in company.energy_mj.items()
        }
        energy = [told.get(one, pd.NA) for one in plain.hold_usage["hold_id"]]
        usage = plain.hold_usage.assign(
            energy_mj=pd.Series(energy, dtype="Int64", index=plain.hold_usage.index)
        )
        given[name] = replace(
            plain,
            cluster=name,
            hold_usage=usage,
            price_book=book,
            energy=inputs if company.tariffs else None,
            card=PriceBook(company.card, company.rates),
        )
    parts: list[pd.DataFrame] = []
    places: list[PricedPool] = []
    for rank, (name, one) in enumerate(given.items()):
        place = Place(cluster=name, nodes=one.nodes, gpu_models=one.gpu_models)
        frame, found = capacity_for_commitments(
            one.pool_usage, place, book, company.commitments, cluster_id=cluster_id(name), rank=rank
        )
        parts.append(frame.assign(place=frame["place"] + len(places)))
        places += found
    allotted = allot(company.commitments, [TEN], pd.concat(parts, ignore_index=True), places)
    every = allotted.allotments
    charges = {}
    for name, one in given.items():
        mine = every[every["cluster_id"] == cluster_id(name)].reset_index(drop=True)
        charges[name] = rate(replace(one, allotments=mine if company.commitments else None)).charges
    by_id = {one.price_id: one for one in company.commitments}
    lines = unused_lines(allotted.hours, by_id, contract, company.zone, cluster_id=0)
    return Ledger(charges, money_charges(lines), allotted)


@st.composite
def companies(draw: st.DrawFn, *, committed: bool, whole: bool = False) -> Company:
    """Draw a company. Without commitments, all holds do one thing only: no millisecond is cut.

    In ``whole`` ones every millisecond costs whole nanos, so that nothing at all is rounded.
    """
    step_ms = draw(st.sampled_from([1, 997, 10_000]))
    at = st.integers(0, STEPS).map(lambda step: TEN + step * step_ms)
    fleets = {
        name: draw(_fleets(name, at, TEN + STEPS * step_ms, divided=committed)) for name in CLUSTERS
    }
    holds = [hold for fleet in fleets.values() for hold in fleet.holds]
    blocks = [replace(draw(policy_blocks()), rating=draw(st.sampled_from(RatingPolicy)))]
    if draw(st.booleans()):
        own = replace(draw(policy_blocks()), rating=draw(st.sampled_from(RatingPolicy)))
        blocks.append(replace(own, clusters=("us",), valid_from_ms=draw(st.just(0) | at)))
    return Company(
        step_ms=step_ms,
        midnight_ms=draw(st.integers(0, 9)) * 60_000 + TEN,
        fleets=fleets,
        prices=draw(_prices(at, whole=whole)),
        rates=draw(_rates(at, whole=whole)),
        terms=() if whole else draw(_terms(at)),
        card=draw(_prices(at, whole=whole)),
        tariffs=draw(_tariffs(at, whole=whole)),
        energy_mj={
            one.pod: draw(st.integers(0, 700)) * one.gpus * (one.end - one.start)
            if whole
            else draw(st.integers(0, 10**10))
            for one in holds
            if draw(st.booleans())
        },
        commitments=draw(_commitments(at, step_ms)) if committed else (),
        handover_ms=draw(at),
        policies=tuple(blocks),
    )


@st.composite
def _fleets(
    draw: st.DrawFn, cluster: str, at: st.SearchStrategy[int], end: int, *, divided: bool
) -> AFleet:
    pools, holds = [], []
    for number in range(draw(st.integers(1, 2 if cluster == "eu" else 1))):
        node, devices = f"{cluster}-{number}", draw(st.integers(1, 4))
        model = draw(st.sampled_from(["H100", "L4"]))
        since = min(draw(st.just(TEN) | at), end - 1)
        pool = APool(
            node=node,
            gpu_model=model,
            devices=devices,
            allocatable=draw(st.integers(0, devices)),
            start=since,
            end=end,
            instance_type=draw(st.sampled_from(["p5", "p4"])),
        )
        pools.append(pool)
        left = devices
        for pod in range(draw(st.integers(0, 3))):
            gpus = draw(st.integers(0, left))
            edges = sorted(draw(st.tuples(at, at)))
            begin, finish = max(edges[0], since), edges[1]
            if gpus and begin < finish:
                left -= gpus
                parts = sorted(draw(st.tuples(at, at, at, at)))
                whole = draw(st.sampled_from([(0, 0), (0, 1), (1, 0)]))
                span = ((begin, finish),)
                active = ((parts[0], parts[1]),) if divided else span * whole[0]
                unmeasured = ((parts[2], parts[3]),) if divided else span * whole[1]
                holds.append(
                    AHold(
                        pod=f"{node}-{pod}",
                        node=node,
                        gpu_model=model,
                        namespace=draw(st.sampled_from(NAMESPACES)),
                        gpus=gpus,
                        start=begin,
                        end=finish,
                        active=active,
                        unmeasured=unmeasured,
                    )
                )
    edges = sorted(draw(st.tuples(at, at)))
    gaps = ((edges[0], edges[1]),) if edges[0] < edges[1] and draw(st.booleans()) else ()
    return AFleet(pools=tuple(pools), holds=tuple(holds), unobserved=gaps)


def _amounts(high: int, *, whole: bool) -> st.SearchStrategy[Decimal]:
    if whole:
        return st.integers(0, 30_000).map(lambda nanos: Decimal("0.0036") * nanos)
    # What costs less than a nano uses no spend, which the walk does not know.
    return st.sampled_from([Decimal(3), Decimal(0)]) | st.decimals(1, high, places=12)


@st.composite
def _prices(draw: st.DrawFn, at: st.SearchStrategy[int], *, whole: bool) -> tuple[PriceRow, ...]:
    """Rows for all, an instance type, a cluster and a node; each changes, ends or has a hole."""
    rows = []
    for columns in ({}, {"instance_type": "p5"}, {"cluster": "us"}, {"node": "eu-0"}):
        if not draw(st.booleans()):
            continue
        unit = PriceUnit.GPU_HOUR if whole else draw(st.sampled_from(PriceUnit))
        currency = draw(st.sampled_from(["USD", "EUR"]))
        edges = [0, *sorted(draw(st.sets(at, max_size=2))), OPEN_MS]
        rows += [
            PriceRow(
                unit=unit,
                price=draw(_amounts(100, whole=whole)),
                currency=currency,
                valid_from_ms=first,
                valid_to_ms=last,
                **columns,
            )
            for first, last in pairwise(edges)
            if draw(st.integers(0, 3))
        ]
    return tuple(rows)


@st.composite
def _rates(draw: st.DrawFn, at: st.SearchStrategy[int], *, whole: bool) -> tuple[ExchangeRate, ...]:
    edges = sorted(draw(st.sets(at, max_size=2)))
    found = [
        ExchangeRate(
            currency="EUR",
            rate=draw(st.decimals(1, 3, places=0 if whole else 4)),
            valid_from_ms=first,
            valid_to_ms=last,
        )
        for first, last in pairwise([0, *edges, OPEN_MS])
        if draw(st.integers(0, 3))
    ]
    # There is always some rate: without any the book refuses the currency.
    never = ExchangeRate(
        currency="EUR", rate=Decimal(7), valid_from_ms=OPEN_MS - 2, valid_to_ms=OPEN_MS - 1
    )
    return tuple(found) or (never,)


@st.composite
def _terms(draw: st.DrawFn, at: st.SearchStrategy[int]) -> tuple[PriceTerm, ...]:
    return tuple(
        PriceTerm(
            kind=kind,
            percent=draw(st.just(Decimal(100)) | st.decimals(0, 90, places=2)),
            valid_from_ms=draw(st.just(0) | at),
            **columns,
        )
        for kind in TermKind
        for columns in ({}, {"instance_type": "p5"}, {"cluster": "us"})
        if draw(st.integers(0, 2)) == 0
    )


@st.composite
def _tariffs(
    draw: st.DrawFn, at: st.SearchStrategy[int], *, whole: bool
) -> tuple[EnergyTariff, ...]:
    """Two tariffs of p5 boards, one after the other, maybe with a hole between them."""
    if not draw(st.booleans()):
        return ()
    first, last = sorted(draw(st.tuples(at, at)))
    spans = [one for one in ((0, first), (last, OPEN_MS)) if one[0] < one[1]]
    return tuple(
        EnergyTariff(
            asset="dgx",
            price_per_kwh=draw(st.sampled_from([Decimal("3.6"), Decimal("7.2")]))
            if whole
            else draw(st.decimals(0, 1, places=4)),
            currency="USD",
            pue=Decimal(2 if whole else "1.5"),
            rated_board_kw=Decimal("0.7") if whole else draw(st.decimals(0, 1, places=4)),
            valid_from_ms=start,
            valid_to_ms=end,
            instance_type="p5",
        )
        for start, end in spans
    )


@st.composite
def _commitments(
    draw: st.DrawFn, at: st.SearchStrategy[int], step_ms: int
) -> tuple[Commitment, ...]:
    found = []
    for number in range(draw(st.integers(1, 3))):
        start = draw(at)
        unit = draw(st.sampled_from(CommitmentUnit))
        spend = unit is CommitmentUnit.SPEND_HOUR
        found.append(
            a_commitment(
                commitment=f"c-{number}",
                kind=draw(st.sampled_from(CommitmentKind)),
                unit=unit,
                quantity=Decimal(draw(st.integers(1, 12))),
                upfront=draw(st.decimals(0, 1000, places=2)),
                recurring_per_hour=draw(st.decimals(0, 100, places=9)),
                discount_ratio=draw(st.decimals(0, Decimal("0.9"), places=3))
                if spend
                else Decimal(0),
                term_start_ms=start - draw(st.sampled_from([0, HOUR_MS])),
                term_end_ms=max(start + step_ms, draw(at | st.just(ELEVEN + HOUR_MS))),
                clusters=draw(st.sampled_from([(), ("us",), ("us", "eu")])),
                gpu_model=draw(st.sampled_from(["", "H100"])),
                allotment=draw(st.sampled_from(AllotmentRule)),
                payer=draw(st.sampled_from(["", "lab"])),
            )
        )
    return tuple(found)
