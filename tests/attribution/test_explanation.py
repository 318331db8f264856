from dataclasses import replace
from typing import Any

import pytest

from app.attribution.charge_explanation import ChargeFacts, Coverage, ExplainedSpan, explain
from app.attribution.charges import ChargeKind
from app.attribution.explanation import Versions
from app.attribution.hold_explanation import ExplainedHold, ExplainedUsage
from app.attribution.owners import OwnerSpan
from app.attribution.price_explanation import BookPrice
from app.pricing.book import PriceBook
from app.pricing.rows import PriceUnit
from app.units.window import HOUR_MS, OPEN_MS
from app.usage.kinds import ActivityBasis, ActivityScope, HoldSource, Sharing, UsageFlag
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy
from tests.attribution.fleets import ELEVEN, H100, TEN
from tests.pricing.builders import a_pool, a_price

BOOK = PriceBook(
    [a_price("80", PriceUnit.NODE_HOUR, provider="aws", source="contract 7"), a_price("3")]
)

FACTS = ChargeFacts(
    charge_id=42,
    kind=ChargeKind.USED,
    window_start_ms=TEN,
    start_ms=TEN,
    end_ms=ELEVEN,
    cluster="prod-eu",
    node="node-1",
    gpu_model=H100,
    team="search",
    gpu_ms=HOUR_MS,
    cost_nanos=10 * 10**9 + 1,
    currency="USD",
    owner=OwnerSpan(from_ms=TEN, to_ms=ELEVEN, team="search", because="search by namespace s-*"),
    hold=ExplainedHold(
        namespace="search-a",
        pod="api-1",
        workload="Deployment api",
        resource="nvidia.com/gpu",
        units=2,
        share_num=2,
        share_den=1,
        compute_num=2,
        compute_den=1,
        sharing=Sharing.EXCLUSIVE,
        start_ms=TEN - HOUR_MS,
        end_ms=OPEN_MS,
        start_unsure_ms=500,
        end_unsure_ms=0,
        source=HoldSource.WATCH,
    ),
    policies=(SharePolicy(),),
    usage=ExplainedUsage(
        held_ms=2 * HOUR_MS,
        active_ms=HOUR_MS,
        idle_ms=HOUR_MS,
        unmeasured_ms=0,
        basis=ActivityBasis.GR_ENGINE_ACTIVE,
        scope=ActivityScope.DEVICE,
        flags=UsageFlag.UNHEALTHY_HELD,
    ),
    spans=(
        ExplainedSpan(
            start_ms=TEN,
            end_ms=ELEVEN,
            devices=8,
            held_ms=2 * HOUR_MS,
            unallocated_ms=6 * HOUR_MS,
            stranded_ms=0,
            unobserved_ms=0,
            claimed_ms=2 * HOUR_MS,
        ),
    ),
    price=BookPrice(choice=BOOK.choice(a_pool(devices=8), TEN)),
    line=None,
    coverage=(Coverage(source="prometheus", family="activity", expected=120, seen=118),),
    notes=("scrapes came twice",),
    versions=Versions(revision=2, rating_version=1, price_version=3, contract_version=4),
)


def figures(facts: ChargeFacts, title: str) -> dict[str, str]:
    (step,) = [step for step in explain(facts).steps if step.title == title]
    return {"": step.text, **dict(step.figures)}


def test_an_explanation_goes_from_the_charge_to_what_it_rests_on() -> None:
    titles = [step.title for step in explain(FACTS).steps]

    assert titles == [
        "Charge",
        "Team",
        "Hold",
        "Activity",
        "Pool",
        "Price",
        "Money",
        "Split",
        "Coverage",
        "Versions",
    ]


def test_the_charge_says_how_much_of_what_when_and_for_how_much() -> None:
    assert figures(FACTS, "Charge")[""] == (
        f"3600.000 GPU-seconds of {H100} on node-1 in prod-eu were held and active"
        " between 2026-11-23T10:00:00Z and 2026-11-23T11:00:00Z: 10.000000001 USD"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ChargeKind.IDLE, "were held and not active between"),
        (ChargeKind.UNMEASURED, "were held, and no sample says what they did, between"),
        (ChargeKind.UNALLOCATED, "could be held and were held by nobody between"),
        (
            ChargeKind.STRANDED,
            "could not be held, as unhealthy, not advertised or left over, between",
        ),
        (ChargeKind.UNOBSERVED, "have no known holder, as no source says who held it, between"),
    ],
)
def test_the_charge_is_a_sentence_whatever_its_kind(kind: ChargeKind, words: str) -> None:
    text = figures(replace(FACTS, kind=kind), "Charge")[""]

    assert f"on node-1 in prod-eu {words} 2026" in text


def test_the_price_names_its_row_and_the_rows_that_lost() -> None:
    price = figures(FACTS, "Price")

    assert price[""] == (
        "80 USD per node-hour for provider aws; the node's price divided by its devices"
    )
    assert price["one GPU-hour"] == "10.000000000 USD"
    assert price["source"] == "contract 7"
    assert price["not 3 USD per gpu-hour for every pool"] == "the winner names the provider"


def test_the_money_is_computed_again_and_the_rounding_shown() -> None:
    money = figures(FACTS, "Money")

    assert money["time × price"] == "10.000000000 USD"
    assert money["charged"] == "10.000000001 USD"
    assert money["rounding"] == "+1.000 nanos"


def test_hold_activity_pool_and_coverage_are_said_in_figures() -> None:
    hold = figures(FACTS, "Hold")
    assert (
        "pod search-a/api-1 of Deployment api held from 2026-11-23T09:00:00Z and lasts" in hold[""]
    )
    assert (hold["requested"], hold["share"]) == ("2 nvidia.com/gpu", "2 devices")
    assert hold["start unsure by"] == "0.500 s"
    activity = figures(FACTS, "Activity")
    assert activity[""].startswith("DCGM_FI_PROF_GR_ENGINE_ACTIVE: measured on the devices")
    assert activity[""].endswith("a held device was not allocatable")
    assert activity["active"] == "3600.000 GPU-seconds"
    assert "8 devices, held 7200.000, unallocated 21600.000" in figures(FACTS, "Pool").values()
    coverage = figures(FACTS, "Coverage")
    assert coverage["prometheus activity"] == "118 of 120 samples."
    assert coverage["note"] == "scrapes came twice"
    assert figures(FACTS, "Versions")["facts revision"] == "2"


A_3G: dict[str, Any] = {"share_num": 1, "share_den": 2, "compute_num": 3, "compute_den": 7}


@pytest.mark.parametrize(
    ("hold", "policy", "words"),
    [
        (
            {"sharing": Sharing.MIG, **A_3G},
            SharePolicy(),
            "1/2 devices, by mig_share: max",
        ),
        (
            {"sharing": Sharing.MIG, **A_3G},
            SharePolicy(mig_share=MigSharePolicy.COMPUTE),
            "3/7 devices, by mig_share: compute",
        ),
        (
            {"sharing": Sharing.TIME_SLICING, "share_den": 4, "compute_den": 4},
            SharePolicy(mig_share=MigSharePolicy.COMPUTE),
            "1/2 devices, by time_slicing: slots",
        ),
        (
            {"sharing": Sharing.TIME_SLICING, "share_den": 4, "compute_den": 4},
            SharePolicy(time_slicing=TimeSlicingPolicy.PRESENT),
            "2 of all slots held, which share the devices in use, by time_slicing: present",
        ),
        (
            {"sharing": Sharing.MPS, "share_den": 4, "compute_den": 4},
            SharePolicy(time_slicing=TimeSlicingPolicy.PRESENT),
            "1/2 devices",
        ),
    ],
)
def test_the_share_names_the_policy_that_gave_it(
    hold: dict[str, Any], policy: SharePolicy, words: str
) -> None:
    assert FACTS.hold is not None
    facts = replace(FACTS, hold=replace(FACTS.hold, **hold), policies=(policy,))

    assert figures(facts, "Hold")["share"] == words


def test_a_share_that_changes_with_the_policy_says_from_when() -> None:
    assert FACTS.hold is not None
    hold = replace(FACTS.hold, sharing=Sharing.MIG, **A_3G)
    half_past = TEN + HOUR_MS // 2
    compute = SharePolicy(from_ms=half_past, mig_share=MigSharePolicy.COMPUTE)
    presence = SharePolicy(from_ms=half_past + 1, time_slicing=TimeSlicingPolicy.PRESENT)

    shares = figures(replace(FACTS, hold=hold, policies=(SharePolicy(), compute, presence)), "Hold")

    assert {name: text for name, text in shares.items() if name.startswith("share")} == {
        "share": "1/2 devices, by mig_share: max",
        "share from 2026-11-23T10:30:00Z": "3/7 devices, by mig_share: compute",
        "share from 2026-11-23T10:30:00.001Z": "1/2 devices, by mig_share: max",
    }


def test_a_pools_time_without_price_and_contract_is_explained_too() -> None:
    facts = replace(
        FACTS,
        kind=ChargeKind.UNOBSERVED,
        team="",
        owner=None,
        hold=None,
        usage=None,
        price=None,
        cost_nanos=None,
    )

    assert "no source says who held it" in figures(facts, "Charge")[""]
    assert figures(facts, "Charge")[""].endswith("no price")
    assert figures(facts, "Team")[""] == "nobody, since no contract says who owns it"
    assert "unpriced" in figures(facts, "Price")[""]
    assert figures(facts, "Money")[""] == "none, as there is no price"


def test_a_contested_owner_names_the_teams() -> None:
    owner = OwnerSpan(
        from_ms=TEN, to_ms=ELEVEN, team="unowned", because="two rules", contested=("a", "b")
    )

    text = figures(replace(FACTS, team="unowned", owner=owner), "Team")[""]

    assert text == "unowned, since a and b claim it equally: two rules"


@pytest.mark.parametrize("line", ["1. Charge: ", "     charge: 000000000000002a", "10. Versions: "])
def test_the_text_numbers_the_steps_and_indents_the_figures(line: str) -> None:
    assert any(text.startswith(line) for text in explain(FACTS).text().splitlines())


def test_every_metric_and_every_way_of_measuring_has_words_of_its_own() -> None:
    assert FACTS.usage is not None
    texts = [
        explain(replace(FACTS, usage=replace(FACTS.usage, basis=basis, scope=scope))).text()
        for basis in ActivityBasis
        for scope in ActivityScope
    ]

    assert len(set(texts)) == len(ActivityBasis) * len(ActivityScope)
