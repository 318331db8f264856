"""Real texts of exporters, engines and gateways, scraped by a real Prometheus.

They stand beside the repository and stay there; where they are not, nothing here is collected.
"""

from collections.abc import Iterator

import pytest

from tests.samples.places import SAMPLES
from tests.samples.scraping import Scraped, scraped, texts_of_targets

collect_ignore_glob = [] if SAMPLES.is_dir() else ["test_*.py"]


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Every text of the samples, scraped until its counters have doubled.

    Modules that use it say so by the mark ``xdist_group("samples")``, so that one worker has them.
    """
    with scraped(tmp_path_factory.mktemp("samples"), texts_of_targets()) as server:
        yield server
