"""Which node a provider's row is about, in the words of each provider."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.node_matching import MatchedBy, NodeIndex, Unfound
from app.attribution.provider_bills import BillRow, ChargeCategory, NodeLife

AZURE = (
    "/subscriptions/8d1c/resourceGroups/MC_gpu/providers/Microsoft.Compute"
    "/virtualMachineScaleSets/aks-gpu-vmss/virtualMachines/3"
)
OCI = "ocid1.instance.oc1.iad.anuwcljrx2"


def a_row(
    resource_id: str = "",
    resource_name: str = "",
    *,
    compute: bool = True,
    tags: Mapping[str, str] | None = None,
) -> BillRow:
    return BillRow(
        bill_id=1,
        number=1,
        start_ms=0,
        end_ms=1,
        category=ChargeCategory.USAGE,
        nanos=1,
        compute=compute,
        resource_id=resource_id,
        resource_name=resource_name,
        tags=tuple(sorted((tags or {}).items())),
    )


def a_node(
    name: str = "gpu-1", provider_id: str = "", *, cluster: str = "prod", hostname: str = ""
) -> NodeLife:
    return NodeLife(
        cluster_id=hash(cluster) & 0xFFFF,
        cluster=cluster,
        node_id=1,
        name=name,
        provider_id=provider_id,
        hostname=hostname,
    )


def by(row: BillRow, *nodes: NodeLife) -> MatchedBy | Unfound | None:
    found = NodeIndex(nodes).find(row)
    assert bool(found.lives) == (found.by is not None)
    return found.by or found.reason


@pytest.mark.parametrize(
    ("provider_id", "resource_id"),
    [
        ("aws:///us-east-1a/i-0abc12345def67890", "i-0abc12345def67890"),
        (
            "aws:///us-east-1a/i-0abc12345def67890",
            "arn:aws:ec2:us-east-1:123456789012:instance/i-0abc12345def67890",
        ),
        ("aws:///us-east-1a/i-0abc12345def67890", "I-0ABC12345DEF67890"),
        (
            "gce://ml-prod/us-central1-a/gke-gpu-1",
            "//compute.googleapis.com/projects/ml-prod/zones/us-central1-a/instances/gke-gpu-1",
        ),
        (
            "gce://ml-prod/us-central1-a/gke-gpu-1",
            "https://compute.googleapis.com/v1/projects/ml-prod/zones/us-central1-a/instances/gke-gpu-1",
        ),
        (f"azure://{AZURE}", AZURE.lower()),
        (f"azure://{AZURE}", f"https://management.azure.com{AZURE}"),
        (OCI, OCI.upper()),
        (f"oci://{OCI}", OCI),
        ("coreweave://g1a2b3", "g1a2b3"),
        ("kind://docker/prod/gpu-1", "docker/prod/gpu-1"),
    ],
)
def test_a_machine_is_found_by_its_identity(provider_id: str, resource_id: str) -> None:
    node = a_node("some-name", provider_id)

    assert by(a_row(resource_id), node) is MatchedBy.IDENTITY
    # What is the machine's own is its cost, whatever the service: its traffic, its address.
    assert by(a_row(resource_id, compute=False), node) is MatchedBy.IDENTITY


@pytest.mark.parametrize(
    ("provider_id", "resource_id"),
    [
        ("aws:///us-east-1a/i-0abc12345def67890", "i-0abc12345def67891"),
        ("aws:///us-east-1a/i-0abc12345def67890", "vol-0abc12345def67890"),
        ("gce://ml-prod/us-central1-a/gke-gpu-1", "projects/ml-prod/zones/us-east1-b/instances/x"),
        (f"azure://{AZURE}", AZURE.replace("/3", "/4")),
        ("", "i-0abc12345def67890"),
    ],
)
def test_another_machine_is_not_found(provider_id: str, resource_id: str) -> None:
    assert by(a_row(resource_id), a_node("some-name", provider_id)) is Unfound.NO_NODE


def test_a_row_of_a_scale_set_is_about_all_of_its_machines() -> None:
    nodes = [a_node(f"gpu-{n}", f"azure://{AZURE[:-1]}{n}") for n in (1, 2)]
    scale_set = AZURE.removesuffix("/virtualMachines/3").lower()

    found = NodeIndex(nodes).find(a_row(scale_set))

    assert found.by is MatchedBy.SCALE_SET
    assert [life.name for life in found.lives] == ["gpu-1", "gpu-2"]
    assert by(a_row(f"{scale_set}-2"), *nodes) is Unfound.NO_NODE


def test_a_name_counts_where_no_identity_speaks_against_it() -> None:
    node = a_node("gke-gpu-1", "gce://ml-prod/us-central1-a/gke-gpu-1")
    elsewhere = "projects/ml-prod/zones/us-east1-b/instances/gke-gpu-1"

    assert by(a_row("7241998234", "gke-gpu-1"), node) is MatchedBy.NAME
    assert by(a_row("GKE-GPU-1"), node) is MatchedBy.NAME
    assert by(a_row(elsewhere), node) is Unfound.NO_NODE
    assert by(a_row("gke-gpu-1", compute=False), node) is Unfound.NO_NODE
    assert by(a_row("ip-10-0-0-7"), a_node(hostname="ip-10-0-0-7")) is MatchedBy.NAME


def test_one_name_in_two_clusters_needs_the_clusters_tag() -> None:
    nodes = (a_node(cluster="prod"), a_node(cluster="test"))

    tagged = a_row("gpu-1", tags={"eks:cluster-name": "test", "team": "search"})
    owned = a_row("gpu-1", tags={"kubernetes.io/cluster/Prod": "owned"})
    unknown = a_row("gpu-1", tags={"eks:cluster-name": "elsewhere"})

    assert by(a_row("gpu-1"), *nodes) is Unfound.AMBIGUOUS
    assert by(unknown, *nodes) is Unfound.AMBIGUOUS
    assert [life.cluster for life in NodeIndex(nodes).find(tagged).lives] == ["test"]
    assert [life.cluster for life in NodeIndex(nodes).find(owned).lives] == ["prod"]


@pytest.mark.parametrize("tag", ["kubernetes.io/hostname", "user:kubernetes.io/node-name"])
def test_a_tag_with_the_nodes_name_is_the_last_resort(tag: str) -> None:
    row = a_row("eni-0abc", tags={tag: "gpu-1"})

    assert by(row, a_node()) is MatchedBy.TAG
    assert by(row, a_node("gpu-2")) is Unfound.NO_NODE
    assert by(a_row(), a_node()) is Unfound.NO_RESOURCE


def test_rows_that_may_ever_be_a_machines_are_known_without_any_node() -> None:
    index = NodeIndex([a_node(provider_id="coreweave://g1a2b3")])

    assert index.may_be_machine(a_row("i-0abc12345def67890", compute=False))
    assert index.may_be_machine(a_row("g1a2b3", compute=False))
    assert not index.may_be_machine(a_row("my-bucket", compute=False))
    assert not index.may_be_machine(a_row(compute=False))


@given(
    texts=st.lists(st.text(st.sampled_from("aiAI-0/:.%é "), max_size=24), min_size=2, max_size=2)
)
def test_no_text_finds_a_node_of_another_text(texts: list[str]) -> None:
    """Forms of one identity differ in case, slashes and escapes only; never in its signs."""
    node, resource = texts
    found = NodeIndex([a_node("", node)]).find(a_row(resource, compute=False))

    if found.lives:
        signs = ["".join(_signs(text)) for text in (node, resource)]
        assert signs[0].endswith(signs[1]) or signs[1].endswith(signs[0])


def _signs(text: str) -> list[str]:
    return [sign for sign in text.casefold() if sign not in "/: "]
