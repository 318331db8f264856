"""What was read of kube-state-metrics' own texts, scraped by a real Prometheus."""

from fractions import Fraction

import pytest

from app.sources.catalogue import load_catalogue
from app.sources.kube_state import kube_state_inventory
from app.usage.holds import pool_counts_of
from app.usage.kinds import HoldSource
from tests.samples.expected_kube_state import KUBE_STATE
from tests.samples.scraping import SCRAPE_MS, Scraped

pytestmark = pytest.mark.xdist_group("samples")

_ALWAYS = frozenset({"query", "alias", "missing_family", "partial"})
# 2017-07-14T02:40:00Z, when everything in these texts was created.
CREATED_MS = 1_500_000_000_000


@pytest.mark.parametrize("name", sorted(KUBE_STATE))
def test_an_inventory_is_what_the_text_says(name: str, prometheus: Scraped) -> None:
    expected = KUBE_STATE[name]

    found = kube_state_inventory(
        prometheus.only(name), load_catalogue(), prometheus.window, scrape_ms=SCRAPE_MS
    )

    notes = list(zip(found.notes["kind"], found.notes["subject"], strict=True))
    assert {
        span.node.name: {
            count.gpu_model: (count.devices, count.allocatable)
            for count in pool_counts_of(span.node)[0]
        }
        for span in found.nodes
    } == expected.nodes
    assert {
        f"{hold.namespace}/{hold.pod}": (
            hold.node_name,
            hold.resource,
            Fraction(hold.share_num, hold.share_den),
        )
        for hold in found.holds
    } == expected.holds
    assert {
        key: quantity
        for key, quantity in zip(notes, found.notes["quantity"], strict=True)
        if key[0] not in _ALWAYS
    } == expected.notes
    assert {subject for kind, subject in notes if kind == "partial"} == expected.lacking
    assert found.partial


def test_a_node_and_a_pod_begin_when_they_were_created(prometheus: Scraped) -> None:
    texts = ("ksm_node_capacity_allocatable_nvidia", "ksm_pods_full_server_test")
    node, pod = (
        kube_state_inventory(
            prometheus.only(name), load_catalogue(), prometheus.window, scrape_ms=SCRAPE_MS
        )
        for name in texts
    )

    assert [span.start_ms for span in node.nodes] == [CREATED_MS]
    (hold,) = pod.holds
    # When it was bound is not in the text: some time between its creation and the first scrape.
    assert hold.start_ms == CREATED_MS
    assert hold.start_ms + hold.start_unsure_ms >= prometheus.window.start_ms
    assert hold.pod_uid == "abc-0"
    assert hold.source is HoldSource.KUBE_STATE_METRICS
    assert hold.workload.kind == "Pod"
