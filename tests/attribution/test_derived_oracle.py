"""Redistribution against a second account of it in exact fractions, and its symmetries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind
from app.attribution.contract import (
    Contract,
    Platform,
    Policies,
    SharedMetric,
    SharedPolicy,
    Team,
    UnallocatedPolicy,
)
from app.attribution.derived_lines import derived_lines
from app.attribution.redistribution import RedistributedLine
from app.usage.identity import cluster_id, gpu_model_id, namespace_id, team_id
from tests.attribution.day_rows import a_cost, a_day, consumed

TEAMS = ("ads", "lab", "search")
PAYERS = (*TEAMS, "platform", "unowned", "")
HELD = ("used", "idle", "unmeasured")
NOBODYS = ("unallocated", "stranded", "unobserved", "commitment_unused")
SERVICE = 5


@dataclass(frozen=True)
class Told:
    """One row of a day, in words."""

    team: str
    nanos: int
    kind: str
    cluster: str
    model: str
    namespace: str
    served: bool
    ms: int

    def row(self) -> dict[str, int]:
        return a_cost(
            self.team,
            self.nanos,
            ChargeKind[self.kind.upper()],
            cluster=self.cluster,
            gpu_model=self.model,
            namespace=self.namespace,
            workload=SERVICE if self.served else 0,
            gpu_ms=self.ms,
        )


held_rows = st.builds(
    Told,
    team=st.sampled_from(PAYERS),
    nanos=st.integers(0, 10**13),
    kind=st.sampled_from(HELD),
    cluster=st.sampled_from(["eu", "us"]),
    model=st.sampled_from(["H100", "L4"]),
    namespace=st.sampled_from(["monitoring", "search-prod", ""]),
    served=st.booleans(),
    ms=st.integers(0, 10**9),
)
nobodys_rows = st.builds(
    Told,
    team=st.sampled_from(["platform", "", "lab"]),
    nanos=st.integers(0, 10**13),
    kind=st.sampled_from(NOBODYS),
    cluster=st.sampled_from(["eu", "us", ""]),
    model=st.sampled_from(["H100", "L4", ""]),
    namespace=st.just(""),
    served=st.sampled_from([False]),
    ms=st.just(0),
)
days = st.lists(st.one_of(held_rows, nobodys_rows), max_size=14)


@st.composite
def policy_blocks(draw: st.DrawFn) -> Policies:
    shared = draw(st.sampled_from(SharedPolicy))
    named = draw(st.sampled_from([(), ("ads",), ("lab", "platform"), TEAMS]))
    ads = draw(st.integers(0, 100))
    return Policies(
        unallocated=draw(st.sampled_from(UnallocatedPolicy)),
        shared=shared,
        shared_percent=(("ads", Decimal(ads)), ("lab", Decimal(100 - ads)))
        if shared is SharedPolicy.FIXED
        else (),
        shared_metric=draw(
            st.sampled_from([SharedMetric.GPU_SECONDS_HELD, SharedMetric.GPU_SECONDS_ACTIVE])
        )
        if shared is SharedPolicy.METRIC
        else None,
        teams=named,
    )


def a_contract(general: Policies, of_us: Policies | None) -> Contract:
    own = (replace(of_us, clusters=("us",)),) if of_us else ()
    return Contract(
        teams=tuple(Team(name=name) for name in TEAMS),
        platform=(Platform(team="platform", namespaces=("monitoring",)),),
        policies=(general, *own),
    )


Key = tuple[str, str, str, str, str]


def expected(
    rows: Sequence[Told], policy_of: Mapping[str, Policies], tokens: Mapping[str, int]
) -> dict[tuple[int, Key, str], Fraction]:
    """Every receiver's exact part of every cost, walked line by line.

    A cost is known by its step, and by kind, cluster, model, namespace and payer.
    """
    parts: dict[tuple[int, Key, str], Fraction] = defaultdict(Fraction)
    for row in rows:
        policies = policy_of[row.cluster]
        if row.kind in NOBODYS:
            bought = row.kind == "commitment_unused" and row.team not in ("platform", "")
            if bought or policies.unallocated is UnallocatedPolicy.PLATFORM:
                continue
            weights = _first_hand(rows, row.cluster, row.model)
            key = (row.kind, row.cluster, row.model, "", row.team)
            _give(parts, 1, key, row.nanos, _taking_part(weights, policies))
        elif row.served and any(tokens.values()):
            key = ("", row.cluster, row.model, row.namespace, row.team)
            _give(parts, 3, key, row.nanos, dict(tokens))
        elif row.team == "platform" and row.namespace == "monitoring":
            key = ("", row.cluster, row.model, row.namespace, row.team)
            _give(parts, 2, key, row.nanos, _shared(rows, row, policies))
    return {key: part for key, part in parts.items() if part}


def _first_hand(rows: Sequence[Told], cluster: str, model: str) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.kind in HELD and cluster in ("", row.cluster) and model in ("", row.model):
            sums[row.team] += row.nanos
    return sums


def _taking_part(weights: Mapping[str, int], policies: Policies) -> dict[str, int]:
    return {
        team: weight
        for team, weight in weights.items()
        if team not in ("", "unowned")
        and (team in policies.teams if policies.teams else team != "platform")
    }


def _shared(rows: Sequence[Told], row: Told, policies: Policies) -> dict[str, int]:
    if policies.shared is SharedPolicy.PLATFORM:
        return {}
    if policies.shared is SharedPolicy.FIXED:
        return {team: int(percent) for team, percent in policies.shared_percent}
    if policies.shared is SharedPolicy.PROPORTIONAL:
        return _taking_part(_first_hand(rows, row.cluster, row.model), policies)
    if policies.shared is SharedPolicy.EVEN:
        having = _first_hand(rows, row.cluster, "")
        return _taking_part({team: 1 for team, nanos in having.items() if nanos}, policies)
    kinds = HELD if policies.shared_metric is SharedMetric.GPU_SECONDS_HELD else ("used",)
    ms: dict[str, int] = defaultdict(int)
    for one in rows:
        if one.cluster == row.cluster and one.kind in kinds:
            ms[one.team] += one.ms
    return _taking_part(ms, policies)


def _give(
    parts: dict[tuple[int, Key, str], Fraction],
    step: int,
    key: Key,
    nanos: int,
    weights: Mapping[str, int],
) -> None:
    whole = sum(weights.values())
    for team, weight in weights.items():
        if whole and weight:
            parts[step, key, team] += Fraction(nanos * weight, whole)


def told(lines: Sequence[RedistributedLine]) -> dict[tuple[int, Key, str], int]:
    """The credits as the second account names them; every debit is what it gives."""
    kinds = {int(kind): kind.name.lower() for kind in ChargeKind} | {0: ""}
    clusters = {cluster_id(name): name for name in ("eu", "us")} | {0: ""}
    models = {gpu_model_id(name): name for name in ("H100", "L4", "")}
    spaces = {namespace_id(name): name for name in ("monitoring", "search-prod", "")}
    teams = {team_id(name): name for name in PAYERS}
    debits = {line.debit_id: line for line in lines if line.charge_id == line.debit_id}
    found: dict[tuple[int, Key, str], int] = {}
    sums: dict[int, int] = defaultdict(int)
    for line in lines:
        sums[line.debit_id] += line.nanos
        if line.charge_id == line.debit_id:
            continue
        debit = debits[line.debit_id]
        key = (
            kinds[line.kind],
            clusters[line.cluster_id],
            models[line.gpu_model_id],
            spaces[line.namespace_id],
            teams[debit.team_id],
        )
        found[int(line.step), key, teams[line.team_id]] = line.nanos
    assert not any(sums.values())
    return found


@given(days, policy_blocks(), st.none() | policy_blocks(), st.integers(0, 3), st.integers(0, 3))
def test_every_line_is_within_a_nano_of_its_exact_part(
    rows: list[Told], general: Policies, of_us: Policies | None, ads: int, search: int
) -> None:
    contract = a_contract(general, of_us)
    facts = a_day([row.row() for row in rows], shares=consumed(SERVICE, ads=ads, search=search))
    lines = derived_lines(facts, contract)

    policy_of = {"": general, "eu": general, "us": of_us or general}
    exact = expected(rows, policy_of, {"ads": ads, "search": search})
    found = told(lines)

    assert {key for key, part in exact.items() if part >= 1} <= found.keys() <= exact.keys()
    assert all(abs(exact[key] - nanos) < 1 for key, nanos in found.items())
    # Money is moved, and none is made; nothing is taken that was not there.
    assert sum(line.nanos for line in lines) == 0
    whole = {
        step: sum(part for (one, _, _), part in exact.items() if one == step) for step in (1, 2, 3)
    }
    for step, part in whole.items():
        assert sum(nanos for (one, _, _), nanos in found.items() if one == step) == part


@given(days, policy_blocks(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_changes_nothing(
    rows: list[Told], general: Policies, random: object
) -> None:
    contract = a_contract(general, None)
    shuffled = [*rows]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random

    first = derived_lines(a_day([row.row() for row in rows]), contract)
    second = derived_lines(a_day([row.row() for row in shuffled]), contract)

    assert first == second


@given(days, policy_blocks())
def test_renaming_the_teams_permutes_the_lines(rows: list[Told], general: Policies) -> None:
    # In the order of the names, so that equal remainders go the same way.
    names = {"ads": "a-team", "lab": "l-team", "search": "s-team"} | {
        name: name for name in ("platform", "unowned", "")
    }
    renamed = replace(
        general,
        shared_percent=tuple((names[one], part) for one, part in general.shared_percent),
        teams=tuple(names[one] for one in general.teams),
    )
    rows = [row for row in rows if row.kind in HELD or row.team != "lab"]
    others = [Told(**{**vars(row), "team": names[row.team]}) for row in rows]
    ids = {team_id(old): team_id(new) for old, new in names.items()}
    known = ("platform", "unowned", *names.values(), *TEAMS)

    before = derived_lines(
        a_day([one.row() for one in rows], teams=known), a_contract(general, None)
    )
    after = derived_lines(
        a_day([one.row() for one in others], teams=known), a_contract(renamed, None)
    )

    def shape(lines: Sequence[RedistributedLine], to: Mapping[int, int]) -> list[tuple[int, ...]]:
        return sorted(
            (line.step, line.cluster_id, line.gpu_model_id, line.kind, to[line.team_id], line.nanos)
            for line in lines
        )

    assert shape(before, ids) == shape(after, {new: new for new in ids.values()})


@given(days, policy_blocks(), st.integers(1, 10**12))
def test_what_happens_in_one_cluster_moves_nothing_in_another(
    rows: list[Told], general: Policies, more: int
) -> None:
    inside = [row for row in rows if row.cluster]
    changed = [*inside, Told("search", more, "used", "us", "H100", "", served=False, ms=more)]

    def of_eu(given_rows: list[Told]) -> list[RedistributedLine]:
        facts = a_day([row.row() for row in given_rows])
        lines = derived_lines(facts, a_contract(general, None))
        return [line for line in lines if line.cluster_id == cluster_id("eu")]

    assert of_eu(inside) == of_eu(changed)
