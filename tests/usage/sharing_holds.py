"""Holds that share a device, and the series of its parts."""

from app.usage.kinds import Sharing
from tests.usage.builders import a_hold
from tests.usage.measuring import named


def an_instance(
    number: str, pod: str = "", profile: str = "1g.10gb", device: str = "GPU-a", **labels: str
) -> dict[str, str]:
    identity = f"{device}|{number}|{pod}"
    return named(device, pod, instance=number, profile=profile, identity=identity, **labels)


def a_mig_hold(hold_id: int, slices: int = 1, **given: object) -> dict[str, object]:
    return a_hold(
        hold_id,
        **{
            "share": (slices, 8),
            "compute": (slices, 7),
            "units": 1,
            "sharing": Sharing.MIG,
            **given,
        },
    )


def a_slot(hold_id: int, of: int = 2, **given: object) -> dict[str, object]:
    return a_hold(
        hold_id,
        **{
            "share": (1, of),
            "sharing": Sharing.TIME_SLICING,
            "exclusive": False,
            **given,
        },
    )
