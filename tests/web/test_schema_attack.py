"""The interface against its own description, by generated requests."""

import json
import re

import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.web.application import create_app
from tests.web.fake_ledger import WRITE_KEY, a_dependencies, a_ledger

APP = create_app(a_dependencies(a_ledger()))
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)
# A description cannot say that an end comes after a start or that a window is whole hours, so that
# it takes for good what is refused.
UNSAYABLE = [positive_data_acceptance]


def test_it_is_described_in_openapi_3_1() -> None:
    assert APP.openapi()["openapi"].startswith("3.1")


def test_every_schema_that_is_referred_to_is_there() -> None:
    document = json.dumps(APP.openapi())

    named = set(re.findall(r"#/components/schemas/(\w+)", document))

    assert "Problem" in named
    assert named <= set(APP.openapi()["components"]["schemas"])


@schema.parametrize()
@settings(max_examples=15, derandomize=True)
def test_whatever_is_asked_is_answered_as_described(case: schemathesis.Case) -> None:
    headers = {"Authorization": f"Bearer {WRITE_KEY}"}

    case.call_and_validate(headers=headers, excluded_checks=UNSAYABLE)
