"""Parts of GPUs that pods declare without requesting a device: KAI scheduler and Run:ai.

A pod of the scheduler's own, in a namespace of its own, requests the whole device in their place;
it holds nothing. Annotations: NVIDIA/KAI-Scheduler pkg/common/constants, and Run:ai's.
"""

import json
import re
from fractions import Fraction

from app.usage.hami import DeclaredPart
from app.usage.inventory import NodeFacts, PodFacts
from app.usage.shares import WHOLE, UnknownShare, whole_number

RESERVATION_NAMESPACES = frozenset({"kai-resource-reservation", "runai-reservation"})

_FRACTION = "gpu-fraction"
_MEMORY = "gpu-memory"
_DEVICES = "gpu-fraction-num-devices"
_MIG_DEVICE = "runai-mig-device"
# Parts are computed with in 64 bits; anybody may write anything into an annotation.
_DECIMAL = re.compile(r"(?=.)\d{0,3}(?:\.\d{1,40})?", re.ASCII)
_FINEST = 10**6
_MOST_DEVICES = 1024
# Annotations of which any says that a pod without a device request holds part of a device.
ANNOTATIONS = frozenset({_FRACTION, _MEMORY, _MIG_DEVICE})


def declared_part(pod: PodFacts, node: NodeFacts | None) -> DeclaredPart | UnknownShare | None:
    """Return what a pod declares to hold of GPUs; None if it declares nothing."""
    said = dict(pod.annotations)
    if not (said.get(_FRACTION) or said.get(_MEMORY)):
        return None
    units = whole_number(said.get(_DEVICES, "")) or 1
    if units > _MOST_DEVICES:
        return UnknownShare(f"The pod declares parts of {units} GPUs, which no machine has.")
    text = said.get(_FRACTION) or ""
    if not text and said.get(_MEMORY):
        memory, of = whole_number(said[_MEMORY]), _device_memory(node)
        if not memory or not of:
            why = "is no amount of MiB" if not memory else "is of a GPU whose memory is not known"
            return UnknownShare(f"What the pod declares, {said[_MEMORY]!r}, {why}.")
        return DeclaredPart(share=min(Fraction(memory, of), WHOLE) * units, units=units)
    share = _fraction(text)
    if share is None:
        return UnknownShare(
            f"The pod declares {text!r} of a GPU, which is no part between 0 and 1."
        )
    return DeclaredPart(share=share * units, units=units)


def declared_instance(pod: PodFacts) -> tuple[str, int] | UnknownShare | None:
    """Return the MIG resource and instances that Run:ai made for a pod on demand, None if none."""
    text = dict(pod.annotations).get(_MIG_DEVICE, "")
    if not text:
        return None
    try:
        device = json.loads(text)
    except ValueError:
        device = None
    if not isinstance(device, dict) or not str(device.get("name", "")).startswith(
        "nvidia.com/mig-"
    ):
        return UnknownShare(f"The pod's annotation {_MIG_DEVICE} names no MIG instance.")
    amount = device.get("gpuamount", 1)
    known = isinstance(amount, int) and 0 < amount <= _MOST_DEVICES
    return str(device["name"]), amount if known else 1


def _fraction(text: str) -> Fraction | None:
    """Return a part as it is written, 0.3333333333333333 as a third; None if it is none."""
    if _DECIMAL.fullmatch(text.strip()) is None:
        return None
    share = Fraction(text.strip()).limit_denominator(_FINEST)
    return share if 0 < share <= 1 else None


def _device_memory(node: NodeFacts | None) -> int:
    labels = dict(node.labels) if node is not None else {}
    return whole_number(labels.get("nvidia.com/gpu.memory", "")) or 0
