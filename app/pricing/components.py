"""What an hour of an owned node costs without its boards' energy, component by component."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedPrice:
    """The fixed cost of one owned node for an hour, in the asset's currency, exact.

    ``asset`` is the register's name of it. ``depreciation`` is 0 once the life has ended;
    ``power`` is what the node draws beside its boards, with PUE, at the tariff of the time.
    """

    asset: str
    depreciation: Fraction
    space: Fraction
    support: Fraction
    power: Fraction

    @property
    def total(self) -> Fraction:
        """The sum of all components."""
        return self.depreciation + self.space + self.support + self.power

    @property
    def parts(self) -> tuple[tuple[str, Fraction], ...]:
        """The components by name, in the order in which they are shown."""
        return (
            ("depreciation", self.depreciation),
            ("space", self.space),
            ("support", self.support),
            ("power", self.power),
        )
