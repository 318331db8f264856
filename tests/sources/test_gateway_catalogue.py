"""The files of gateways, and what is refused in one's own."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import SettingsError, load_settings
from app.sources.catalogue.gateway_files import (
    GATEWAYS,
    QUANTITIES,
    GatewayFile,
    gateway_of,
    load_gateways,
    read_gateway,
)

OWN = {
    "gateway": "mine",
    "labels": {"team": ["tenant"], "model": ["model"]},
    "quantities": [{"name": "generation_tokens", "series": [{"name": "mine_tokens_total"}]}],
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_shipped_file_tells_who_which_model_and_how_many(name: str) -> None:
    parsed = read_gateway(name)
    gateway = gateway_of(parsed)

    assert gateway.name == name
    assert {"prompt_tokens", "generation_tokens"} <= {*gateway.quantities()} <= {*QUANTITIES}
    assert {"team", "key_alias"} & {field for field, _ in gateway.fields}
    assert "model" in dict(gateway.fields)
    assert all(one.reason.endswith(".") for one in parsed.quantities)


def test_no_file_reads_a_sum_of_prompt_and_generation() -> None:
    for gateway in load_gateways():
        for meaning in gateway.exporter.meanings:
            for alias in meaning.aliases:
                assert "total_tokens" not in alias.name
                assert "spend" not in alias.name
                assert not {"total", "total_tokens"} & {v for _, vs in alias.where for v in vs}


def test_one_s_own_comes_before_what_is_shipped_and_a_change_keeps_its_place() -> None:
    own = GatewayFile.model_validate(OWN)
    changed = GatewayFile.model_validate({"gateway": "kong", "labels": {"team": ["workspace"]}})

    gateways = load_gateways((own, changed))

    assert [gateway.name for gateway in gateways] == ["mine", *GATEWAYS]
    kong = dict(next(gateway for gateway in gateways if gateway.name == "kong").fields)
    assert (kong["team"], kong["key_alias"]) == (("workspace",), ("consumer",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gateway": "my gateway"}, "is no name"),
        ({"labels": {"person": ["who"]}}, "is no field of a gateway"),
        ({"labels": {"team": ["a b"]}}, "is no name of a label"),
        ({"quantities": []}, "counts no generation_tokens"),
        ({"quantities": OWN["quantities"] * 2}, "twice"),  # type: ignore[operator]  # a list
        ({"quantities": [{"name": "total_tokens", "series": [{"name": "x"}]}]}, "gateways count"),
        ({"quantities": [{"name": "requests", "series": []}]}, "at least 1 item"),
        ({"quantities": [{"name": "requests", "series": [{"name": "a{b}"}]}]}, "is no name"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        GatewayFile.model_validate({**OWN, **change})


def test_the_configuration_says_where_a_wrong_entry_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPULEDGER_CONFIG", raising=False)
    path = tmp_path / "gpuledger.toml"
    path.write_text(
        'currency = "USD"\n\n[[gateways]]\ngateway = "kong"\nlabels = { who = ["x"] }\n'
    )

    with pytest.raises(SettingsError, match=r"gateways\.0\.labels.*line 5.*no field of a gateway"):
        load_settings(path)
