"""Which node a provider's row is about: by the machine's identity, by its name, by its tags."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.attribution.provider_bills import BillRow, NodeLife

# Tags whose value is a node's name.
NODE_TAGS = ("kubernetes.io/hostname", "kubernetes.io/node-name", "k8s.io/node-name")
# Tags whose value is a cluster's name, as the managed Kubernetes of several providers writes them.
CLUSTER_TAGS = (
    "eks:cluster-name",
    "aws:eks:cluster-name",
    "alpha.eksctl.io/cluster-name",
    "goog-k8s-cluster-name",
    "k8s-cluster-name",
    "aks-managed-cluster-name",
)
# The cluster's name is the end of this tag's key.
CLUSTER_TAG_PREFIX = "kubernetes.io/cluster/"
# What some exports write before a key that a person chose.
_TAG_PREFIX = "user:"

_AWS = re.compile(r"(?:^|[/:])(i-[0-9a-f]{8,17})$", re.ASCII)
_OCI = re.compile(r"(?:^|/)(ocid1\.instance\.[a-z0-9._-]+)$", re.ASCII)
_GCE_PATH = re.compile(r"projects/([^/]+)/zones/([^/]+)/instances/([^/]+)$")
_GCE_NODE = re.compile(r"^gce://([^/]+)/([^/]+)/([^/]+)$")
_SCALE_SET = re.compile(
    r"^(/subscriptions/.+/virtualmachinescalesets/[^/]+)/virtualmachines/[^/]+$"
)
_AZURE = re.compile(r"(/subscriptions/.+/virtualmachine(?:s|scalesets)/.+)$")


class MatchedBy(StrEnum):
    """By what a row was found to be a node's, the surest first."""

    IDENTITY = "identity"
    SCALE_SET = "scale_set"
    NAME = "name"
    TAG = "tag"


class Unfound(StrEnum):
    """Why a row is no node's."""

    NO_RESOURCE = "no_resource"
    NO_NODE = "no_node"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Found:
    """The lives of the machine that a row is about, in order; none of them: ``reason`` says why.

    By `MatchedBy.SCALE_SET` they are those of several machines, of which the row is the sum.
    """

    lives: tuple[NodeLife, ...]
    by: MatchedBy | None = None
    reason: Unfound | None = None


@dataclass(frozen=True, slots=True)
class _Identity:
    """A machine's identity in one form for what nodes and bills say; ``kind`` '' is any other."""

    kind: str
    text: str


class NodeIndex:
    """All nodes that the ledger ever saw, by everything that a bill may call them."""

    def __init__(self, nodes: Iterable[NodeLife]) -> None:
        self._by_identity: dict[_Identity, list[NodeLife]] = {}
        self._by_scale_set: dict[_Identity, list[NodeLife]] = {}
        self._by_name: dict[str, list[NodeLife]] = {}
        self._clusters: set[str] = set()
        self._known: dict[tuple[object, ...], Found] = {}
        for node in sorted(nodes, key=lambda one: (one.created_ms, one.cluster, one.node_id)):
            self._clusters.add(node.cluster.casefold())
            if scale_set := _scale_set(node.provider_id):
                self._by_scale_set.setdefault(scale_set, []).append(node)
            if identity := _identity(node.provider_id):
                self._by_identity.setdefault(identity, []).append(node)
            for name in {node.name.casefold(), node.hostname.casefold()} - {""}:
                self._by_name.setdefault(name, []).append(node)

    def find(self, row: BillRow) -> Found:
        """Return the machine that a row is about.

        The identity in ResourceId counts for every service (a machine's traffic is the machine's).
        Names and tags count for rows of compute only, and not against another machine's identity.
        Nodes of one name in several clusters are told apart by a tag that names the cluster, if the
        ledger calls it so, too.
        """
        key = (row.resource_id, row.resource_name, row.tags, row.compute)
        if key not in self._known:
            self._known[key] = self._find(row)
        return self._known[key]

    def may_be_machine(self, row: BillRow) -> bool:
        """Say whether a row names a machine, known as a node or not, in its provider's form."""
        named = (_identity(text) for text in (row.resource_id, row.resource_name))
        return any(one and (one.kind or one in self._by_identity) for one in named)

    def _find(self, row: BillRow) -> Found:
        # Some providers give a number as ResourceId, and the path with the name as ResourceName.
        named = [_identity(text) for text in (row.resource_id, row.resource_name)]
        for identity in named:
            if identity and (lives := self._by_identity.get(identity)):
                return Found(tuple(lives), MatchedBy.IDENTITY)
            if identity and (lives := self._by_scale_set.get(identity)):
                return Found(tuple(lives), MatchedBy.SCALE_SET)
        if not row.compute:
            return Found((), reason=Unfound.NO_NODE if row.resource_id else Unfound.NO_RESOURCE)
        cluster = _cluster_of(row.tags)
        cluster = cluster if cluster in self._clusters else ""
        says_otherwise = {one for one in named if one and one.kind}
        for by, names in (
            (MatchedBy.NAME, (_last(row.resource_id), _last(row.resource_name))),
            (MatchedBy.TAG, tuple(_tag(row.tags, name) for name in NODE_TAGS)),
        ):
            lives = self._named(names, cluster, says_otherwise)
            if lives:
                alone = len({life.cluster for life in lives}) == 1
                return Found(tuple(lives), by) if alone else Found((), reason=Unfound.AMBIGUOUS)
        nothing = not (row.resource_id or row.resource_name)
        return Found((), reason=Unfound.NO_RESOURCE if nothing else Unfound.NO_NODE)

    def _named(
        self, names: Sequence[str], cluster: str, otherwise: set[_Identity]
    ) -> list[NodeLife]:
        for name in names:
            lives = [
                life
                for life in self._by_name.get(name, ())
                if not _is_another(life, otherwise)
                and (not cluster or cluster == life.cluster.casefold())
            ]
            if lives:
                return lives
        return []


def _identity(text: str) -> _Identity | None:
    """Return the identity that a providerID or a ResourceId gives, in one form for both."""
    folded = text.strip().casefold()
    if not folded:
        return None
    for kind, pattern in (("aws", _AWS), ("oci", _OCI), ("azure", _AZURE)):
        if found := pattern.search(folded):
            return _Identity(kind, found[1])
    if found := _GCE_NODE.match(folded) or _GCE_PATH.search(folded):
        return _Identity("gce", "/".join(found.groups()))
    _, _, rest = folded.rpartition("://")
    return _Identity("", rest.strip("/")) if rest.strip("/") else None


def _scale_set(provider_id: str) -> _Identity | None:
    """Return the identity of the scale set whose machine this is: bills name the set as a whole."""
    identity = _identity(provider_id)
    found = _SCALE_SET.match(identity.text) if identity else None
    return _Identity("azure", found[1]) if found else None


def _is_another(life: NodeLife, identities: set[_Identity]) -> bool:
    """Say whether the row names, in the same provider's form, another machine than the node's."""
    own = _identity(life.provider_id)
    return own is not None and any(one.kind == own.kind and one != own for one in identities)


def _last(text: str) -> str:
    return text.strip().rstrip("/").rpartition("/")[2].casefold()


def _tag(tags: Sequence[tuple[str, str]], name: str) -> str:
    for key, value in tags:
        if key.removeprefix(_TAG_PREFIX) == name:
            return value.casefold()
    return ""


def _cluster_of(tags: Sequence[tuple[str, str]]) -> str:
    for name in CLUSTER_TAGS:
        if value := _tag(tags, name):
            return value
    for key, _ in tags:
        name = key.removeprefix(_TAG_PREFIX)
        if name.startswith(CLUSTER_TAG_PREFIX):
            return name.removeprefix(CLUSTER_TAG_PREFIX).casefold()
    return ""
