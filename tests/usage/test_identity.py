from app.usage import frames, identity
from app.usage.inventory import Workload
from app.usage.notes import Note, notes_frame


def test_each_concept_has_identities_of_its_own() -> None:
    same_name = [
        identity.cluster_id("a"),
        identity.gpu_model_id("a"),
        identity.namespace_id("a"),
        identity.model_id("a"),
        identity.team_id("a"),
    ]

    assert len(set(same_name)) == len(same_name)


def test_nothing_has_the_identity_zero() -> None:
    for recipe in (
        identity.gpu_model_id,
        identity.namespace_id,
        identity.model_id,
        identity.team_id,
    ):
        assert recipe("") == 0
        assert recipe("a") != 0


def test_every_part_of_a_key_matters() -> None:
    assert identity.node_id("a", "b") != identity.node_id("a", "c")
    assert identity.hold_id("a", "b", "c") != identity.hold_id("a", "bc", "")
    workloads = [
        Workload(namespace="n", kind="Job", name="x", uid="1"),
        Workload(namespace="n", kind="Job", name="x", uid="2"),
        Workload(namespace="n", kind="Pod", name="x", uid="1"),
    ]
    assert len({identity.workload_id("c", workload) for workload in workloads}) == 3


def test_notes_come_in_one_order_and_equal_ones_once() -> None:
    late, early = Note("b", "x", 1, "d"), Note("a", "x", 1, "d")

    frame = frames.NOTES.validate(notes_frame([late, early, late]))

    assert frame["kind"].tolist() == ["a", "b"]


def test_no_notes_are_an_empty_frame() -> None:
    assert frames.NOTES.validate(notes_frame([])).empty
