"""Runs every scenario of the folder ``finance``: what is given, done step by step, and expected.

Anyone in finance can add one; nothing here needs a change. A file has

* ``title`` and ``story`` in plain words, ``hours`` (the UTC hours that there are), ``today``, and
  if they are not UTC and USD, ``billing_zone`` and ``currency``;
* ``[[nodes]]`` (name, gpus, and what prices are matched with) and ``[[pods]]`` (name, namespace,
  node, gpus, and if it is not all of the time, ``from`` and ``until``; ``active_percent`` is 100);
* ``[[steps]]`` in their order. ``do`` is what is done: import prices, import rate card, import
  exchange rates, import terms, import credits, import owned hardware, import commitments, import
  periods, apply contract (each with the ``file`` as it is written in the manual), collect, rate,
  import bill, close, deliver late (nodes and pods as they are known then, for some hours), adjust,
  correct, reopen; or expect ledger, costs, statements, adjustments, reconciliation, commitments,
  with a ``table``. With ``refused`` a step has to fail with these words;
* ``[total]``: what everything comes to, as arithmetic: pool, commitments, credits, true_up,
  adjustments. Their sum is all money of the ledger.

A column ``because`` holds the arithmetic of a row, such as ``2 GPUs × 1/2 hour × 3.00``: it is
worked out and has to come to the amount beside it, and the ledger to both, to the nano.
"""

import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from tests.scenarios.finance_amounts import amount_of, checked
from tests.scenarios.finance_facts import fleet_of, ms
from tests.scenarios.finance_figures import expect
from tests.scenarios.finance_steps import World
from tests.scenarios.finance_sums import assert_it_all_adds_up

FILES = sorted((Path(__file__).parent / "finance").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path, database: Engine, tmp_path: Path) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    world = World(
        engine=database,
        folder=tmp_path,
        fleet=fleet_of(document),
        zone=ZoneInfo(document.get("billing_zone", "UTC")),
        currency=document.get("currency", "USD"),
        today_ms=ms(document["today"]),
    )

    for step in document["steps"]:
        if step["do"].startswith("expect "):
            expect(world, step)
        else:
            world.do(step)

    assert_it_all_adds_up(world, document["total"])


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 30
    for path in FILES:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        assert document["title"]
        assert document["story"]
        assert any(step["do"].startswith("expect ") for step in document["steps"]), path.name


def test_arithmetic_that_does_not_come_to_its_amount_is_refused() -> None:
    assert amount_of("2 GPUs × 1/2 hour × 3.00 − 10 % × 0.1") == amount_of("2.99")
    with pytest.raises(AssertionError, match=r"is not 3\.01"):
        checked("team | cost | because\nsearch | 3.01 | 1 GPU × 3.00")
