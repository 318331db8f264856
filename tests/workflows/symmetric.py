"""Charges as what may not matter leaves them: by name, by sum, and of terms that are cut."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise

import pandas as pd

from app.usage.identity import node_id, team_id
from tests.workflows.altered import Names
from tests.workflows.terms import Terms
from tests.workflows.worlds import CLUSTER, World


def named(charges: pd.DataFrame, world: World, teams: Iterable[str]) -> Counter[tuple[object, ...]]:
    """Return the charges with names in the place of identities."""
    fleet = world.fleet
    nodes = {node_id(CLUSTER, node.uid): node.name for node in fleet.nodes}
    pods = {one.pod_uid: one.pod for one in fleet.truth.holds}
    holds = {hold: pods[uid] for hold, uid in world.held_by().items()}
    names = {team_id(name): name for name in teams}
    rows = charges.assign(
        node=charges["node_id"].map(nodes),
        pod=charges["hold_id"].map({**holds, 0: ""}),
        team=charges["team_id"].map(names),
    )
    assert not rows[["node", "pod", "team"]].isna().any().any()
    columns = ["node", "pod", "team", "kind", "price_id", "start_ms", "end_ms", "gpu_ms"]
    return Counter(rows[[*columns, "cost_nanos", "priced"]].itertuples(index=False, name=None))


def under_other_names(terms: Terms, names: Names) -> tuple[Terms, Mapping[str, str]]:
    """Return the terms for the other namespaces, with other names of teams, and these."""
    teams = {name: f"team-{number}" for number, name in enumerate(terms.teams()[::-1])}
    teams |= {name: name for name in terms.teams()[-2:]}
    owners = tuple(
        replace(
            one,
            team=teams[one.team],
            namespaces=tuple(
                other
                for name, other in names.namespaces.items()
                if any(fnmatchcase(name, glob) for glob in one.namespaces)
            ),
        )
        for one in terms.owners
    )
    return replace(terms, owners=owners), teams


def cut_at(terms: Terms, cuts: list[int]) -> Terms:
    """Return the terms with each price in pieces that meet at the instants."""
    edges = [0, *cuts, terms.rates[0].to_ms]
    return replace(
        terms,
        rates=tuple(
            replace(rate, from_ms=low, to_ms=high)
            for rate in terms.rates
            for low, high in pairwise(edges)
        ),
    )


def most_moved(
    before: pd.DataFrame, after: pd.DataFrame, key: list[str], column: str = "cost_nanos"
) -> int:
    sums = [frame.groupby(key)[column].sum() for frame in (before, after)]
    assert sums[0].index.equals(sums[1].index)
    return int((sums[1] - sums[0]).abs().max())
