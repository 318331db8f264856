"""Files reach folders and object stores whole, or not at all with one clear error."""

import json
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
import s3fs

from app.delivery.destinations import (
    Destination,
    DestinationAddressError,
    MissingDriverError,
    deliver,
)
from app.delivery.files import DestinationError
from tests.delivery.object_store import OPTIONS, breaking_store, running_s3

CONTENT = b"team,total_cost\r\nsearch,6.00\r\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture
def store(s3: str) -> s3fs.S3FileSystem:
    """The bucket `reports` and nothing in it."""
    urllib.request.urlopen(
        urllib.request.Request(f"{s3}/moto-api/reset", method="POST"), timeout=10
    ).close()
    found = s3fs.S3FileSystem(**OPTIONS, endpoint_url=s3, skip_instance_cache=True)
    found.mkdir("reports")
    return found


def a_bucket(endpoint: str, url: str = "s3://reports/gpu", seconds: float = 20) -> Destination:
    options = {**OPTIONS, "endpoint_url": endpoint}
    return Destination(url=url, options=options, timeout_seconds=seconds)


def test_a_folder_gets_the_file(tmp_path: Path) -> None:
    address = deliver(Destination(url=str(tmp_path / "out")), "week.csv", CONTENT)

    assert address == f"{tmp_path}/out/week.csv"
    assert (tmp_path / "out" / "week.csv").read_bytes() == CONTENT


def test_an_address_of_a_folder_is_a_folder(tmp_path: Path) -> None:
    deliver(Destination(url=f"file://{tmp_path}/out"), "week.csv", CONTENT)

    assert (tmp_path / "out" / "week.csv").read_bytes() == CONTENT


def test_s3_gets_the_file(s3: str, store: s3fs.S3FileSystem) -> None:
    address = deliver(a_bucket(s3), "week.csv", CONTENT)

    assert address == "s3://reports/gpu/week.csv"
    assert store.cat_file("reports/gpu/week.csv") == CONTENT


def test_s3_gets_the_next_file_in_place_of_the_first(s3: str, store: s3fs.S3FileSystem) -> None:
    deliver(a_bucket(s3), "week.csv", b"old and longer than the new one")

    deliver(a_bucket(s3), "week.csv", b"new")

    assert store.cat_file("reports/gpu/week.csv") == b"new"


def test_a_large_file_is_one_request_and_leaves_no_parts(s3: str, store: s3fs.S3FileSystem) -> None:
    # Twice the size above which the driver sends parts by itself.
    content = b"0123456789abcdef" * (13 * 2**19)
    deliver(a_bucket(s3, seconds=60), "large.parquet", content)

    found = store.info("reports/gpu/large.parquet")
    assert found["size"] == len(content)
    # An object of parts has their number in its tag.
    assert "-" not in found["ETag"]
    assert store.list_multipart_uploads("reports") == []


def test_a_bucket_that_is_not_there_is_an_error(s3: str, store: s3fs.S3FileSystem) -> None:
    assert store.ls("reports") == []

    with pytest.raises(DestinationError, match="no such bucket"):
        deliver(a_bucket(s3, "s3://nowhere/gpu"), "week.csv", CONTENT)


def test_missing_rights_are_an_error() -> None:
    with breaking_store(forbids=True) as refusing, pytest.raises(DestinationError) as caught:
        deliver(a_bucket(refusing.url), "week.csv", CONTENT)

    assert "may not be written" in caught.value.message
    assert "credentials" in caught.value.hint


def test_a_store_that_hangs_up_in_the_middle_is_an_error() -> None:
    with breaking_store() as breaking, pytest.raises(DestinationError) as caught:
        deliver(a_bucket(breaking.url), "week.csv", CONTENT * 10_000)

    assert "s3://reports/gpu/week.csv could not be written" in caught.value.message
    assert breaking.seen[0].startswith(b"PUT /reports/gpu/week.csv")
    assert "loopback" not in f"{caught.value.message} {caught.value.hint}"


def test_a_store_that_does_not_answer_is_an_error_in_time() -> None:
    with breaking_store(silent=True) as breaking, pytest.raises(DestinationError) as caught:
        deliver(a_bucket(breaking.url, seconds=0.5), "week.csv", CONTENT)

    assert "within 0.5 seconds" in caught.value.message


def test_a_store_that_was_stopped_is_an_error() -> None:
    with running_s3() as stopped:
        destination = a_bucket(stopped)

    with pytest.raises(DestinationError, match="could not be written"):
        deliver(destination, "week.csv", CONTENT)


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    destination = Destination(url=str(tmp_path))
    deliver(destination, "week.csv", CONTENT)

    with files_no_longer_than(1_000), pytest.raises(DestinationError, match="too large"):
        deliver(destination, "week.csv", CONTENT * 1_000)

    assert [path.name for path in tmp_path.iterdir()] == ["week.csv"]
    assert (tmp_path / "week.csv").read_bytes() == CONTENT


@contextmanager
def files_no_longer_than(count: int) -> Iterator[None]:
    """Let the system break off writing after so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_any_other_store_gets_the_file_by_its_driver() -> None:
    deliver(Destination(url="memory://reports"), "week.csv", CONTENT)

    assert fsspec.filesystem("memory").cat_file("/reports/week.csv") == CONTENT


@pytest.mark.parametrize(
    ("url", "extra", "driver"),
    [("gs://reports/gpu", "gcs", "gcsfs"), ("abfs://reports/gpu", "azure", "adlfs")],
)
def test_a_driver_that_is_not_installed_is_named(url: str, extra: str, driver: str) -> None:
    # In a process of its own, so that the test holds where the driver is installed as well.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_DRIVER, driver, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    message, hint = json.loads(done.stdout)
    assert f"What sends files to {url} is not installed" in message
    assert hint == f'Install it: pip install "gpuledger[{extra}]".'


WITHOUT_DRIVER = """
import json, sys
sys.modules[sys.argv[1]] = None
from app.delivery.destinations import Destination, MissingDriverError, deliver
try:
    deliver(Destination(url=sys.argv[2]), "week.csv", b"")
except MissingDriverError as error:
    print(json.dumps([error.message, error.hint]))
"""


def test_the_drivers_are_imported_only_when_they_are_used() -> None:
    check = "import app.wiring, sys; print({'s3fs', 'aiobotocore', 'botocore'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", check],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no address"),
        ("ftp://host/reports", "protocol 'ftp'"),
        ("http://host/reports", "protocol 'http'"),
        ("s3://", "names no bucket"),
        ("s3:///reports", "names no bucket"),
        ("gs://?x=1", "more than a path"),
        ("s3://key:secret@reports/gpu", "more than a path"),
        ("file://host/reports", "is no folder"),
        ("file:///", "is no folder"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(url: str, said: str) -> None:
    with pytest.raises(DestinationAddressError) as caught:
        Destination(url=url)

    assert said in caught.value.message
    assert "secret" not in caught.value.message
    assert caught.value.hint


def test_options_that_no_driver_knows_are_an_error() -> None:
    destination = Destination(url="s3://reports", options={"no_such_option": 1, "key": "k-1"})

    with pytest.raises(DestinationError) as caught:
        deliver(destination, "week.csv", CONTENT)

    assert not isinstance(caught.value, MissingDriverError)


def test_secrets_are_in_no_representation() -> None:
    destination = Destination(url="s3://reports", options={"secret": "hunter2"})

    assert "hunter2" not in repr(destination)
