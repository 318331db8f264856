"""Which team owns a pod's time: exact namespace, then glob, then labels, by date and cluster."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from itertools import combinations, pairwise

from app.attribution.contract import UNOWNED, Contract, is_glob, literal_prefix
from app.usage.label_names import mangled

# A pod's labels, as a mapping or as pairs; a store may have none.
Labels = Mapping[str, str] | Iterable[tuple[str, str]] | None


class ClaimKind(IntEnum):
    """By what a rule claims a pod; the higher kind wins."""

    LABELS = 1
    GLOB = 2
    NAMESPACE = 3
    LABELS_OVERRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One way in which a block claims pods: one namespace pattern, or its labels.

    ``block`` says where the block stands in the contract: ``teams 3`` is the fourth of teams.
    """

    team: str
    block: str
    kind: ClaimKind
    namespace: str
    labels: tuple[tuple[str, str], ...]
    clusters: tuple[str, ...]
    valid_from_ms: int
    valid_to_ms: int

    @property
    def strength(self) -> tuple[int, int]:
        """Claims of greater strength win; equal strength of two teams is a tie."""
        return self.kind, literal_prefix(self.namespace) if self.kind is ClaimKind.GLOB else 0

    def __str__(self) -> str:
        if self.namespace:
            return f"namespace {self.namespace}"
        return "labels " + ", ".join(f"{name}={text}" for name, text in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSpan:
    """Who owns a pod's time from when until when, and by what.

    ``contested`` names the teams of a tie; the money is then unowned.
    """

    from_ms: int
    to_ms: int
    team: str
    because: str
    contested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tie:
    """Two claims of different teams, the first of which meets every pod that the second meets."""

    first: Claim
    second: Claim


class Ownership:
    """The owner of every pod, by one contract; without a contract everything is unowned."""

    def __init__(self, contract: Contract | None = None) -> None:
        self.contract = contract or Contract()
        self._claims = claims_of(self.contract)
        asked = {name for claim in self._claims for name, _ in claim.labels}
        self._label_names = tuple((name, mangled(name)) for name in sorted(asked))
        # What a claim asks a pod's labels for, also as kube-state-metrics writes it; no other
        # label matters.
        self.label_names = frozenset(name for pair in self._label_names for name in pair)
        self._known: dict[
            tuple[str, str, tuple[tuple[str, str], ...], int, int], tuple[OwnerSpan, ...]
        ] = {}

    def teams_over(
        self,
        cluster: str,
        namespace: str,
        labels: Labels,
        start_ms: int,
        end_ms: int,
    ) -> tuple[OwnerSpan, ...]:
        """Return who owns such a pod over ``[start_ms, end_ms)``: spans that tile it, in order."""
        telling = self.telling(labels)
        question = (cluster, namespace, telling, start_ms, end_ms)
        if question not in self._known:
            self._known[question] = self._decide(cluster, namespace, telling, start_ms, end_ms)
        return self._known[question]

    def telling(self, labels: Labels) -> tuple[tuple[str, str], ...]:
        """Return those of a pod's labels that any rule of the contract asks for, sorted.

        Where a pod has no label of a name, the one that kube-state-metrics makes of it counts.
        """
        if not self.label_names or not labels:
            return ()
        told = dict(labels)
        found = ((name, told.get(name, told.get(short))) for name, short in self._label_names)
        return tuple((name, text) for name, text in found if text is not None)

    def payers_over(self, start_ms: int, end_ms: int) -> tuple[OwnerSpan, ...]:
        """Return who pays for what nobody held: the platform team, or "" where there is none."""
        instants = {start_ms, end_ms}
        for one in self.contract.platform:
            instants |= {one.valid_from_ms, one.valid_to_ms}
        spans: list[OwnerSpan] = []
        for from_ms, to_ms in _tiles(instants, start_ms, end_ms):
            platform = self.contract.platform_at(from_ms)
            team = platform.team if platform else ""
            because = f"{'the' if team else 'no'} platform team pays for what nobody held"
            _append(spans, OwnerSpan(from_ms=from_ms, to_ms=to_ms, team=team, because=because))
        return tuple(spans)

    def _decide(
        self,
        cluster: str,
        namespace: str,
        labels: tuple[tuple[str, str], ...],
        start_ms: int,
        end_ms: int,
    ) -> tuple[OwnerSpan, ...]:
        fitting = [claim for claim in self._claims if meets(claim, cluster, namespace, labels)]
        instants = {start_ms, end_ms}
        for claim in fitting:
            instants |= {claim.valid_from_ms, claim.valid_to_ms}
        spans: list[OwnerSpan] = []
        for from_ms, to_ms in _tiles(instants, start_ms, end_ms):
            _append(spans, _strongest(fitting, from_ms, to_ms))
        return tuple(spans)


def claims_of(contract: Contract) -> tuple[Claim, ...]:
    """Return every claim of the contract, those of the platform's own namespaces included."""
    claims: list[Claim] = []
    for number, team in enumerate(contract.teams):
        kinds: list[tuple[ClaimKind, str, tuple[tuple[str, str], ...]]] = [
            (ClaimKind.GLOB if is_glob(text) else ClaimKind.NAMESPACE, text, ())
            for text in team.namespaces
        ]
        if team.labels:
            by_labels = ClaimKind.LABELS_OVERRIDE if team.labels_override else ClaimKind.LABELS
            kinds.append((by_labels, "", team.labels))
        claims += [
            Claim(
                team=team.name,
                block=f"teams {number}",
                kind=kind,
                namespace=namespace,
                labels=labels,
                clusters=team.clusters,
                valid_from_ms=team.valid_from_ms,
                valid_to_ms=team.valid_to_ms,
            )
            for kind, namespace, labels in kinds
        ]
    for number, platform in enumerate(contract.platform):
        claims += [
            Claim(
                team=platform.team,
                block=f"platform {number}",
                kind=ClaimKind.GLOB if is_glob(namespace) else ClaimKind.NAMESPACE,
                namespace=namespace,
                labels=(),
                clusters=(),
                valid_from_ms=platform.valid_from_ms,
                valid_to_ms=platform.valid_to_ms,
            )
            for namespace in platform.namespaces
        ]
    return tuple(claims)


def ties(contract: Contract) -> Iterator[Tie]:
    """Yield the pairs of claims that prove a tie: every pod that meets one meets the other too.

    Globs that merely may meet in some name (``*-search*`` and ``*-ml*``) prove nothing; a pod
    that both claim is contested when it appears.
    """
    groups: dict[tuple[tuple[int, int], str], list[Claim]] = {}
    for claim in claims_of(contract):
        literal = claim.namespace[: claim.strength[1]] or (
            claim.namespace if claim.kind is ClaimKind.NAMESPACE else ""
        )
        groups.setdefault((claim.strength, literal), []).append(claim)
    for rivals in groups.values():
        for first, second in combinations(rivals, 2):
            if first.team != second.team and _coexist(first, second):
                if _covers(first, second):
                    yield Tie(first, second)
                elif _covers(second, first):
                    yield Tie(second, first)


def meets(claim: Claim, cluster: str, namespace: str, labels: tuple[tuple[str, str], ...]) -> bool:
    """Say whether a rule claims a pod of the cluster, at whatever time."""
    if claim.clusters and cluster not in claim.clusters:
        return False
    if claim.labels:
        return set(claim.labels) <= set(labels)
    if claim.kind is ClaimKind.GLOB:
        return fnmatchcase(namespace, claim.namespace)
    return namespace == claim.namespace


def _strongest(fitting: list[Claim], from_ms: int, to_ms: int) -> OwnerSpan:
    valid = [claim for claim in fitting if claim.valid_from_ms <= from_ms < claim.valid_to_ms]
    top = max((claim.strength for claim in valid), default=None)
    winners = [claim for claim in valid if claim.strength == top]
    teams = tuple(sorted({claim.team for claim in winners}))
    if not teams:
        return OwnerSpan(from_ms=from_ms, to_ms=to_ms, team=UNOWNED, because="no rule claims it")
    because = " and ".join(sorted({f"{claim.team} by {claim}" for claim in winners}))
    if len(teams) > 1:
        return OwnerSpan(
            from_ms=from_ms, to_ms=to_ms, team=UNOWNED, because=because, contested=teams
        )
    return OwnerSpan(from_ms=from_ms, to_ms=to_ms, team=teams[0], because=because)


def _tiles(instants: set[int], start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    return pairwise(sorted(at for at in instants if start_ms <= at <= end_ms))


def _append(spans: list[OwnerSpan], span: OwnerSpan) -> None:
    """Add a span, united with the one before where nothing but the time differs."""
    last = spans[-1] if spans else None
    if last and (last.team, last.because, last.contested) == (
        span.team,
        span.because,
        span.contested,
    ):
        span = OwnerSpan(
            from_ms=spans.pop().from_ms,
            to_ms=span.to_ms,
            team=span.team,
            because=span.because,
            contested=span.contested,
        )
    spans.append(span)


def _coexist(first: Claim, second: Claim) -> bool:
    """Say whether there is a cluster and an instant at which both count."""
    return (
        first.valid_from_ms < second.valid_to_ms
        and second.valid_from_ms < first.valid_to_ms
        and (
            not first.clusters
            or not second.clusters
            or bool(set(first.clusters) & set(second.clusters))
        )
    )


def _covers(wide: Claim, narrow: Claim) -> bool:
    """Say whether every pod that meets ``narrow`` provably meets ``wide`` as well."""
    if wide.labels:
        return set(wide.labels) <= set(narrow.labels)
    if wide.kind is ClaimKind.NAMESPACE or "[" in wide.namespace + narrow.namespace:
        return wide.namespace == narrow.namespace
    return _glob_covers(wide.namespace, narrow.namespace)


def _glob_covers(wide: str, narrow: str) -> bool:
    """Match the glob ``narrow`` as a text: its ``*`` needs one of ``wide``, its ``?`` any sign."""
    reach = {0}
    for sign in wide:
        if sign == "*":
            reach = set(range(min(reach), len(narrow) + 1))
        else:
            reach = {
                at + 1
                for at in reach
                if at < len(narrow) and narrow[at] != "*" and sign in ("?", narrow[at])
            }
        if not reach:
            return False
    return len(narrow) in reach
