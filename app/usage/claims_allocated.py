"""What a claim was given: accelerators of the slices, and how much of each."""

from dataclasses import dataclass
from fractions import Fraction

from app.usage.claims_devices import (
    ACCELERATOR_DRIVERS,
    OTHER_DRIVERS,
    Device,
    DeviceList,
    consumed_ratios,
)
from app.usage.claims_facts import AllocatedDevice, ClaimFacts, DeviceKey
from app.usage.kinds import Sharing
from app.usage.notes import Note
from app.usage.products import UNKNOWN_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDevice:
    """One allocated accelerator: ``share`` devices, before it is split over the claim's pods.

    ``physical`` names the device of which partitions and parts are taken, which together are never
    more than that device; it is "" for a whole one. ``node_name`` is "" where the pod tells it.
    """

    key: DeviceKey
    share_id: str
    request: str
    physical: str
    uuid: str
    model: str
    node_name: str
    share: Fraction
    compute: Fraction
    sharing: Sharing


def claimed_devices(
    claim: ClaimFacts, listed: DeviceList
) -> tuple[tuple[ClaimedDevice, ...], tuple[Note, ...]]:
    """Return the accelerators of a claim's allocation, each once, and notes on what is odd.

    Access for administrators and devices of other kinds hold nothing. A device that no slice lists
    counts as one device of an unknown model; a partition of unknown share holds nothing, so that
    its device is not taken for free.
    """
    found: list[ClaimedDevice] = []
    seen: set[tuple[DeviceKey, str]] = set()
    odd: dict[str, int] = {}
    for result in claim.allocated or ():
        known = (result.key, result.share_id) in seen
        seen.add((result.key, result.share_id))
        if known or result.admin_access or result.key in listed.others:
            continue
        device = listed.devices.get(result.key)
        if device is not None and device.share is None:
            odd["unknown_share"] = odd.get("unknown_share", 0) + 1
        elif device is not None:
            found.append(_listed(result, device))
        elif result.key.driver in ACCELERATOR_DRIVERS:
            odd["claim_without_slice"] = odd.get("claim_without_slice", 0) + 1
            found.append(_unlisted(result, claim))
        elif result.key.driver not in OTHER_DRIVERS:
            odd["unknown_device_driver"] = odd.get("unknown_device_driver", 0) + 1
    subject = f"{claim.namespace}/{claim.name}"
    notes = (Note(kind, subject, count, _ODD[kind]) for kind, count in sorted(odd.items()))
    return tuple(found), tuple(notes)


_ODD = {
    "claim_without_slice": "No ResourceSlice lists these devices; each counts as one of an unknown "
    "model.",
    "unknown_device_driver": "The driver's devices are of no known kind; they hold nothing.",
    "unknown_share": "What these partitions are of their devices is not known; they hold nothing.",
}


def _listed(result: AllocatedDevice, device: Device) -> ClaimedDevice:
    assert device.share is not None
    assert device.compute is not None
    ratios = consumed_ratios(result.consumed, device.capacity)
    part = max(ratios) if ratios else Fraction(1)
    sharing = Sharing.MIG if device.partition else Sharing.EXCLUSIVE
    if ratios or device.allow_multiple:
        sharing = Sharing.FRACTION
    return ClaimedDevice(
        key=result.key,
        share_id=result.share_id,
        request=result.request,
        physical="" if sharing is Sharing.EXCLUSIVE else device.physical,
        uuid=device.uuid,
        model=device.model,
        node_name=device.node_name,
        share=device.share * device.units * part,
        compute=device.compute * device.units * part,
        sharing=sharing,
    )


def _unlisted(result: AllocatedDevice, claim: ClaimFacts) -> ClaimedDevice:
    return ClaimedDevice(
        key=result.key,
        share_id=result.share_id,
        request=result.request,
        physical="",
        uuid="",
        model=UNKNOWN_MODEL,
        node_name=claim.node_name,
        share=Fraction(1),
        compute=Fraction(1),
        sharing=Sharing.EXCLUSIVE,
    )
