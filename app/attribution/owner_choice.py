"""Who owns a pod at an instant, by which rule, and which other rules would have claimed it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from app.attribution.contract import Contract
from app.attribution.owners import Claim, ClaimKind, Ownership, claims_of, meets
from app.units.window import from_ms

_BY = {
    ClaimKind.LABELS: "labels come after namespaces",
    ClaimKind.GLOB: "a pattern comes after an exact namespace",
    ClaimKind.NAMESPACE: "labels that override come first",
    ClaimKind.LABELS_OVERRIDE: "",
}


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A rule that meets the pod somewhere or at some time; ``reason`` says why it wins or not."""

    claim: Claim
    wins: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerChoice:
    """Who is charged for such a pod at the instant.

    ``contested`` names the teams of a tie, whose pod is nobody's. Rules come with the winners
    first, then in the order of the contract.
    """

    cluster: str
    namespace: str
    at_ms: int
    team: str
    because: str
    contested: tuple[str, ...]
    department: str
    cost_center: str
    claims: tuple[JudgedClaim, ...]


def owner_choice(
    contract: Contract, cluster: str, namespace: str, labels: Mapping[str, str], at_ms: int
) -> OwnerChoice:
    """Return the owner of a pod of a namespace and labels, and every rule that fits it.

    A rule fits if it would claim the pod in some cluster or at some time.
    """
    ownership = Ownership(contract)
    telling = ownership.telling(labels)
    (span,) = ownership.teams_over(cluster, namespace, telling, at_ms, at_ms + 1)
    where = contract.affiliation_at(span.team, at_ms)
    fitting = [
        claim
        for claim in claims_of(contract)
        if meets(claim, claim.clusters[0] if claim.clusters else cluster, namespace, telling)
    ]
    strongest = max(
        (one.strength for one in fitting if not _out(one, cluster, at_ms)), default=None
    )
    judged = [_judged(one, cluster, at_ms, strongest, span.contested) for one in fitting]
    return OwnerChoice(
        cluster=cluster,
        namespace=namespace,
        at_ms=at_ms,
        team=span.team,
        because=span.because,
        contested=span.contested,
        department=where.department,
        cost_center=where.cost_center,
        claims=tuple(sorted(judged, key=lambda one: not one.wins)),
    )


def _judged(
    claim: Claim,
    cluster: str,
    at_ms: int,
    strongest: tuple[int, int] | None,
    contested: tuple[str, ...],
) -> JudgedClaim:
    out = _out(claim, cluster, at_ms)
    if out or strongest is None:
        return JudgedClaim(claim, wins=False, reason=out)
    if claim.strength == strongest:
        tie = f"as strong as that of {' and '.join(set(contested) - {claim.team})}"
        return JudgedClaim(
            claim, wins=not contested, reason=tie if contested else "the strongest that counts"
        )
    weaker = "a longer literal beginning comes first"
    reason = weaker if claim.strength[0] == strongest[0] else _BY[claim.kind]
    return JudgedClaim(claim, wins=False, reason=reason)


def _out(claim: Claim, cluster: str, at_ms: int) -> str:
    """Return why a rule does not count here and at the time, '' if it does."""
    if claim.clusters and cluster not in claim.clusters:
        return f"counts in {', '.join(claim.clusters)} only"
    if at_ms < claim.valid_from_ms:
        return f"counts from {_instant(claim.valid_from_ms)} on"
    if at_ms >= claim.valid_to_ms:
        return f"counted until {_instant(claim.valid_to_ms)}"
    return ""


def _instant(ms: int) -> str:
    return f"{from_ms(ms).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
