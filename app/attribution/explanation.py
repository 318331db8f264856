"""Why a charge is what it is: from the line down to the price, the hold, the samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from app.attribution.charges import ChargeKind
from app.attribution.owners import OwnerSpan
from app.pricing.book import PriceChoice, describe_key
from app.pricing.rows import PriceRow
from app.units.identity import id_text
from app.units.money import from_nanos
from app.units.window import OPEN_MS, from_ms
from app.usage.kinds import ActivityBasis, ActivityScope, HoldSource, Sharing, UsageFlag
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy

_MEANING = {
    ChargeKind.USED: "were held and active",
    ChargeKind.IDLE: "were held and not active",
    ChargeKind.UNMEASURED: "were held, and no sample says what they did,",
    ChargeKind.UNALLOCATED: "could be held and were held by nobody",
    ChargeKind.STRANDED: "could not be held, as unhealthy, not advertised or left over,",
    ChargeKind.UNOBSERVED: "have no known holder, as no source says who held it,",
}
_BASIS = {
    ActivityBasis.NONE: "no metric",
    ActivityBasis.GR_ENGINE_ACTIVE: "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
    ActivityBasis.GPU_UTIL: "DCGM_FI_DEV_GPU_UTIL",
    ActivityBasis.AMD_GFX_ACTIVITY: "gpu_gfx_activity",
    ActivityBasis.AMD_GFX_BUSY: "gpu_gfx_busy_instantaneous, the mean of the compute dies",
    ActivityBasis.INTEL_ENGINE: "the busiest engine group that XPU Manager shows",
    ActivityBasis.NEURON_CORE: "neuroncore_utilization_ratio",
    ActivityBasis.DUTY_CYCLE: "duty_cycle of GKE's device plugin",
    ActivityBasis.TPU_TENSORCORE: "tensorcore activity of the TPU",
    ActivityBasis.HAMI_HOST: "hami_host_gpu_utilization_ratio",
    ActivityBasis.HAMI_CONTAINER: "hami_container_device_utilization_ratio",
}
_SCOPE = {
    ActivityScope.NONE: "nothing was measured",
    ActivityScope.DEVICE: "measured on the devices that the pod held",
    ActivityScope.SHARED_DEVICE: "measured on a shared device and split by share",
    ActivityScope.SHARED_POOL: "the mean of the pool, as nobody says which devices the pod held",
    ActivityScope.SHARER: "the pod's own part of a shared device, as its sharing software samples",
}
_SOURCE = {
    HoldSource.WATCH: "the Kubernetes watch",
    HoldSource.KUBE_STATE_METRICS: "kube-state-metrics",
}
_FLAGS = {
    UsageFlag.OVERSUBSCRIBED: "the shares added up to more than the devices and were scaled",
    UsageFlag.UNHEALTHY_HELD: "a held device was not allocatable",
    UsageFlag.END_LOST: "the end was not seen",
    UsageFlag.EDGE_CUT: "an uncertain edge was cut where another pod held the same devices",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedHold:
    """Who held the time: the pod, its share, and how well its edges are known.

    ``share_num / share_den`` is the share under the default policies, ``compute_num / compute_den``
    under ``mig_share: compute``.
    """

    namespace: str
    pod: str
    workload: str
    resource: str
    units: int
    share_num: int
    share_den: int
    compute_num: int
    compute_den: int
    sharing: Sharing
    start_ms: int
    end_ms: int
    start_unsure_ms: int
    end_unsure_ms: int
    source: HoldSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedUsage:
    """The usage row of the hold in the window."""

    held_ms: int
    active_ms: int
    idle_ms: int
    unmeasured_ms: int
    basis: ActivityBasis
    scope: ActivityScope
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSpan:
    """One row of the pool's usage in the window."""

    start_ms: int
    end_ms: int
    devices: int
    held_ms: int
    unallocated_ms: int
    stranded_ms: int
    unobserved_ms: int
    claimed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many samples of a family were there of those expected, and the query that asked."""

    source: str
    family: str
    expected: int
    seen: int
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What the window's charges were made from."""

    revision: int
    rating_version: int
    price_version: int
    contract_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFacts:
    """A charge and everything that it rests on; None where there is no such thing.

    ``policies`` are those of shares: what counts at the charge's beginning, then each change.
    """

    charge_id: int
    kind: ChargeKind
    window_start_ms: int
    start_ms: int
    end_ms: int
    cluster: str
    node: str
    gpu_model: str
    team: str
    gpu_ms: int
    cost_nanos: int | None
    currency: str
    owner: OwnerSpan | None
    hold: ExplainedHold | None
    policies: tuple[SharePolicy, ...]
    usage: ExplainedUsage | None
    spans: tuple[ExplainedSpan, ...]
    price: PriceChoice | None
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]
    versions: Versions


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One step down: a title, a sentence, and figures by name."""

    title: str
    text: str
    figures: tuple[tuple[str, str], ...] = ()


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


def explain(facts: ChargeFacts) -> Explanation:
    """Return why the charge is what it is."""
    steps = [_charge(facts), _payer(facts)]
    if facts.hold:
        steps.append(_hold(facts.hold, facts.policies))
    if facts.usage:
        steps.append(_usage(facts.usage))
    steps += [_pool(facts), _price(facts), _money(facts), _coverage(facts), _versions(facts)]
    return Explanation(facts.charge_id, tuple(steps))


def _charge(facts: ChargeFacts) -> ExplanationStep:
    cost = "no price" if facts.cost_nanos is None else _amount(facts.cost_nanos, facts)
    return ExplanationStep(
        "Charge",
        f"{_seconds(facts.gpu_ms)} GPU-seconds of {facts.gpu_model or 'an unknown GPU model'} on"
        f" {facts.node} in {facts.cluster} {_MEANING.get(facts.kind, f'are {facts.kind.name}')}"
        f" between {_at(facts.start_ms)} and {_at(facts.end_ms)}: {cost}",
        (
            ("charge", id_text(facts.charge_id)),
            ("kind", facts.kind.name.lower()),
            ("window", _at(facts.window_start_ms)),
        ),
    )


def _payer(facts: ChargeFacts) -> ExplanationStep:
    because = facts.owner.because if facts.owner else "no contract says who owns it"
    if facts.owner and facts.owner.contested:
        because = f"{' and '.join(facts.owner.contested)} claim it equally: {because}"
    elif (claim := because.removeprefix(f"{facts.team} by ")) != because:
        because = f"the contract gives it {claim}"
    return ExplanationStep("Team", f"{facts.team or 'nobody'}, since {because}")


def _hold(hold: ExplainedHold, policies: tuple[SharePolicy, ...]) -> ExplanationStep:
    end = "and lasts" if hold.end_ms == OPEN_MS else f"until {_at(hold.end_ms)}"
    return ExplanationStep(
        "Hold",
        f"pod {hold.namespace}/{hold.pod} of {hold.workload} held from {_at(hold.start_ms)} {end},"
        f" says {_SOURCE[hold.source]}",
        (
            ("requested", f"{hold.units} {hold.resource}"),
            *_shares(hold, policies),
            ("start unsure by", f"{_seconds(hold.start_unsure_ms)} s"),
            ("end unsure by", f"{_seconds(hold.end_unsure_ms)} s"),
        ),
    )


def _shares(hold: ExplainedHold, policies: tuple[SharePolicy, ...]) -> Iterator[tuple[str, str]]:
    """Yield the hold's share, and where a policy changes it from when on it is another."""
    last = ""
    for policy in policies:
        share = _share(hold, policy)
        if share != last:
            yield f"share from {_at(policy.from_ms)}" if last else "share", share
        last = share


def _share(hold: ExplainedHold, policy: SharePolicy) -> str:
    """Say what the hold is of a device, and by which policy where one decides it."""
    by_default = Fraction(hold.share_num, hold.share_den)
    by_compute = Fraction(hold.compute_num, hold.compute_den)
    share = by_compute if policy.mig_share is MigSharePolicy.COMPUTE else by_default
    text, policies = f"{share} devices", ""
    if hold.sharing is Sharing.MIG or by_compute != by_default:
        policies += f", by mig_share: {policy.mig_share.value}"
    if hold.sharing is Sharing.TIME_SLICING:
        policies += f", by time_slicing: {policy.time_slicing.value}"
        if policy.time_slicing is TimeSlicingPolicy.PRESENT:
            text = f"{hold.units} of all slots held, which share the devices in use"
    return text + policies


def _usage(usage: ExplainedUsage) -> ExplanationStep:
    flags = [words for flag, words in _FLAGS.items() if usage.flags & flag]
    return ExplanationStep(
        "Activity",
        f"{_BASIS[usage.basis]}: {_SCOPE[usage.scope]}" + "".join(f"; {one}" for one in flags),
        (
            ("held", f"{_seconds(usage.held_ms)} GPU-seconds"),
            ("active", f"{_seconds(usage.active_ms)} GPU-seconds"),
            ("idle", f"{_seconds(usage.idle_ms)} GPU-seconds"),
            ("unmeasured", f"{_seconds(usage.unmeasured_ms)} GPU-seconds"),
        ),
    )


def _pool(facts: ChargeFacts) -> ExplanationStep:
    figures = tuple(
        (f"{_at(span.start_ms)} to {_at(span.end_ms)}", ", ".join(_states(span)))
        for span in facts.spans
    )
    return ExplanationStep("Pool", "what all devices of the pool did in the window", figures)


def _states(span: ExplainedSpan) -> Iterator[str]:
    yield f"{span.devices} devices"
    for name, ms in (
        ("held", span.held_ms),
        ("unallocated", span.unallocated_ms),
        ("stranded", span.stranded_ms),
        ("unobserved", span.unobserved_ms),
    ):
        if ms:
            yield f"{name} {_seconds(ms)}"
    if span.claimed_ms > span.held_ms:
        yield f"claimed {_seconds(span.claimed_ms)}"


def _price(facts: ChargeFacts) -> ExplanationStep:
    row = facts.price.winner.row if facts.price else None
    if facts.price is None or row is None:
        return ExplanationStep("Price", "no row of the price book fits the pool; it is unpriced")
    losers = tuple(("not " + _words(loser.row), loser.reason) for loser in facts.price.losers)
    return ExplanationStep(
        "Price",
        f"{_words(row)}; {facts.price.winner.division.value}",
        (
            ("price id", id_text(row.price_id)),
            ("valid from", _at(row.valid_from_ms) if row.valid_from_ms else "since ever"),
            ("valid to", "open" if row.valid_to_ms == OPEN_MS else _at(row.valid_to_ms)),
            ("source", row.source or "not said"),
            ("one GPU-hour", f"{_hourly(facts.price.winner.nanos_per_ms)} {row.currency}"),
            *losers,
        ),
    )


def _money(facts: ChargeFacts) -> ExplanationStep:
    if facts.cost_nanos is None or facts.price is None:
        return ExplanationStep("Money", "none, as there is no price")
    exact = facts.gpu_ms * facts.price.winner.nanos_per_ms
    return ExplanationStep(
        "Money",
        "time × price; each segment is rounded once to a nano and split among its lines, so that"
        " the lines sum to the segment",
        (
            ("time × price", _amount(round(exact), facts)),
            ("charged", _amount(facts.cost_nanos, facts)),
            ("rounding", f"{float(facts.cost_nanos - exact):+.3f} nanos"),
        ),
    )


def _coverage(facts: ChargeFacts) -> ExplanationStep:
    figures = [
        (f"{one.source} {one.family}", f"{one.seen} of {one.expected} samples. {one.query}".strip())
        for one in facts.coverage
    ]
    figures += [("note", note) for note in facts.notes]
    return ExplanationStep("Coverage", "what the sources answered for the window", tuple(figures))


def _versions(facts: ChargeFacts) -> ExplanationStep:
    versions = facts.versions
    return ExplanationStep(
        "Versions",
        "what the window was rated from",
        (
            ("facts revision", str(versions.revision)),
            ("price book", str(versions.price_version)),
            ("contract", str(versions.contract_version)),
            ("rating", str(versions.rating_version)),
        ),
    )


def _words(row: PriceRow) -> str:
    return f"{row.price} {row.currency} per {row.unit.replace('_', '-')} for {describe_key(row)}"


def _hourly(nanos_per_ms: Fraction) -> str:
    return format(from_nanos(round(nanos_per_ms * 3_600_000)), "f")


def _amount(nanos: int, facts: ChargeFacts) -> str:
    return f"{from_nanos(nanos):f} {facts.currency}"


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _at(ms: int) -> str:
    return from_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000", "")
