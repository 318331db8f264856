"""What a team reads about its budget."""

from fractions import Fraction

from inline_snapshot import snapshot

from app.delivery.budget_messages import Announcement, budget_messages
from app.planning.budgets import BudgetBasis, Crossing

USD = 10**9
URL = "https://gpuledger.example"


def reached(
    threshold: Fraction, *, spent: int = 4_625, basis: BudgetBasis = BudgetBasis.SPENT
) -> Announcement:
    return Announcement(
        announcement_id=int(threshold * 10),
        period="2026-11",
        crossing=Crossing(
            team="search",
            basis=basis,
            threshold=threshold,
            nanos=spent * USD,
            budget_nanos=5_000 * USD,
        ),
    )


def test_of_thresholds_reached_together_the_highest_is_told_once() -> None:
    both = [reached(Fraction(1, 2)), reached(Fraction(9, 10))]

    (message,) = budget_messages(both, currency="USD", public_url=URL)

    assert message.text == snapshot(
        "search has spent 92% of its GPU budget of 2026-11: 4,625.00 USD of 5,000.00 USD."
    )
    assert message.announcement_ids == (5, 9)


def test_a_forecast_says_what_is_expected() -> None:
    ahead = reached(Fraction(1), spent=6_200, basis=BudgetBasis.FORECAST)

    (message,) = budget_messages([ahead], currency="USD", public_url=URL)

    assert message.text == snapshot(
        "search will spend more than its GPU budget of 2026-11: The forecast is 6,200.00 USD,"
        " 124% of 5,000.00 USD."
    )


def test_the_message_is_one_that_slack_takes() -> None:
    (message,) = budget_messages([reached(Fraction(1, 2))], currency="USD", public_url=URL)

    blocks = [block.to_dict() for block in message.blocks]
    assert [block["type"] for block in blocks] == ["header", "section", "context"]
    assert "What to do" in blocks[1]["text"]["text"]
