"""Every kind of note that the code can make has advice, found by reading the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.findings.advice import ADVICE, Weight, advice_of
from tests.house import APP, ROOT, python_files

# Notes whose kind is not written where they are made: module and kinds, all written in it.
CHOSEN = {
    "app/attribution/rating_notes.py": set(),
    "app/usage/consumers.py": {"gateway_first_value", "gateway_carried"},
    "app/usage/services.py": {"counter_first_value", "counter_carried"},
    "app/usage/placing.py": {"hold_outside_pool", "hold_on_unknown_pool"},
    "app/usage/claims_allocated.py": {
        "claim_without_slice",
        "unknown_device_driver",
        "unknown_share",
    },
    "app/usage/published_models.py": {"lora_adapter"},
    "app/sources/kube_state_claims.py": set(),
    # Read back from the database.
    "app/store/windows.py": set(),
    "app/store/inventory.py": set(),
}
# Named by a constant of another module.
NAMED_ELSEWHERE = {"claims_not_visible"}


def made_notes(path: Path) -> Iterator[ast.expr | None]:
    """Yield the first argument of every Note that a module makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Note":
            yield node.args[0] if node.args else None


def written_and_chosen() -> tuple[set[str], set[str]]:
    written: set[str] = set()
    chosen: set[str] = set()
    for path in python_files(APP):
        for kind in made_notes(path):
            if isinstance(kind, ast.Constant):
                written.add(str(kind.value))
            else:
                chosen.add(path.relative_to(ROOT).as_posix())
    return written, chosen


def test_every_kind_that_the_code_writes_has_advice() -> None:
    written, _ = written_and_chosen()

    assert len(written) > 20
    assert written - ADVICE.keys() == set()


def test_every_kind_that_the_code_chooses_has_advice() -> None:
    _, chosen = written_and_chosen()

    assert chosen - CHOSEN.keys() == set()
    assert set().union(*CHOSEN.values(), NAMED_ELSEWHERE) - ADVICE.keys() == set()
    for name, kinds in CHOSEN.items():
        source = (ROOT / name).read_text(encoding="utf-8")
        assert {kind for kind in kinds if f'"{kind}"' not in source} == set()


def test_no_advice_is_for_a_kind_that_nobody_makes() -> None:
    written, _ = written_and_chosen()
    holes = (APP / "findings" / "holes.py").read_text(encoding="utf-8")
    made = written.union(*CHOSEN.values(), NAMED_ELSEWHERE, re.findall(r'"(\w+)"', holes))

    assert ADVICE.keys() - made == set()


@pytest.mark.parametrize("kind", sorted(ADVICE))
def test_advice_names_something_to_do_unless_nothing_is_wrong(kind: str) -> None:
    advice = advice_of(kind)

    nothing = advice.todo.startswith("Nothing")
    assert advice.todo.endswith(".")
    assert not (nothing and advice.weight is Weight.MISSING)


def test_files_and_settings_that_advice_names_exist() -> None:
    texts = " ".join(advice.todo for advice in ADVICE.values())
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

    files = re.findall(r"\b(?:deploy|docs)/[\w./-]+\.(?:md|yaml)", texts)
    settings = re.findall(r"\b(?:clusters|models|kubernetes)\.[a-z_]+(?:\.[a-z_]+)?", texts)
    commands = re.findall(r"`(gpuledger [a-z]+(?: [a-z]+)?)", texts)

    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert [name for name in settings if name not in operations] == []
    assert [name for name in commands if name not in operations] == []


def test_a_kind_without_advice_is_still_a_hole() -> None:
    assert advice_of("something else").weight is Weight.DOUBTFUL
