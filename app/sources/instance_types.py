"""How many accelerators machines have: from the table of types that is shipped, or as told."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files

from app.usage.inventory import NodeFacts


def devices_of_type(provider: str, instance_type: str) -> int:
    """Return the physical devices of an instance type, 0 where the table does not have it.

    Where the provider is not known, the type is looked for among all.
    """
    table = _table()
    if provider in table:
        return table[provider].get(instance_type, 0)
    return max((types.get(instance_type, 0) for types in table.values()), default=0)


def with_told_devices(node: NodeFacts, told: Mapping[str, int]) -> NodeFacts:
    """Return a node with the devices that a person told by its name or its instance type."""
    devices = max(told.get(node.name, 0), told.get(node.instance_type, 0))
    return replace(node, instance_devices=max(node.instance_devices, devices))


@cache
def _table() -> dict[str, dict[str, int]]:
    text = files("app.sources.catalogue").joinpath("instance_types.toml").read_text("utf-8")
    return tomllib.loads(text)
