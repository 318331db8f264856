"""Without a watch, claims are only names: the pods that use them are named, nothing is guessed."""

from collections.abc import Iterator

from tests.sources.told_by_hand import Shown, a_node, a_pod, inventory_of


def a_claim_of(pod: str, claim: str, made: str) -> Iterator[Shown]:
    labels = {
        "namespace": "search",
        "pod": pod,
        "uid": f"uid-{pod}",
        "claim_name": claim,
        "resourceclaim_name": made,
        "resourceclaim_template_name": "one-gpu",
    }
    yield "kube_pod_resourceclaim_info", labels, 1.0


def test_a_pod_with_claims_is_named_with_their_number_and_holds_nothing() -> None:
    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=2)
        yield from a_pod("whole")
        yield from a_claim_of("train-0", "gpu", "train-0-gpu-x7")
        yield from a_claim_of("train-0", "net", "train-0-net-k2")

    inventory = inventory_of(show)

    notes = inventory.notes.loc[inventory.notes["kind"] == "claims_not_visible"]
    assert notes[["subject", "quantity"]].to_numpy().tolist() == [["search/train-0", 2]]
    assert notes["detail"].str.contains("Watch the Kubernetes API").all()
    assert {hold.pod for hold in inventory.holds} == {"whole"}


def test_where_nobody_uses_claims_nothing_is_said() -> None:
    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=2)
        yield from a_pod("whole")

    assert "claims_not_visible" not in {*inventory_of(show).notes["kind"]}
