"""The team contract as values: who owns what, who pays for the rest, and by which policies.

Every block counts from ``valid_from_ms`` until before ``valid_to_ms``; 0 is "since ever".
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase

from app.units.window import OPEN_MS
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy

# What is charged to nobody's team; no team may be called so.
UNOWNED = "unowned"
# Token weights have at most 6 decimals, so that millionths are whole.
WEIGHT_SCALE = 10**6


class RatingPolicy(StrEnum):
    """What teams pay for a GPU's time: what it cost, or the price on the rate card."""

    ACTUAL = "actual"
    RATE_CARD = "rate_card"


class UnallocatedPolicy(StrEnum):
    """Who pays for what nobody held, and for commitments that nobody used."""

    PLATFORM = "platform"
    PROPORTIONAL = "proportional"


class SharedPolicy(StrEnum):
    """Who pays for the platform's own namespaces, and by which weights."""

    PLATFORM = "platform"
    EVEN = "even"
    PROPORTIONAL = "proportional"
    FIXED = "fixed"
    METRIC = "metric"


class SharedMetric(StrEnum):
    """What is measured of each team and day, as a weight of the platform's own namespaces."""

    GPU_SECONDS_HELD = "gpu_seconds_held"
    GPU_SECONDS_ACTIVE = "gpu_seconds_active"
    PODS = "pods"
    REQUESTS = "requests"
    PROMPT_TOKENS = "prompt_tokens"
    GENERATION_TOKENS = "generation_tokens"


class IdlePolicy(StrEnum):
    """Who pays for what was held and did nothing."""

    HOLDER = "holder"


class TrueUpPolicy(StrEnum):
    """Who pays for the difference between a provider's bill and a node's pool cost."""

    PLATFORM = "platform"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """One block of a team: what it claims during a time.

    Namespaces are names or globs. A pod with all of ``labels`` is claimed as well, before any
    namespace if ``labels_override``. Without ``clusters`` the block counts in every cluster.
    """

    name: str
    cost_center: str = ""
    department: str = ""
    namespaces: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    labels_override: bool = False
    monthly_budget: Decimal | None = None
    slack: str = ""
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Department:
    """A part of the company: teams and departments belong to it.

    A team without a cost center of its own has that of the nearest department that has one.
    """

    name: str
    parent: str = ""
    cost_center: str = ""
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Affiliation:
    """Where a team stands in the company at an instant; '' is nowhere."""

    department: str
    cost_center: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The team that runs the clusters: it pays for what nobody held."""

    team: str
    namespaces: tuple[str, ...] = ()
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How cost is divided; each field lists what this version can do.

    A block with ``clusters`` counts in those, before one without. ``shared_percent`` are teams and
    percents that sum to 100, for `SharedPolicy.FIXED` alone. ``teams`` are those who take part in
    what is redistributed, all if it is empty.
    """

    rating: RatingPolicy = RatingPolicy.ACTUAL
    unallocated: UnallocatedPolicy = UnallocatedPolicy.PLATFORM
    shared: SharedPolicy = SharedPolicy.PLATFORM
    shared_percent: tuple[tuple[str, Decimal], ...] = ()
    shared_metric: SharedMetric | None = None
    true_up: TrueUpPolicy = TrueUpPolicy.PLATFORM
    idle: IdlePolicy = IdlePolicy.HOLDER
    time_slicing: TimeSlicingPolicy = TimeSlicingPolicy.SLOTS
    mig_share: MigSharePolicy = MigSharePolicy.MAX
    clusters: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWeights:
    """What a token of each kind counts in the division of a service's cost.

    ``model`` is a name or a glob of served model names. Cached prompt tokens are part of the
    prompt tokens: they count ``cached`` and not ``prompt``.
    """

    model: str = "*"
    prompt: Decimal = Decimal(1)
    cached: Decimal = Decimal("0.1")
    generation: Decimal = Decimal(4)
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A key or team alias of a gateway, and the team that pays for the tokens sent with it."""

    source: str
    alias: str
    team: str
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSource:
    """A gateway whose tokens say who used the services behind it; it names a catalogue entry."""

    source: str
    valid_from_ms: int = 0
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All blocks, in the order of the file."""

    teams: tuple[Team, ...] = ()
    platform: tuple[Platform, ...] = ()
    policies: tuple[Policies, ...] = ()
    token_weights: tuple[TokenWeights, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    consumer_sources: tuple[ConsumerSource, ...] = ()
    departments: tuple[Department, ...] = ()

    def team_at(self, name: str, at_ms: int) -> Team | None:
        """Return the team's block that counts at the instant."""
        valid = [
            team
            for team in self.teams
            if team.name == name and team.valid_from_ms <= at_ms < team.valid_to_ms
        ]
        return max(valid, key=lambda team: team.valid_from_ms, default=None)

    def platform_at(self, at_ms: int) -> Platform | None:
        """Return the platform block that counts at the instant."""
        valid = [one for one in self.platform if one.valid_from_ms <= at_ms < one.valid_to_ms]
        return max(valid, key=lambda one: one.valid_from_ms, default=None)

    def policies_at(self, at_ms: int, cluster: str = "") -> Policies:
        """Return the policies that count at the instant in a cluster; '' is no single cluster.

        A block that names the cluster wins over one for all; the defaults count where there is
        neither.
        """
        valid = [
            one
            for one in self.policies
            if one.valid_from_ms <= at_ms < one.valid_to_ms
            and (not one.clusters or cluster in one.clusters)
        ]
        return max(
            valid, key=lambda one: (bool(one.clusters), one.valid_from_ms), default=Policies()
        )

    def department_at(self, name: str, at_ms: int) -> Department | None:
        """Return the department's block that counts at the instant."""
        valid = [
            one
            for one in self.departments
            if one.name == name and one.valid_from_ms <= at_ms < one.valid_to_ms
        ]
        return max(valid, key=lambda one: one.valid_from_ms, default=None)

    def affiliation_at(self, team: str, at_ms: int) -> Affiliation:
        """Return a team's department and cost center at the instant.

        Of several blocks of the team that count (in different clusters) the latest that says it
        counts. Whoever has no cost center has that of the nearest department above that has one.
        """
        blocks = sorted(
            (
                one
                for one in self.teams
                if one.name == team and one.valid_from_ms <= at_ms < one.valid_to_ms
            ),
            key=lambda one: -one.valid_from_ms,
        )
        department = next((one.department for one in blocks if one.department), "")
        center = next((one.cost_center for one in blocks if one.cost_center), "")
        above, seen = department, set[str]()
        while above and not center and above not in seen:
            seen.add(above)
            block = self.department_at(above, at_ms)
            center, above = (block.cost_center, block.parent) if block else ("", "")
        return Affiliation(department=department, cost_center=center)

    def share_policies(self) -> tuple[SharePolicy, ...]:
        """Return what a share of a device is, from when on: ordered by instant, for all time."""
        instants = {0}
        for one in self.policies:
            if one.clusters:
                continue
            instants |= {one.valid_from_ms, one.valid_to_ms}
        return tuple(self.share_policy_at(at_ms) for at_ms in sorted(instants))

    def share_policies_over(self, start_ms: int, end_ms: int) -> tuple[SharePolicy, ...]:
        """Return what counts at the start, and what from each later instant of the span."""
        later = [one for one in self.share_policies() if start_ms < one.from_ms < end_ms]
        return self.share_policy_at(start_ms), *later

    def share_policy_at(self, at_ms: int) -> SharePolicy:
        """Return what a share of a device is from the instant on."""
        policies = self.policies_at(at_ms)
        return SharePolicy(
            from_ms=at_ms, mig_share=policies.mig_share, time_slicing=policies.time_slicing
        )

    def weights_at(self, model: str, at_ms: int) -> TokenWeights:
        """Return the token weights of a served model at the instant.

        The exact name wins, then the glob with the longest literal prefix, then the later block;
        the defaults of `TokenWeights` where the contract says nothing.
        """
        valid = [
            one
            for one in self.token_weights
            if one.valid_from_ms <= at_ms < one.valid_to_ms and fnmatchcase(model, one.model)
        ]
        return max(
            valid,
            key=lambda one: (literal_prefix(one.model), one.valid_from_ms),
            default=TokenWeights(),
        )


def millionths(weight: Decimal) -> int:
    """Return a token weight in `WEIGHT_SCALE` parts, which is exact."""
    return int(weight * WEIGHT_SCALE)


def is_glob(pattern: str) -> bool:
    """Say whether a name contains a wildcard."""
    return any(sign in pattern for sign in "*?[")


def literal_prefix(pattern: str) -> int:
    """Return how many characters stand before the first wildcard; a plain name beats any glob."""
    if not is_glob(pattern):
        return len(pattern) + 1
    return min(pattern.index(sign) for sign in "*?[" if sign in pattern)
