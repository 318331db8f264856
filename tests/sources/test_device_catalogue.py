"""The catalogue files of hardware, how their labels are read, and how series become one."""

from collections import Counter

import numpy as np
import pytest

from app.sources.catalogue import Exporter, load_catalogue
from app.sources.device_harvest import DEVICE_MEANINGS, FALLBACK_MEANINGS, FALLBACKS, FINE
from app.sources.device_samples import Combined, combined, instants_once
from app.sources.labels import device_labels
from app.usage.activity import COARSE
from app.usage.kinds import ActivityBasis
from app.usage.samples import SampleSet
from tests.usage.builders import device_samples

# Figures are asked for beside what says whether a device was active.
FIGURES = {"sm_active", "dram_active"}


def exporter(name: str) -> Exporter:
    return next(one for one in load_catalogue().devices if one.name == name)


def test_a_name_is_one_exporters_alone_so_that_nothing_is_read_twice() -> None:
    names = Counter(
        alias.name
        for one in load_catalogue().devices
        for meaning in one.meanings
        for alias in meaning.aliases
    )

    assert [name for name, count in names.items() if count > 1] == []


def test_everything_in_the_files_is_read_and_everything_read_is_in_a_file() -> None:
    written = {meaning.name for one in load_catalogue().devices for meaning in one.meanings}

    assert written == {*DEVICE_MEANINGS, *FALLBACK_MEANINGS} | FIGURES


def test_every_basis_has_a_reading_and_coarse_ones_are_never_taken_of_divided_devices() -> None:
    readings = (*FINE, *FALLBACKS)

    told = {reading.basis for reading in readings} | {ActivityBasis.HAMI_CONTAINER}
    assert told == set(ActivityBasis) - {ActivityBasis.NONE}
    assert {reading.basis for reading in readings if reading.coarse} == set(COARSE)


@pytest.mark.parametrize(
    ("labels", "device"),
    [
        ({"gpu_uuid": "3dff74a1-0000", "gpu_id": "4", "hostname": "h"}, "3dff74a1-0000"),
        ({"gpu_uuid": "0000-00000000-0000", "gpu_id": "4", "hostname": "h"}, "h/4"),
        ({"gpu_uuid": "", "gpu_id": "0", "node": "n"}, "n/0"),
        ({"gpu_uuid": "NA", "gpu_id": "4"}, ""),
        ({"GPU_UUID": "3dff74a1-0000", "GPU_ID": "4", "HOSTNAME": "h"}, "3dff74a1-0000"),
    ],
)
def test_a_device_without_an_identity_is_called_by_host_and_number(
    labels: dict[str, str], device: str
) -> None:
    frame = device_labels([labels], exporter("amd-device-metrics-exporter"))

    assert frame["device"].tolist() == [device]


@pytest.mark.parametrize(("text", "instance"), [("0", "0"), ("11", "11"), ("NA", ""), ("", "")])
def test_a_part_may_be_number_zero(text: str, instance: str) -> None:
    labels = {"gpu_uuid": "a", "gpu_partition_id": text}

    frame = device_labels([labels], exporter("amd-device-metrics-exporter"))

    assert frame["instance"].tolist() == [instance]


@pytest.mark.parametrize(
    "labels",
    [
        {"podnamespace": "search", "podname": "web", "namespace": "kube-system", "pod": "hami-x"},
        {"namespace": "search", "pod": "web"},
        {"exported_namespace": "search", "exported_pod": "web", "pod": "hami-device-plugin-1"},
    ],
    ids=["legacy", "new", "the scraper's labels won"],
)
def test_hami_names_the_pod_that_shares_and_not_its_own(labels: dict[str, str]) -> None:
    frame = device_labels([{"device_uuid": "GPU-a", **labels}], exporter("hami"))

    assert (frame["namespace"].tolist(), frame["pod"].tolist()) == (["search"], ["web"])


def two_parts(first: list[tuple[int, float]], second: list[tuple[int, float]]) -> SampleSet:
    """Return two series of one device and pod, told apart by a label that is not the device's."""
    names = {"device": "GPU-a", "namespace": "search", "pod": "web"}
    return device_samples(
        ({**names, "series": '{"part":"0"}'}, first), ({**names, "series": '{"part":"1"}'}, second)
    )


@pytest.mark.parametrize(
    ("how", "values"),
    [
        (Combined.BUSIEST, [0.5, 0.75, 0.25]),
        (Combined.MEAN, [0.5, 0.625, 0.25]),
        (Combined.SUM, [0.5, 1.0, 0.25]),
    ],
)
def test_series_of_one_device_are_combined_by_instant(how: Combined, values: list[float]) -> None:
    one = combined(two_parts([(1, 0.5), (2, 0.5)], [(2, 0.75), (3, 0.25)]), how)

    assert len(one.labels) == 1
    assert one.first.tolist() == [0, 3]
    assert one.at_ms.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(one.value, values)


def test_a_second_scraper_keeps_its_series() -> None:
    names = {"device": "GPU-a"}
    samples = device_samples(
        ({**names, "series": '{"prometheus":"a"}'}, [(1, 0.5)]),
        ({**names, "series": '{"prometheus":"b"}'}, [(1, 0.5)]),
    )

    assert len(combined(samples, Combined.SUM).labels) == 2


def test_evidence_counts_a_device_once_an_instant_whoever_it_is_shown_to() -> None:
    pods = [
        ({"device": "GPU-a", "pod": pod, "identity": pod}, [(1, 0.5), (2, 0.5)])
        for pod in ("one", "two")
    ]
    copy = ({"device": "GPU-a", "pod": "one", "identity": "one", "series": "z"}, [(1, 0.5)])
    later = ({"device": "GPU-a", "pod": "x", "identity": "x"}, [(3, 0.5), (4, 0.5)])
    other = ({"device": "GPU-b"}, [(0, 0.1), (1, 0.1), (9, 0.1)])

    assert instants_once(device_samples(*pods, copy, later, other), 1, 4) == 3 + 1
