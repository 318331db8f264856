"""What the tests of two simulated days share: built once, since it takes most of a minute."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from app.store.engine import engine_of
from tests.real.two_days import TwoDays, two_days
from tests.store.postgres import another_database


@pytest.fixture(scope="session")
def two(
    postgres_server: URL, postgres_url: URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwoDays]:
    """Two days, collected twice and rated, in a database of their own.

    Modules that use it say so by the mark ``xdist_group("two days")``, so that one worker has them.
    """
    with another_database(postgres_server, postgres_url) as url:
        engine = engine_of(url)
        with two_days(tmp_path_factory.mktemp("two-days"), engine) as days:
            yield days
        engine.dispose()
