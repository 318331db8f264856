"""The files under deploy/, the compose file and the Dockerfile fit one another and the code."""

import json
import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import load_settings
from app.sources.price_book import read_price_book
from app.sources.team_contract import read_team_contract
from tests.house import ROOT
from tests.real.prometheus import binary

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
PACKAGE = re.compile(r"^([a-z0-9][\w.-]*)==(\S+?)(?: ;.*)? ?\\?$", re.MULTILINE)


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(PACKAGE.findall((ROOT / name).read_text(encoding="utf-8")))


def test_the_compose_file_has_the_four_parts_and_their_migration() -> None:
    assert set(SERVICES) == {"postgres", "prometheus", "migrate", "api", "worker"}
    assert OURS == ["api", "migrate", "worker"]


def test_every_mounted_file_exists_and_is_read_only() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service["volumes"]]
    files = [mount.split(":") for mount in mounts if mount.startswith("./")]

    assert files
    assert [source for source, *_ in files if not (ROOT / source).exists()] == []
    assert [rest for _, _, *rest in files if rest != ["ro"]] == []


def test_named_volumes_are_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service["volumes"]]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}

    assert named == set(COMPOSE["volumes"])


def test_what_waits_for_health_waits_for_a_service_that_has_a_check() -> None:
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
    assert SERVICES["migrate"]["restart"] == "no"


@pytest.mark.parametrize("name", OURS)
def test_our_services_hold_no_secret_and_no_right(name: str) -> None:
    service = SERVICES[name]

    assert "POSTGRES_PASSWORD:?" in service["environment"]["GPULEDGER_DATABASE_URL"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_ports_are_published_on_the_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_image_runs_the_command_of_the_package_without_root() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]

    assert json.loads(instructions("ENTRYPOINT")[-1]) == list(PROJECT["project"]["scripts"])
    assert json.loads(instructions("CMD")[-1]) == SERVICES["api"]["command"]
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
    assert instructions("EXPOSE") == [SERVICES["api"]["command"][-1]]


def test_the_image_copies_only_what_exists_and_is_not_ignored() -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    sources = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in shlex.split(line)[:-1]
    ]

    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [s for s in sources if not any(fnmatch(s.removeprefix("./"), a) for a in allowed)] == []


def test_the_image_has_the_python_that_the_lock_was_resolved_for() -> None:
    bases = {base.split()[0] for base in instructions("FROM")}
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")

    assert bases == {f"python:{floor}-slim-bookworm"}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.image.lock"])
def test_a_lock_has_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

    assert len(packages) == len(locked(name)) > 50
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert not re.search(r"https?://|--index-url|file:", text)


def test_the_image_has_the_versions_of_the_lock_and_more_only_for_its_extras() -> None:
    image, full = locked("requirements.image.lock"), locked("requirements.lock")
    extras = [
        line for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines
    ]

    assert {name: image[name] for name in image.keys() & full.keys()}.items() <= full.items()
    assert {re.split(r"[<>=]", line, maxsplit=1)[0] for line in extras} <= set(image)
    assert {"pytest", "ruff", "mypy"} & set(image) == set()


def test_the_locks_hold_every_declared_package() -> None:
    def names(entries: list[str | dict[str, str]]) -> set[str]:
        texts = [entry for entry in entries if isinstance(entry, str)]
        return {re.split(r"[\[<>=]", text, maxsplit=1)[0] for text in texts}

    groups = PROJECT["dependency-groups"]
    run = names(PROJECT["project"]["dependencies"])

    assert (run | names(groups["build"])) - set(locked("requirements.image.lock")) == set()
    assert (run | names(groups["dev"])) - set(locked("requirements.lock")) == set()


def test_revisions_and_reports_travel_inside_the_package() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["sources"] == {"migrations": "app/_migrations", "reports": "app/_reports"}
    assert set(wheel["sources"]) < set(wheel["only-include"])


@pytest.mark.parametrize(
    "path", ["deploy/compose/gpuledger.toml", "deploy/examples/gpuledger.toml"]
)
def test_a_configuration_is_accepted(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GPULEDGER_CONFIG", "GPULEDGER_DATABASE_URL", "GPULEDGER_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)

    settings = load_settings(ROOT / path)

    assert settings.clusters


def test_the_example_price_book_is_accepted_in_the_currency_of_the_example() -> None:
    settings = load_settings(ROOT / "deploy" / "examples" / "gpuledger.toml")
    text = (ROOT / "deploy" / "examples" / "prices.csv").read_text(encoding="utf-8")

    rows = read_price_book(text, filename="prices.csv", billing_currency=settings.currency)

    assert len(rows) == len(text.splitlines()) - 1


def test_the_example_contract_is_accepted_and_names_configured_clusters() -> None:
    settings = load_settings(ROOT / "deploy" / "examples" / "gpuledger.toml")
    text = (ROOT / "deploy" / "examples" / "teams.yaml").read_text(encoding="utf-8")

    contract = read_team_contract(text, filename="teams.yaml")

    assert [team.name for team in contract.teams] == ["search", "research"]
    named = {cluster for team in contract.teams for cluster in team.clusters}
    assert named <= {cluster.name for cluster in settings.clusters}


def test_the_compose_configuration_points_at_the_compose_prometheus() -> None:
    settings = load_settings(ROOT / "deploy" / "compose" / "gpuledger.toml")
    scrapes = prometheus_config("deploy/compose/prometheus.yml")

    (cluster,) = settings.clusters
    assert cluster.prometheus.url == "http://prometheus:9090"
    interval = f"{cluster.prometheus.scrape_interval_seconds}s"
    assert scrapes["global"]["scrape_interval"] == interval


def prometheus_config(path: str) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def check_config(config: object, folder: Path) -> None:
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = subprocess.run(
        [binary("promtool"), "check", "config", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def test_the_scrapes_of_compose_are_accepted_with_their_targets(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    targets = SERVICES["prometheus"]["volumes"][1].split(":")
    here = text.replace(targets[1], str(ROOT / targets[0]))

    assert here != text
    check_config(yaml.safe_load(here), tmp_path)


def test_the_scrapes_for_a_cluster_are_accepted(tmp_path: Path) -> None:
    config = prometheus_config("deploy/prometheus/scrape-configs.yml")
    jobs = config["scrape_configs"]
    for job in jobs:
        # Debian's build leaves Kubernetes discovery out; the relabeling is checked all the same.
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["static_configs"] = [{"targets": ["127.0.0.1:1"]}]

    assert {job["job_name"] for job in jobs} == {"dcgm-exporter", "kube-state-metrics", "vllm"}
    check_config(config, tmp_path)


def test_the_cluster_role_only_looks() -> None:
    text = (ROOT / "deploy" / "kubernetes" / "rbac.yaml").read_text(encoding="utf-8")
    account, role, binding = yaml.safe_load_all(text)

    assert {verb for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch"}
    resources = {entry for rule in role["rules"] for entry in rule["resources"]}
    claims = {"resourceclaims", "resourceslices", "deviceclasses"}
    assert resources == {"pods", "nodes", "replicasets", "jobs", *claims}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [account["metadata"]["name"]]
