"""`focus-validator`, in the environment that `make test-parts` gives it, and its verdict on a file.

Its exit code is 0 whatever it finds, so its lines are read. Run as a module it mends a fresh
installation: one f-string in it has a backslash, which Python 3.11 refuses.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.house import ROOT

ENVIRONMENT = ROOT / "var" / "focus-validator"
# Where the rules of 1.3 are, on machines that have them; the package brings those of 1.2.
RULES_1_3 = ROOT.parent / "shared" / "data" / "focus-rules-1.3"
_TIMEOUT_SECONDS = 300
_TOTAL = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)$", re.MULTILINE)
_FAILED = re.compile(r"^\S+ (\S+): FAIL\b", re.MULTILINE)
_BACKSLASH = """f"'{k.replace('\\"', '\\"\\"')}'" for k"""
_MENDED = """"'" + k.replace('"', '""') + "'" for k"""

# Whatever a platform of this kind supports. Not claimed: commitment discounts and capacity
# reservations (the statement view has none, and the packaged rules refuse every row without one),
# prices in other or virtual currencies (all is in the billing currency), contract commitments.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "AVAILABILITY_ZONE_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)
SPLIT_CRITERION = "DATA_GENERATOR_SPLIT_COST_ALLOCATION_SUPPORTED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many rules were checked and passed, and which failed."""

    passed: int
    failed: frozenset[str]


def validate(file: Path, spec: str, criteria: Sequence[str] = CRITERIA) -> Verdict:
    """Return what the validator says of a file, with every criterion claimed that is given."""
    python = ENVIRONMENT / "bin" / "python"
    assert python.exists(), f"{ENVIRONMENT} is missing: run `make test-parts`."
    (packages,) = (ENVIRONMENT / "lib").glob("python3*/site-packages")
    rules = [] if spec == "1.2" else ["--rule-set-path", str(RULES_1_3)]
    run = subprocess.run(
        [
            *(str(python), "-m", "focus_validator.main", "--block-download"),
            *("--data-file", str(file.resolve()), "--validate-version", spec),
            *("--applicability-criteria", ",".join(criteria), *rules),
        ],
        # It opens its list of currencies by a relative path.
        cwd=packages,
        env={"PATH": os.environ["PATH"], "LOG_LEVEL": "ERROR", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    total = _TOTAL.search(run.stdout)
    assert total is not None, (run.stdout + run.stderr)[-3000:]
    failed = frozenset(_FAILED.findall(run.stdout))
    assert len(failed) == int(total[3])
    return Verdict(int(total[2]), failed)


def mend(environment: Path) -> None:
    """Write the f-string so that Python 3.11 reads it, too; twice is once."""
    (packages,) = (environment / "lib").glob("python3*/site-packages")
    path = packages / "focus_validator" / "config_objects" / "focus_to_duckdb_converter.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(_BACKSLASH, _MENDED), encoding="utf-8")


if __name__ == "__main__":
    mend(Path(sys.argv[1]))
