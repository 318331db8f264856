"""What was priced: SKUs, their prices and categories, as columns of the statement view."""

from dataclasses import dataclass

import numpy as np

from app.chargeback.focus_cells import Columns, Int64s, decimal_text, json_text
from app.chargeback.focus_grouping import GroupedLines
from app.chargeback.focus_lines import FocusLabels, PricedUnit
from app.chargeback.focus_pricing import PricedLines
from app.units.identity import id_text


def slug(text: str) -> str:
    """Return a name as lower-case words with hyphens; ``gpu`` where nothing is left."""
    words = "".join(sign if sign.isalnum() else " " for sign in text.casefold()).split()
    return "-".join(words) or "gpu"


def derived_prices(priced: PricedLines) -> tuple[Int64s, tuple[str, ...]]:
    """Return by row the place of its derived unit price among the texts; '' is none."""
    shown = [
        decimal_text(one.unit_price) if one is not None and one.derived else ""
        for one in priced.priced
    ]
    places = {text: place for place, text in enumerate(dict.fromkeys(shown))}
    return np.array([places[text] for text in shown], dtype=np.int64)[priced.codes], tuple(places)


@dataclass(frozen=True, slots=True)
class Skus:
    """Makes the columns; rows without quantities (``usage`` 0) have none of them.

    The lines have a column ``derived``: the place of a row's unit price in the texts.
    """

    rows: GroupedLines
    labels: FocusLabels
    derived: tuple[str, ...]

    def columns(self) -> Columns:
        """Return them by name."""
        by = self.rows.by
        return {
            "SkuId": by("usage", "gpu_model_id", "price_id", make=self._sku),
            "SkuMeter": by("usage", "price_id", make=self._meter),
            "SkuPriceId": by("usage", "gpu_model_id", "price_id", "derived", make=self._sku_price),
            "SkuPriceDetails": by(
                "usage", "gpu_model_id", "price_id", "node_id", make=self._details
            ),
            "PricingCategory": by("usage", "price_id", "node_id", make=self._category),
            "x_Commitment": by("usage", "price_id", make=self._commitment),
        }

    def _sku(self, usage: int, model: int, price: int) -> str | None:
        if not usage:
            return None
        kind = "energy" if self._is_of(price, PricedUnit.KILOWATT_HOUR) else "gpu"
        return f"{kind}-{slug(self.labels.gpu_models.get(model, ''))}"

    def _meter(self, usage: int, price: int) -> str | None:
        if not usage:
            return None
        energy = self._is_of(price, PricedUnit.KILOWATT_HOUR)
        return "Energy of GPUs" if energy else "GPU Hours"

    def _sku_price(self, usage: int, model: int, price: int, derived: int) -> str | None:
        sku = self._sku(usage, model, price)
        if sku is None:
            return None
        # Rows of one price and one derived unit price are of one SKU price.
        unit = self.derived[derived]
        return f"{sku}/{id_text(price)}/{unit}" if unit else f"{sku}/{id_text(price)}"

    def _details(self, usage: int, model: int, price: int, node: int) -> str | None:
        if not usage:
            return None
        said: dict[str, object] = {"x_GpuModel": self.labels.gpu_models.get(model, "")}
        at = self.labels.nodes.get(node)
        if at is not None and at.instance_type:
            said["InstanceType"] = at.instance_type
        if not self._is_of(price, PricedUnit.NODE_HOUR, PricedUnit.KILOWATT_HOUR):
            said["GpuCount"] = 1
        return json_text(said)

    def _category(self, usage: int, price: int, node: int) -> str | None:
        if not usage:
            return None
        if self._commitment(usage, price):
            return "Committed"
        at = self.labels.nodes.get(node)
        return "Dynamic" if at is not None and at.capacity_type == "spot" else "Standard"

    def _commitment(self, usage: int, price: int) -> str | None:
        found = self.labels.prices.get(price)
        return found.commitment or None if usage and found is not None else None

    def _is_of(self, price: int, *units: PricedUnit) -> bool:
        found = self.labels.prices.get(price)
        return found is not None and found.unit in units
