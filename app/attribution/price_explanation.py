"""At which price a charge stands, and how time or energy became its money, in words."""

from dataclasses import dataclass
from fractions import Fraction

from app.attribution.commitment_explanation import (
    CommittedPrice,
    commitment_step,
    covered_money_step,
)
from app.attribution.explanation import (
    ExplanationStep,
    Figures,
    exact_text,
    instant_text,
    money_text,
    rounding_text,
    seconds_text,
    span_figures,
)
from app.attribution.price_parts import price_parts, term_parts
from app.attribution.traced import SegmentPart, TracedLine
from app.pricing.book import PriceChoice, describe_key
from app.pricing.effective import EffectivePrice
from app.pricing.inputs import EnergyPriceAt
from app.pricing.owned import MJ_PER_KWH
from app.pricing.rows import PriceRow, plain_amount
from app.units.identity import id_text
from app.units.money import NANOS_PER_UNIT, from_nanos
from app.units.window import HOUR_MS

# How many segments of a line are shown; the others are summed up.
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BookPrice:
    """A row of the price book or of the rate card, and why it and no other counts.

    ``imported`` says since which version the row is there, and from which file; '' if unknown.
    """

    choice: PriceChoice
    is_card: bool = False
    imported: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostPrice:
    """A price that the version has, and which the pool as it is known would not choose."""

    price_id: int
    price: EffectivePrice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPrice:
    """A tariff of owned boards; ``counter_mj`` is what a counter told of the hold in the window.

    ``boards_mj`` is what counters told of the pool's boards, in ``boards_ms`` of their time.
    """

    price: EnergyPriceAt
    counter_mj: int | None
    boards_mj: int = 0
    boards_ms: int = 0


AppliedPrice = BookPrice | LostPrice | EnergyPrice | CommittedPrice | None


def price_step(price: AppliedPrice, currency: str) -> ExplanationStep:
    """Return what the time or energy of a charge costs, and since when and until when."""
    match price:
        case BookPrice():
            return _book_step(price, currency)
        case EnergyPrice():
            return _energy_step(price, currency)
        case CommittedPrice():
            return commitment_step(price, currency)
        case LostPrice():
            return _lost_step(price, currency)
        case None:
            text = "no row of the price book fits the pool; it is unpriced"
            return ExplanationStep("Price", text)


def money_step(
    price: AppliedPrice, gpu_ms: int, nanos: int | None, line: TracedLine | None, currency: str
) -> ExplanationStep:
    """Return how the price made the money; ``line`` is None where its segments are not known."""
    if nanos is None:
        return ExplanationStep("Money", "none, as there is no price")
    charged = ("charged", money_text(nanos, currency))
    match price:
        case BookPrice(choice=choice):
            exact = gpu_ms * choice.winner.nanos_per_ms
            return ExplanationStep(
                "Money",
                "time × price; each segment is rounded once to a nano and split among its lines, so"
                " that the lines sum to the segment",
                (
                    ("time × price", money_text(round(exact), currency)),
                    charged,
                    ("rounding", rounding_text(nanos, exact)),
                ),
            )
        case EnergyPrice(price=energy) if line is not None:
            exact = line.measure * energy.nanos_per_mj
            return ExplanationStep(
                "Money",
                "energy × price; each segment's energy is rounded once to a nano of money and split"
                " by the energy of its lines",
                (
                    ("energy × price", exact_text(exact, currency)),
                    charged,
                    ("rounding", rounding_text(nanos, exact)),
                ),
            )
        case CommittedPrice():
            return covered_money_step(price, gpu_ms, charged)
        case _:
            return ExplanationStep(
                "Money", "what the price gave when the hour was rated", (charged,)
            )


def split_step(line: TracedLine | None, nanos: int | None, currency: str) -> ExplanationStep:
    """Return the line's segments: what each cost, by what it was split, and the leftover nanos."""
    if line is None:
        return ExplanationStep(
            "Split",
            "the segments are not known: the facts, nodes or holds of the hour are others than when"
            " it was rated",
        )
    unit = "energy" if line.is_energy else "GPU-seconds"
    text = (
        f"{len(line.parts)} segment{'s' if len(line.parts) != 1 else ''}, spans in which devices,"
        f" holders, price and owner stay as they are; the cost of each is split by {unit}, and"
        " nanos that are left over go to the largest remainders"
    )
    if nanos is None:
        parts = tuple(_time_figure(part) for part in line.parts[:_SHOWN])
        return ExplanationStep("Split", text, parts)
    shown = sorted(line.parts, key=lambda one: (-abs(one.nanos), one.start_ms))[:_SHOWN]
    figures = [
        _part_figure(part, line, currency) for part in sorted(shown, key=lambda one: one.start_ms)
    ]
    rest = len(line.parts) - len(shown)
    if rest:
        others = line.nanos - sum(one.nanos for one in shown)
        figures.append((f"{rest} more segments", money_text(others, currency)))
    figures.append(("sum of the segments", money_text(line.nanos, currency)))
    return ExplanationStep("Split", text, tuple(figures))


def _part_figure(part: SegmentPart, line: TracedLine, currency: str) -> tuple[str, str]:
    own, whole = (
        kwh_text(measure) if line.is_energy else f"{seconds_text(measure)} GPU-seconds"
        for measure in (part.measure, part.segment_measure)
    )
    text = f"{own} of {whole}, which cost {money_text(part.segment_nanos, currency)}"
    if part.nanos == part.exact:
        text += f": {money_text(part.nanos, currency)}"
    else:
        left = "with a leftover nano" if part.nanos > part.exact else "rounded down"
        exact = exact_text(part.exact, currency)
        text += f": exactly {exact}, {left} {money_text(part.nanos, currency)}"
    return f"{instant_text(part.start_ms)} to {instant_text(part.end_ms)}", text


def _time_figure(part: SegmentPart) -> tuple[str, str]:
    return (
        f"{instant_text(part.start_ms)} to {instant_text(part.end_ms)}",
        f"{seconds_text(part.measure)} of {seconds_text(part.segment_measure)} GPU-seconds",
    )


def _book_step(price: BookPrice, currency: str) -> ExplanationStep:
    winner = price.choice.winner
    row = winner.row
    if row is None:
        return ExplanationStep("Price", f"{winner.unpriced_reason}; it is unpriced")
    losers = tuple(("not " + _words(loser.row), loser.reason) for loser in price.choice.losers)
    card = (
        "by the rate card, which teams pay in place of the actual cost: " if price.is_card else ""
    )
    return ExplanationStep(
        "Price",
        f"{card}{_words(row)}; {winner.division.value}",
        (
            ("price id", id_text(winner.price_id)),
            *span_figures(row.valid_from_ms, row.valid_to_ms),
            ("source", row.source or "not said"),
            *((("imported", price.imported),) if price.imported else ()),
            *(price_parts(winner.price, currency) if winner.price else ()),
            ("one GPU-hour", f"{_hourly(winner.nanos_per_ms)} {currency}"),
            *losers,
        ),
    )


def _lost_step(price: LostPrice, currency: str) -> ExplanationStep:
    identity = ("price id", id_text(price.price_id))
    found = price.price
    if found is None:
        return ExplanationStep(
            "Price", "a price that the versions of the price book do not name", (identity,)
        )
    return ExplanationStep(
        "Price",
        f"{_words(found.row)}; the node is known otherwise today and would have another price",
        (
            identity,
            *span_figures(found.row.valid_from_ms, found.row.valid_to_ms),
            ("source", found.row.source or "not said"),
            *price_parts(found, currency),
        ),
    )


def _energy_step(price: EnergyPrice, currency: str) -> ExplanationStep:
    tariff = price.price.tariff
    measured, told = _told_of_boards(price)
    kwh = Fraction(price.price.nanos_per_mj) * MJ_PER_KWH
    return ExplanationStep(
        "Price",
        f"energy of the boards of the owned hardware {tariff.asset}: energy × PUE × tariff;"
        f" {measured}",
        (
            ("price id", id_text(price.price.price_id)),
            *span_figures(tariff.valid_from_ms, tariff.valid_to_ms),
            ("tariff", f"{plain_amount(tariff.price_per_kwh)} {tariff.currency} a kWh"),
            ("PUE", plain_amount(tariff.pue)),
            *term_parts(tariff.rate, price.price.terms, currency),
            *told,
            ("one kWh at the board", exact_text(kwh, currency)),
        ),
    )


def _told_of_boards(price: EnergyPrice) -> tuple[str, Figures]:
    """Return in words where the energy comes from, and the figures."""
    rated = ("rated power", f"{plain_amount(price.price.tariff.rated_board_kw)} kW a GPU")
    if price.counter_mj is not None:
        counter = f"{kwh_text(price.counter_mj)} of the pod in the hour, at the boards"
        words = (
            "a counter told what the holder's share of the boards used, and it is spread over the"
            " time held"
        )
        return words, (("counter", counter),)
    if not price.boards_ms:
        words = (
            "no counter told what the boards used, so that each GPU counts as drawing its rated"
            " power"
        )
        return words, (rated,)
    boards = f"{kwh_text(price.boards_mj)} in {seconds_text(price.boards_ms)} GPU-seconds"
    words = (
        "what the pool's boards used beside that of holders whose energy is known is spread over"
        " the rest of the time that counters measured; in other time each GPU counts as drawing"
        " its rated power"
    )
    return words, (("counters of the pool in the hour", boards), rated)


def kwh_text(mj: int) -> str:
    """Return millijoules as kilowatt-hours, to a billionth."""
    nanos = round(Fraction(mj * NANOS_PER_UNIT, MJ_PER_KWH))
    return f"{plain_amount(from_nanos(nanos))} kWh"


def _words(row: PriceRow) -> str:
    return f"{row.price} {row.currency} per {row.unit.replace('_', '-')} for {describe_key(row)}"


def _hourly(nanos_per_ms: Fraction) -> str:
    return format(from_nanos(round(nanos_per_ms * HOUR_MS)), "f")
