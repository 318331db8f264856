"""Who held the time of a charge, by which share, and what was measured of it, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from app.attribution.explanation import ExplanationStep, instant_text, seconds_text
from app.units.window import OPEN_MS
from app.usage.kinds import ActivityBasis, ActivityScope, HoldSource, Sharing, UsageFlag
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy

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
    """The usage row of the hold in the window; ``energy_mj`` is None where no counter told it."""

    held_ms: int
    active_ms: int
    idle_ms: int
    unmeasured_ms: int
    basis: ActivityBasis
    scope: ActivityScope
    flags: int
    energy_mj: int | None = None


def hold_step(hold: ExplainedHold, policies: tuple[SharePolicy, ...]) -> ExplanationStep:
    """Return who held the time, and by which share."""
    end = "and lasts" if hold.end_ms == OPEN_MS else f"until {instant_text(hold.end_ms)}"
    return ExplanationStep(
        "Hold",
        f"pod {hold.namespace}/{hold.pod} of {hold.workload} held from"
        f" {instant_text(hold.start_ms)} {end}, says {_SOURCE[hold.source]}",
        (
            ("requested", f"{hold.units} {hold.resource}"),
            *_shares(hold, policies),
            ("start unsure by", f"{seconds_text(hold.start_unsure_ms)} s"),
            ("end unsure by", f"{seconds_text(hold.end_unsure_ms)} s"),
        ),
    )


def _shares(hold: ExplainedHold, policies: tuple[SharePolicy, ...]) -> Iterator[tuple[str, str]]:
    """Yield the hold's share, and where a policy changes it from when on it is another."""
    last = ""
    for policy in policies:
        share = _share(hold, policy)
        if share != last:
            yield f"share from {instant_text(policy.from_ms)}" if last else "share", share
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


def activity_step(usage: ExplainedUsage) -> ExplanationStep:
    """Return what was measured of the held time, and how."""
    flags = [words for flag, words in _FLAGS.items() if usage.flags & flag]
    return ExplanationStep(
        "Activity",
        f"{_BASIS[usage.basis]}: {_SCOPE[usage.scope]}" + "".join(f"; {one}" for one in flags),
        (
            ("held", f"{seconds_text(usage.held_ms)} GPU-seconds"),
            ("active", f"{seconds_text(usage.active_ms)} GPU-seconds"),
            ("idle", f"{seconds_text(usage.idle_ms)} GPU-seconds"),
            ("unmeasured", f"{seconds_text(usage.unmeasured_ms)} GPU-seconds"),
        ),
    )
