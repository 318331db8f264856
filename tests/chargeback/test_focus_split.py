"""The split view: parts that sum to the provider's charge, whatever the figures are."""

import json
from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import SPECS, View, profile, with_own
from app.chargeback.focus_split import (
    METRICS,
    OriginCharge,
    OriginError,
    PodTime,
    split_columns,
)
from app.units.window import HOUR_MS
from tests.chargeback.focus_building import an_origin
from tests.chargeback.focus_rules import EXACT, allocated, faults, read


def pod(name: str, hours: int, **labels: str) -> PodTime:
    return PodTime(
        resource_id=f"k8s://prod-eu/namespace/search-prod/pod/{name}",
        name=name,
        labels=tuple(labels.items()),
        gpu_ms=hours * HOUR_MS,
    )


def rows_of(*origins: OriginCharge, spec: str = "1.3") -> list[dict[str, str]]:
    own = sorted({name for one in origins for name in one.cells if name.startswith("x_")})
    chosen = with_own(profile(spec, View.SPLIT), tuple(own))
    return read("".join(csv_blocks(chosen.names, split_columns(origins, chosen))))


def test_a_nodes_hour_of_8_is_4_to_one_pod_2_to_another_and_2_to_nobody() -> None:
    origin = an_origin("98.32", pods=(pod("a", 4), pod("b", 2)), free_ms=2 * HOUR_MS)

    rows = rows_of(origin)

    assert [(row["AllocatedResourceName"], row["BilledCost"]) for row in rows] == [
        ("a", "49.16"),
        ("b", "24.58"),
        ("", "24.58"),
    ]
    assert [row["AllocatedMethodId"] for row in rows] == ["k8s-gpu-allocated-hours-v1"] * 3
    assert json.loads(rows[0]["AllocatedMethodDetails"]) == {
        "Elements": [{"AllocatedRatio": 0.5, "UsageQuantity": 4.0, "UsageUnit": "GPU-Hours"}]
    }
    assert [row["ListUnitPrice"] for row in rows] == ["98.32"] * 3
    assert [row["PricingQuantity"] for row in rows] == ["0.5", "0.25", "0.25"]


def test_thirds_lose_nothing() -> None:
    rows = rows_of(an_origin("1.00", pods=(pod("a", 1), pod("b", 1), pod("c", 1))))

    assert [row["BilledCost"] for row in rows] == [
        "0.333333333333334",
        "0.333333333333333",
        "0.333333333333333",
    ]


def test_dimensions_and_own_columns_are_the_origins() -> None:
    origin = an_origin("98.32", pods=(pod("a", 4), pod("b", 4)), x_Discounts='{"edp":0.1}')

    first, second = rows_of(origin)

    same = {name for name in first if first[name] == second[name]}
    assert {"ResourceId", "Tags", "SkuId", "x_Discounts", "x_OriginKey", "RegionId"} <= same
    assert first["x_Discounts"] == '{"edp":0.1}'


def test_labels_that_the_tags_have_are_not_said_again() -> None:
    (row,) = rows_of(an_origin("1.0", pods=(pod("a", 1, platform="x", team="other"),)))

    assert json.loads(row["Tags"]) == {"team": "platform"}
    assert json.loads(row["AllocatedTags"]) == {"platform": "x"}


def test_a_row_of_no_gpu_node_passes_as_it_is() -> None:
    (row,) = rows_of(an_origin("3.21"))

    assert (row["BilledCost"], row["AllocatedMethodId"]) == ("3.21", "")
    assert row["AllocatedMethodDetails"] == ""


def test_in_1_2_the_columns_of_the_split_are_ours() -> None:
    (row,) = rows_of(an_origin("1.0", pods=(pod("a", 1),)), spec="1.2")

    assert "AllocatedMethodId" not in row
    assert row["x_AllocatedMethodId"] == "k8s-gpu-allocated-hours-v1"
    assert row["x_AllocatedResourceName"] == "a"


def test_what_an_older_file_lacks_stands_where_it_says_it() -> None:
    origin = an_origin("1.0", spec="1.0")

    (row,) = rows_of(origin)

    assert row["ServiceProviderName"] == row["HostProviderName"] == row["ProviderName"]
    assert row["ServiceSubcategory"] == "Other (Compute)"
    assert row["PricingCurrency"] == "USD"


def test_a_metric_that_is_no_number_is_one_clear_error() -> None:
    with pytest.raises(OriginError, match="BilledCost of a provider's row is 'twelve'"):
        rows_of(an_origin("twelve", pods=(pod("a", 1),)))


AMOUNTS = st.decimals(-(10**9), 10**9, places=12).map(lambda one: format(one, "f"))
HELD = st.lists(st.integers(1, 800 * HOUR_MS), max_size=8)


@pytest.mark.parametrize("spec", SPECS)
@given(
    origins=st.lists(
        st.tuples(st.lists(AMOUNTS, min_size=3, max_size=3), HELD, st.integers(0, 50 * HOUR_MS)),
        min_size=1,
        max_size=4,
    )
)
def test_the_parts_of_any_charge_sum_to_it(
    origins: list[tuple[list[str], list[int], int]], spec: str
) -> None:
    charges = [
        an_origin(
            amounts[0],
            key=f"bill/{number}",
            pods=tuple(
                PodTime(resource_id=f"k8s://{place}", name=f"p{place}", labels=(), gpu_ms=held)
                for place, held in enumerate(pods)
            ),
            free_ms=free,
            EffectiveCost=amounts[1],
            ConsumedQuantity=amounts[2],
        )
        for number, (amounts, pods, free) in enumerate(origins)
    ]

    rows = rows_of(*charges, spec=spec)

    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        for name in METRICS:
            if row[name]:
                key = (row["x_OriginKey"], name)
                sums[key] = EXACT.add(sums[key], Decimal(row[name]))
    for charge in charges:
        for name in METRICS:
            if name in charge.cells:
                assert sums[charge.key, name] == Decimal(charge.cells[name])
    known = [column.name for column in profile(spec, View.SPLIT).columns]
    other = {"EffectiveCost is not BilledCost", "a row stands twice"}
    assert [one for one in faults(rows, known=known) if not any(o in one for o in other)] == []
    unheld = [row for row in rows if allocated(row, "AllocatedMethodId")]
    assert all(allocated(row, "AllocatedMethodDetails") for row in unheld)
