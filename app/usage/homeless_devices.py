"""Devices whose exporter names no node of the cluster: what they did reaches nobody's hold."""

from collections.abc import Sequence

import pandas as pd

from app.usage.device_rows import node_names
from app.usage.notes import Note
from app.usage.samples import SampleSet

_SHOWN_HOSTS = 3


def notes_on_homeless_devices(sets: Sequence[SampleSet], nodes: pd.DataFrame) -> list[Note]:
    """Say how many devices no series of ``sets`` (`DEVICE_LABELS`) places on a node.

    ``nodes`` has node_name. Such a device is known by the pod that its series name, if they do;
    otherwise the time of whoever holds it is unmeasured. Where no node is known at all, nothing
    is said: then the inventory is missing.
    """
    if nodes.empty:
        return []
    labels = pd.concat(
        [one.labels[["device", "hostname", "node"]] for one in sets], ignore_index=True
    )
    placed = labels.loc[node_names(labels, nodes) != "", "device"]
    lost = labels.loc[~labels["device"].isin(placed)]
    if lost.empty:
        return []
    hosts = sorted(set(lost["node"].where(lost["node"] != "", lost["hostname"])))
    shown = ", ".join(host or "no host at all" for host in hosts[:_SHOWN_HOSTS])
    detail = (
        f"The series of these devices name hosts that are no nodes of the cluster ({shown}), so"
        " what they did is known only where their series name the pod. Let the scrape add the"
        " label node."
    )
    return [Note("device_without_node", hosts[0] or "no host", lost["device"].nunique(), detail)]
