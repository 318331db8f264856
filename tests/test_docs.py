"""The documents say all that a user can set, call and meet; and what they point at exists."""

import re
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import click
import pytest
import typer
from pydantic import BaseModel

from app import cli
from app.attribution.charges import ChargeKind
from app.findings.advice import Weight
from app.findings.conformance import Indication
from app.findings.coverage import Measure
from app.settings import Settings
from app.sources.catalogue import load_catalogue
from app.usage.kinds import ActivityBasis, ActivityScope, UsageFlag
from tests.house import ROOT
from tests.metrics_page import PAGE, metrics_page

DOCUMENTS = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
]
OPERATIONS = ROOT / "docs" / "operations.md"
TERMS = ROOT / "docs" / "terms.md"
# Deployment differences that come from the environment only.
SECRETS = {"database_url", "slack_webhook_url", "slack_webhooks"}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = [
            part
            for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        if nested:
            yield from settings_of(nested[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_is_documented() -> None:
    rows = set(re.findall(r"^\| `([a-z_.]+)`", text_of(OPERATIONS), re.MULTILINE))
    names = set(settings_of(Settings))

    assert names - rows == set()
    assert {row for row in rows if "." in row or row in SECRETS} - names == set()


def test_every_secret_is_documented_by_its_variable() -> None:
    operations = text_of(OPERATIONS)

    assert {name for name in SECRETS if f"GPULEDGER_{name.upper()}" not in operations} == set()


def commands(command: click.Command, *words: str) -> Iterator[str]:
    """Yield the words of every command below this one."""
    # Typer brings a click of its own, so its groups are known by what they have.
    below_this = getattr(command, "commands", None)
    if below_this is None:
        yield " ".join(words)
        return
    for name, below in below_this.items():
        yield from commands(below, *words, name)


def test_every_command_is_documented() -> None:
    documented = set(re.findall(r"`gpuledger ([a-z -]+[a-z])", text_of(OPERATIONS)))
    (application,) = (value for value in vars(cli).values() if isinstance(value, typer.Typer))
    there = set(commands(typer.main.get_command(application)))

    assert len(there) > 10
    assert there - documented == set()
    unknown = {
        name
        for name in documented
        if not any(name == known or known.startswith(f"{name} ") for known in there)
    }
    assert unknown == set()


@pytest.mark.parametrize(
    "closed_set", [ChargeKind, ActivityBasis, ActivityScope, UsageFlag, Measure, Weight, Indication]
)
def test_every_member_of_a_closed_set_is_a_term(closed_set: type[Enum]) -> None:
    terms = text_of(TERMS)

    missing = [
        member.name
        for member in closed_set
        if f"`{member.name}`" not in terms and f"`{member.name.lower()}`" not in terms
    ]
    assert missing == []


def test_the_metrics_page_is_what_the_catalogue_says() -> None:
    assert text_of(PAGE) == metrics_page(load_catalogue()), "run `make docs`"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *groups["build"]]
    wanted += [entry for entry in groups["dev"] if isinstance(entry, str)]
    reasons = text_of(ROOT / "docs" / "decisions" / "0001-dependencies.md")
    rows = re.findall(r"^\| ([^|]+) \| [^|]{5,} \|$", reasons, re.MULTILINE)
    named = {name.strip() for row in rows for name in row.split(",")}

    bare = {re.split(r"[\[<>=]", entry, maxsplit=1)[0] for entry in wanted}
    assert bare - named == set()
    assert named - bare == set()


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(path))
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert broken == []


def test_every_file_that_the_documents_name_exists() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in DOCUMENTS
        for name in re.findall(
            r"`((?:app|deploy|docs|reports|tests)/[\w./-]+\.(?:py|toml|yaml|yml|md|csv))`",
            text_of(path),
        )
    }

    assert named
    assert {entry for entry in named if not (ROOT / entry[1]).exists()} == set()


def test_the_readme_shows_the_two_commands_and_no_placeholder() -> None:
    readme = text_of(ROOT / "README.md")

    assert re.search(r"^make demo$", readme, re.MULTILINE)
    assert re.search(r"^make test$", readme, re.MULTILINE)
    assert "<!-- demo output -->" not in readme
