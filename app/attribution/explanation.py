"""An explanation: the steps from a line of the ledger down to what it rests on, and their words."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from app.units.identity import id_text
from app.units.money import from_nanos
from app.units.window import OPEN_MS, from_ms

_SHOWN_DECIMALS = 12

Figures = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One step down: a title, a sentence, and figures by name."""

    title: str
    text: str
    figures: Figures = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps from a charge to what it rests on, in order."""

    charge_id: int
    steps: tuple[ExplanationStep, ...]

    def text(self) -> str:
        """Return the steps as lines for people."""
        lines: list[str] = []
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}. {step.title}: {step.text}")
            lines += [f"     {name}: {figure}" for name, figure in step.figures]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What the window's charges were made from; ``period`` is the closed one that pinned it.

    ``revision`` is 0 where a line rests on more than one hour.
    """

    revision: int
    rating_version: int
    price_version: int
    contract_version: int
    period: str = ""


def versions_step(versions: Versions) -> ExplanationStep:
    """Return from which versions a line was made."""
    text = "what the window was rated from"
    if versions.period:
        text += f", as the closing of {versions.period} pinned it"
    return ExplanationStep(
        "Versions",
        text,
        (
            *((("facts revision", str(versions.revision)),) if versions.revision else ()),
            ("price book", str(versions.price_version)),
            ("contract", str(versions.contract_version)),
            ("rating", str(versions.rating_version)),
        ),
    )


def money_text(nanos: int, currency: str) -> str:
    """Return an amount to the nano, with its currency."""
    return f"{from_nanos(nanos):f} {currency}"


def exact_text(nanos: Fraction, currency: str) -> str:
    """Return an amount that need not be whole nanos, to a thousandth of one."""
    thousandths = Decimal(round(nanos * 1000))
    return f"{thousandths.scaleb(-_SHOWN_DECIMALS):f} {currency}"


def seconds_text(ms: int) -> str:
    """Return milliseconds as seconds."""
    return f"{ms // 1000}.{ms % 1000:03d}"


def instant_text(ms: int) -> str:
    """Return an instant in UTC, its milliseconds only where it has some."""
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000", "")


def span_figures(from_ms_: int, to_ms: int) -> Figures:
    """Return a validity as figures."""
    return (
        ("valid from", instant_text(from_ms_) if from_ms_ else "since ever"),
        ("valid to", "open" if to_ms == OPEN_MS else instant_text(to_ms)),
    )


def largest_figures(largest: Sequence[tuple[int, int]], currency: str) -> Figures:
    """Return charges by identity with their money."""
    return tuple((id_text(one), money_text(nanos, currency)) for one, nanos in largest)


def rounding_text(nanos: int, exact: Fraction) -> str:
    """Return by how much nanos are more than the exact amount."""
    return f"{float(nanos - exact):+.3f} nanos"


def charges_text(count: int) -> str:
    """Return how many charges there are."""
    return "1 charge" if count == 1 else f"{count:,} charges"
