"""A device whose host is no node of the cluster is named, not lost in silence."""

import pandas as pd

from app.usage.homeless_devices import notes_on_homeless_devices
from tests.usage.builders import device_samples
from tests.usage.measuring import NODES, NOTHING, SCRAPE, every, named

ONE = every(SCRAPE, 0.5)


def test_hosts_that_are_nodes_say_nothing() -> None:
    sets = [
        device_samples(
            (named("GPU-a", hostname="node-1"), ONE), (named("GPU-b", hostname="node-2"), ONE)
        ),
        NOTHING,
    ]

    assert notes_on_homeless_devices(sets, NODES) == []


def test_a_device_is_placed_if_any_of_its_series_is() -> None:
    activity = device_samples((named("GPU-a", hostname="exporter-x7k2p", node=""), ONE))
    energy = device_samples((named("GPU-a", hostname="exporter-x7k2p", node="node-1"), ONE))

    assert notes_on_homeless_devices([activity, energy], NODES) == []


def test_devices_of_hosts_that_are_no_nodes_are_counted_once_each() -> None:
    activity = device_samples(
        (named("GPU-a", "", hostname="exporter-x7k2p", node=""), ONE),
        (named("GPU-b", "", hostname="exporter-x7k2p", node=""), ONE),
        (named("GPU-c", "", hostname="node-1"), ONE),
    )

    (note,) = notes_on_homeless_devices([activity, activity], NODES)

    assert (note.kind, note.subject, note.quantity) == ("device_without_node", "exporter-x7k2p", 2)
    assert "exporter-x7k2p" in note.detail


def test_without_devices_or_nodes_there_is_no_failure() -> None:
    nobody = pd.DataFrame({"node_id": [], "node_name": pd.Series([], dtype="str")})
    activity = device_samples((named("GPU-a", "", hostname="", node=""), ONE))

    assert notes_on_homeless_devices([NOTHING], NODES) == []
    # Where no node is known it is the inventory that is missing.
    assert notes_on_homeless_devices([activity], nobody) == []
    (note,) = notes_on_homeless_devices([activity], NODES)
    assert "no host at all" in note.detail
