"""Names of models in the configuration: read into entries, refused where they contradict."""

from pathlib import Path

import pytest

from app.settings import SettingsError, load_settings
from app.usage.models import ModelEntry
from app.wiring.clients import collect_from

CLUSTER = '[[clusters]]\nname = "prod"\nprometheus = { url = "http://prometheus:9090" }\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "gpuledger.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_configured_names_are_what_a_collection_joins_by(tmp_path: Path) -> None:
    models = '[[models]]\nname = "llama"\naliases = ["meta/l3", "/m/l3"]\nadapters = ["sql"]\n'
    settings = load_settings(written(tmp_path, CLUSTER + models))

    given = collect_from(settings.cluster("prod"), settings.models)

    assert given.models == (
        ModelEntry(name="llama", aliases=("meta/l3", "/m/l3"), adapters=("sql",)),
    )


def test_a_name_may_stand_twice_in_one_block(tmp_path: Path) -> None:
    models = '[[models]]\nname = "llama"\naliases = ["llama"]\nadapters = ["llama"]\n'

    assert len(load_settings(written(tmp_path, models)).models) == 1


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (
            '[[models]]\nname = "a"\n[[models]]\nname = "b"\naliases = ["a"]\n',
            "'a' is a name of two models",
        ),
        ('[[models]]\nname = ""\n', "models.0.name"),
        ('[[models]]\nname = "a"\naliases = ["two\\nlines"]\n', "models.0.aliases.0"),
        ('[[models]]\naliases = ["a"]\n', "models.0.name"),
    ],
)
def test_names_that_contradict_are_refused(tmp_path: Path, models: str, reason: str) -> None:
    with pytest.raises(SettingsError, match="is refused") as failure:
        load_settings(written(tmp_path, models))

    assert reason in str(failure.value)
