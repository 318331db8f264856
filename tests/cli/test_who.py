"""Who does something, where the login has a name and where it has none."""

import pytest

from app.cli.arguments import ArgumentError, author_of, who


def ada() -> str:
    return "ada"


def nameless() -> str:
    """A container that runs under a number that no user has."""
    message = "getpwuid(): uid not found: 65532"
    raise KeyError(message)


def test_who_is_named_counts_and_else_the_login() -> None:
    names = (
        who(" grace ", login=ada),
        who("  ", login=ada),
        author_of("", ada),
        author_of("grace", ada),
    )

    assert names == ("grace", "ada", "ada", "grace")


def test_a_login_without_a_name_is_refused_only_where_one_is_kept() -> None:
    assert author_of("", nameless) == ""
    assert who("ada", option="--by", login=nameless) == "ada"
    with pytest.raises(ArgumentError, match="has no name") as closing:
        who("", option="--by", login=nameless)
    with pytest.raises(ArgumentError) as deciding:
        who(login=nameless)

    assert closing.value.hint == "Give --by, or set USER."
    assert deciding.value.hint == "Set the environment variable USER."
