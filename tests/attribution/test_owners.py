import pytest

from app.attribution.contract import Contract, Platform, Team, literal_prefix
from app.attribution.owners import Ownership, ties

NOON = 1_000_000


def owner(contract: Contract, namespace: str = "ml-a", cluster: str = "prod", **labels: str) -> str:
    (span,) = Ownership(contract).teams_over(cluster, namespace, labels, 0, 10)
    return span.team


def teams(*blocks: Team) -> Contract:
    return Contract(teams=blocks)


def test_without_a_contract_everything_is_unowned() -> None:
    (span,) = Ownership().teams_over("prod", "ml", (), 0, 10)

    assert (span.team, span.because) == ("unowned", "no rule claims it")


def test_the_exact_namespace_wins_over_globs_and_globs_over_labels() -> None:
    by_labels = Team(name="labels", labels=(("team", "x"),))
    by_glob = Team(name="glob", namespaces=("ml-*",))
    by_name = Team(name="name", namespaces=("ml-a",))

    assert owner(teams(by_labels, by_glob, by_name), team="x") == "name"
    assert owner(teams(by_labels, by_glob), team="x") == "glob"
    assert owner(teams(by_labels), team="x") == "labels"
    assert owner(teams(by_labels), team="y") == "unowned"


def test_the_glob_with_the_longest_literal_prefix_wins() -> None:
    contract = teams(
        Team(name="any", namespaces=("*",)),
        Team(name="short", namespaces=("ml-*",)),
        Team(name="long", namespaces=("ml-eu*",)),
        Team(name="suffix", namespaces=("*-eu-long-suffix",)),
    )

    found = [owner(contract, name) for name in ("ml-eu-1", "ml-us", "web", "x-eu-long-suffix")]

    assert found[:3] == ["long", "short", "any"]
    assert found[3] == "unowned"  # any and suffix have the same literal prefix: none


def test_labels_win_over_namespaces_where_the_rule_says_so() -> None:
    by_name = Team(name="name", namespaces=("ml-a",))
    override = Team(name="labels", labels=(("team", "x"),), labels_override=True)

    assert owner(teams(by_name, override), team="x") == "labels"
    assert owner(teams(by_name, override)) == "name"


def test_all_labels_of_a_rule_must_be_there() -> None:
    contract = teams(Team(name="gold", labels=(("team", "x"), ("tier", "gold"))))

    assert owner(contract, team="x", tier="gold", app="a") == "gold"
    assert owner(contract, team="x") == "unowned"


@pytest.mark.parametrize(
    ("label", "as_told"),
    [
        ("example.com/cost-team", "example_com_cost_team"),
        ("costCenter/ownerTeam", "cost_center_owner_team"),
        ("example.com/cost-team", "example.com/cost-team"),
    ],
)
def test_a_label_is_known_by_the_name_that_kube_state_metrics_gives_it(
    label: str, as_told: str
) -> None:
    contract = teams(Team(name="red", labels=((label, "x"),)))
    ownership = Ownership(contract)

    (span,) = ownership.teams_over("prod", "ml", {as_told: "x", "app": "y"}, 0, 10)

    assert span.team == "red"
    assert as_told in ownership.label_names


def test_a_labels_own_name_wins_over_one_that_looks_like_it() -> None:
    contract = teams(Team(name="red", labels=(("example.com/team", "x"),)))
    labels = {"example.com/team": "x", "example_com_team": "y"}

    (span,) = Ownership(contract).teams_over("prod", "ml", labels, 0, 10)

    assert span.team == "red"


def test_a_rule_may_name_its_clusters() -> None:
    contract = teams(Team(name="eu", namespaces=("ml-a",), clusters=("prod-eu", "test-eu")))

    assert owner(contract, cluster="prod-eu") == "eu"
    assert owner(contract, cluster="prod-us") == "unowned"


def test_the_platform_owns_its_own_namespaces() -> None:
    contract = Contract(platform=(Platform(team="infra", namespaces=("monitoring",)),))

    assert owner(contract, "monitoring") == "infra"


def test_a_tie_that_nobody_could_foresee_is_unowned_and_names_both() -> None:
    contract = teams(
        Team(name="b", labels=(("team", "x"),)), Team(name="a", labels=(("app", "y"),))
    )

    (span,) = Ownership(contract).teams_over("prod", "ml", {"team": "x", "app": "y"}, 0, 10)

    assert (span.team, span.contested) == ("unowned", ("a", "b"))
    assert span.because == "a by labels app=y and b by labels team=x"
    assert list(ties(contract)) == []


def test_one_team_that_claims_twice_has_no_tie() -> None:
    contract = teams(
        Team(name="a", namespaces=("ml-a",)), Team(name="a", namespaces=("ml-a",), clusters=("p",))
    )

    assert owner(contract, cluster="p") == "a"
    assert list(ties(contract)) == []


@pytest.mark.parametrize(("at", "team"), [(NOON - 1, "ml"), (NOON, "research")])
def test_ownership_changes_with_the_first_instant_of_a_rule(at: int, team: str) -> None:
    ownership = Ownership(
        teams(
            Team(name="ml", namespaces=("ml",), valid_to_ms=NOON),
            Team(name="research", namespaces=("ml",), valid_from_ms=NOON),
        )
    )

    (span,) = ownership.teams_over("prod", "ml", (), at, at + 1)

    assert span.team == team


def test_spans_tile_the_time_and_a_change_without_effect_cuts_nothing() -> None:
    ownership = Ownership(
        teams(
            Team(name="ml", namespaces=("ml",)),
            Team(name="late", namespaces=("m*",), valid_from_ms=NOON),
            Team(name="other", namespaces=("ml-*",), valid_from_ms=NOON),
        )
    )

    spans = ownership.teams_over("prod", "ml", (), 0, 2 * NOON)

    assert [(one.from_ms, one.to_ms, one.team) for one in spans] == [(0, 2 * NOON, "ml")]


def test_the_platform_team_pays_for_what_nobody_held_from_its_date() -> None:
    contract = Contract(platform=(Platform(team="infra", valid_from_ms=NOON),))

    spans = Ownership(contract).payers_over(0, 2 * NOON)

    assert [(one.from_ms, one.to_ms, one.team) for one in spans] == [
        (0, NOON, ""),
        (NOON, 2 * NOON, "infra"),
    ]


@pytest.mark.parametrize(
    ("pattern", "length"), [("ml", 3), ("ml*", 2), ("m?*", 1), ("*", 0), ("m[ab]", 1)]
)
def test_a_literal_prefix_ends_at_the_first_wildcard(pattern: str, length: int) -> None:
    assert literal_prefix(pattern) == length


@pytest.mark.parametrize(
    ("wide", "narrow", "proven"),
    [
        ("ml-*", "ml-*-prod", True),
        ("ml-*", "ml-?", True),
        ("ml-??", "ml-?*", True),
        ("ml-?", "ml-??", False),
        ("ml-*-a", "ml-*-b", False),
        ("ml-*a*", "ml-*b*", False),
        ("ml-[ab]", "ml-[ab]", True),
        ("ml-*", "ml-[ab]", False),
    ],
)
def test_a_tie_of_globs_is_proven_when_one_covers_the_other(
    wide: str, narrow: str, *, proven: bool
) -> None:
    contract = teams(Team(name="a", namespaces=(wide,)), Team(name="b", namespaces=(narrow,)))

    assert bool(list(ties(contract))) is proven
