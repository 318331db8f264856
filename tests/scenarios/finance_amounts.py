"""Amounts of finance scenarios: arithmetic that people write, worked out exactly, and tables."""

import ast
import re
from decimal import Decimal
from fractions import Fraction

from app.pricing.rows import plain_amount

NANOS = 10**9


def amount_of(arithmetic: str) -> Fraction:
    """Return what a sum comes to: decimals, + - × / ( ) %, with words between them for people."""
    plain = re.sub(r"[A-Za-z][A-Za-z'_-]*", "", arithmetic)
    plain = plain.replace("×", "*").replace("−", "-").replace("%", "/100")
    tree = ast.parse(" ".join(plain.split()), mode="eval")
    return _value(tree.body, " ".join(plain.split()))


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant():
            return Fraction(ast.get_source_segment(source, node) or "")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            one, other = _value(left, source), _value(right, source)
            match op:
                case ast.Add():
                    return one + other
                case ast.Sub():
                    return one - other
                case ast.Mult():
                    return one * other
                case ast.Div():
                    return one / other
    message = f"no arithmetic: {source}"
    raise AssertionError(message)


def nanos_of(arithmetic: str) -> int:
    """Return a sum in nanos, rounded half-even where it is not whole."""
    return round(amount_of(arithmetic) * NANOS)


def table_of(told: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a table with cells between bars."""
    rows = [[cell.strip() for cell in line.split("|")] for line in told.strip().splitlines()]
    columns, *rows = rows
    assert all(len(row) == len(columns) for row in rows), f"cells are missing: {rows}"
    return columns, [dict(zip(columns, row, strict=True)) for row in rows]


def checked(told: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the expected rows, once the arithmetic of ``because`` comes to their cost."""
    columns, rows = table_of(told)
    for row in rows:
        because = row.pop("because", "")
        if because:
            assert nanos_of(because) == nanos_of(row["cost"]), f"{because} is not {row['cost']}"
        for figure in ("cost", "rounded", "GPU-hours"):
            if row.get(figure):
                row[figure] = shown(nanos_of(row[figure]))
    columns = [one for one in columns if one != "because"]
    return columns, sorted(tuple(row[name] for name in columns) for row in rows)


def shown(nanos: int) -> str:
    """Return nanos as a plain amount without trailing zeros."""
    return plain_amount(Decimal(nanos).scaleb(-9))
