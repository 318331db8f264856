"""The starter book that is shipped: public list prices of usual GPU instances, dated.

It is written out as an importable price book and never imported by itself; a model that is not in
it stays unpriced.
"""

from importlib.resources import files


def starter_book() -> str:
    """Return the starter book as CSV: an hour of a node, on demand, in USD, each with its source.

    Every line's source begins with "list price" and the day of the figure.
    """
    return files("app.sources").joinpath("data", "list_prices.csv").read_text(encoding="utf-8")
