"""Faults in what is committed, metered and carded, planted on purpose, are found by the walk."""

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from app.attribution.charges import LineStep
from app.attribution.contract import Policies, RatingPolicy
from tests.attribution.finance_company import Company, Ledger, ledger_of
from tests.attribution.finance_walk import walk
from tests.attribution.fleets import TEN, AFleet, AHold, APool
from tests.attribution.test_finance_invariants import lines_of
from tests.attribution.test_own_energy import a_tariff
from tests.pricing.builders import a_price
from tests.pricing.test_commitments import a_commitment

END = TEN + 600_000
COMPANY = Company(
    step_ms=10_000,
    midnight_ms=TEN + 300_000,
    fleets={
        "eu": AFleet(
            pools=(APool(node="eu-0", gpu_model="H100", devices=2, start=TEN, end=END),),
            holds=(
                AHold(pod="a", node="eu-0", gpu_model="H100", namespace="search-prod", end=END),
                AHold(pod="b", node="eu-0", gpu_model="H100", namespace="ml", end=END),
            ),
        ),
        "us": AFleet(pools=(APool(node="us-0", gpu_model="H100", start=TEN, end=END),)),
    },
    prices=(a_price("3"),),
    card=(a_price("4"),),
    tariffs=(a_tariff(),),
    energy_mj={"a": 600_000_000},
    commitments=(a_commitment(quantity=Decimal(1)),),
    policies=(
        Policies(rating=RatingPolicy.ACTUAL),
        Policies(rating=RatingPolicy.RATE_CARD, clusters=("us",)),
    ),
)
COMMITTED = COMPANY.commitments[0].price_id


def agrees(ledger: Ledger) -> bool:
    """Say whether all lines are the walk's, to what a millisecond of them costs."""
    found, account = lines_of(COMPANY, ledger), walk(COMPANY).lines
    return all(abs(found[line].cost - account[line].cost) <= 10_000 for line in {*found, *account})


def test_without_a_fault_the_ledger_agrees_with_the_walk() -> None:
    assert agrees(ledger_of(COMPANY))


@pytest.mark.parametrize("fault", ["covered twice", "energy for each sharer", "wrong sign"])
def test_a_planted_fault_is_found(fault: str) -> None:
    ledger = ledger_of(COMPANY)
    eu, us = ledger.charges["eu"].copy(), ledger.charges["us"].copy()
    energy = (eu["gpu_ms"] == 0) & (eu["step"] == LineStep.FIRST_HAND)
    variance = us["step"] == LineStep.CARD_VARIANCE
    assert energy.any()
    assert variance.any()

    match fault:
        case "covered twice":
            eu = pd.concat([eu, eu[eu["price_id"] == COMMITTED]], ignore_index=True)
        case "energy for each sharer":
            eu.loc[energy, "cost_nanos"] *= 2
        case _:
            us.loc[variance, "cost_nanos"] *= -1

    assert not agrees(replace(ledger, charges={"eu": eu, "us": us}))


def test_what_is_unused_is_the_rest_of_the_hour() -> None:
    """4 GPUs run for a sixth of an hour: of 1 GPU-hour at 8.00 two thirds are used."""
    ledger, account = ledger_of(COMPANY), walk(COMPANY)

    assert account.costs["ri-1"] - account.used["ri-1"] == int(ledger.unused["cost_nanos"].sum())
    assert 3 * int(ledger.unused["cost_nanos"].sum()) == pytest.approx(8 * 10**9, abs=3)
