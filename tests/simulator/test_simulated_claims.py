"""The simulated resource.k8s.io: lists, watches and versions of claims, slices and classes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from kubernetes import client

from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from tests.simulator.mixed import BY_CLAIMS, mixed_fleet
from tests.simulator.small import MINUTE_MS, small_fleet

GROUP = "/apis/resource.k8s.io"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return mixed_fleet(modes=BY_CLAIMS)


@pytest.fixture
def clock(fleet: Fleet) -> VirtualClock:
    return VirtualClock(fleet.spec.start_ms)


@pytest.fixture
def server(fleet: Fleet, clock: VirtualClock) -> Iterator[SimulatedKubernetes]:
    versions = ("v1", "v1beta2", "v1beta1")
    with SimulatedKubernetes(fleet, clock, dra_versions=versions) as server:
        yield server


def _get(server: SimulatedKubernetes, path: str, **form: str) -> requests.Response:
    return requests.get(f"{server.url}{path}", params=form, timeout=10)


def _items(server: SimulatedKubernetes, path: str) -> list[Any]:
    return _get(server, f"{GROUP}/{path}").json()["items"]


def test_the_official_client_reads_claims_slices_and_classes(
    server: SimulatedKubernetes, fleet: Fleet
) -> None:
    configuration = client.Configuration()
    configuration.host = server.url
    api = client.ResourceV1Api(client.ApiClient(configuration))

    claims = api.list_resource_claim_for_all_namespaces().items
    slices = api.list_resource_slice().items
    classes = api.list_device_class().items

    at_ms = fleet.spec.start_ms
    there = [one for one in fleet.claims if one.created_ms <= at_ms < one.deleted_ms]
    assert sorted(one.metadata.uid for one in claims) == sorted(one.uid for one in there)
    assert any(one.status.allocation for one in claims)
    assert {one.spec.driver for one in slices} == {"gpu.nvidia.com"}
    assert len(slices) == 4  # a node with partitions has two
    assert [one.metadata.name for one in classes] == ["gpu.nvidia.com", "mig.nvidia.com"]


def test_the_group_tells_its_versions(server: SimulatedKubernetes) -> None:
    group = _get(server, f"{GROUP}/").json()

    assert [one["version"] for one in group["versions"]] == ["v1", "v1beta2", "v1beta1"]
    assert group["preferredVersion"]["version"] == "v1"


def test_a_fleet_without_claims_serves_no_such_group(clock: VirtualClock) -> None:
    with SimulatedKubernetes(small_fleet(), clock) as server:
        assert _get(server, GROUP).status_code == 404
        assert _get(server, f"{GROUP}/v1/resourceclaims").status_code == 404


def test_a_version_that_is_not_served_is_not_found(server: SimulatedKubernetes) -> None:
    server.dra_versions = ("v1beta1",)

    assert _get(server, f"{GROUP}/v1/resourceclaims").status_code == 404
    assert _get(server, f"{GROUP}/v1beta1/resourceclaims").status_code == 200


def test_the_first_beta_has_fields_elsewhere(server: SimulatedKubernetes) -> None:
    (claim, *_) = _items(server, "v1/resourceclaims")
    (early, *_) = _items(server, "v1beta1/resourceclaims")
    slices = [_items(server, f"{version}/resourceslices") for version in ("v1", "v1beta1")]

    name, asked = claim["spec"]["devices"]["requests"][0].values()
    assert early["spec"]["devices"]["requests"][0] == {"name": name, **asked}
    device, before = (one[0]["spec"]["devices"][0] for one in slices)
    assert before == {"name": device.pop("name"), "basic": device}
    assert early["status"] == claim["status"]


def test_a_list_and_the_events_after_it_give_the_later_list(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    body = _get(server, f"{GROUP}/v1/resourceclaims").json()
    objects = {item["metadata"]["uid"]: item for item in body["items"]}
    version = body["metadata"]["resourceVersion"]
    kinds = set()
    for _ in range(9):
        clock.advance(MINUTE_MS)
        form = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "0.05"}
        text = _get(server, f"{GROUP}/v1/resourceclaims", allowWatchBookmarks="true", **form).text
        for event in map(json.loads, text.splitlines()):
            kinds.add(event["type"])
            version = event["object"]["metadata"]["resourceVersion"]
            assert event["object"]["kind"] == "ResourceClaim"
            if event["type"] == "DELETED":
                del objects[event["object"]["metadata"]["uid"]]
            elif event["type"] != "BOOKMARK":
                objects[event["object"]["metadata"]["uid"]] = event["object"]

    later = {item["metadata"]["uid"]: item for item in _items(server, "v1/resourceclaims")}
    shown = {
        uid: {k: v for k, v in item.items() if k not in ("kind", "apiVersion")}
        for uid, item in objects.items()
    }
    assert shown == later
    assert kinds == {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}


def test_claims_of_every_form_are_there(fleet: Fleet) -> None:
    admin = [claim for claim in fleet.claims if all(one.admin for one in claim.results)]
    shared = [claim for claim in fleet.claims if len(claim.reservations) > 1]
    extended = [claim for claim in fleet.claims if claim.extended]
    parted = [claim for claim in fleet.claims if claim.results[0].profile]
    consuming = [claim for claim in fleet.claims if claim.results[0].share_id]

    assert all((admin, shared, extended, parted, consuming))
    assert all(claim.parts(user.pod_uid) == () for claim in admin for user in claim.reservations)
    held = {hold.pod_uid for hold in fleet.truth.holds}
    assert not held & {user.pod_uid for claim in admin for user in claim.reservations}


def test_sharers_of_a_claim_have_equal_parts_that_are_the_claim(fleet: Fleet) -> None:
    met = 0
    for claim in fleet.claims:
        devices = sum(one.share for one in claim.results if not one.admin)
        for at_ms in claim.changes():
            users = claim.reserved_at(at_ms)
            if claim.allocated_at(at_ms) is None or not devices:
                continue
            parts = [
                part.share
                for uid in [user.pod_uid for user in users] or [""]
                for part in claim.parts(uid)
                if part.start_ms <= at_ms < part.end_ms
            ]
            assert sum(parts) == devices
            assert len(set(parts)) == 1
            met += len(users) > 1
    assert met
