"""The rules of the house that a linter does not know; the layers themselves are lint-imports'."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import house
from tests.house import APP, ROOT, Find

PURE = ("units", "usage", "pricing", "attribution", "findings", "planning", "chargeback")
# Who may read the wall clock: the command line and the web, and the process that logs.
READS_THE_CLOCK = ("app/cli/", "app/web/", "app/cli.py", "app/telemetry.py")
# Where a document is still untyped: between the file and the model that parses it.
DOORS = ("app/settings.py",)
PURE_IMPORTS = {
    *("abc", "bisect", "collections", "csv", "dataclasses", "datetime", "decimal", "enum"),
    *("fnmatch", "fractions", "functools", "hashlib", "heapq", "io", "itertools", "json", "math"),
    *("operator", "re", "string", "textwrap", "tomllib", "types", "typing", "unicodedata"),
    *("statistics", "zoneinfo", "numpy", "pandas", "pandera", "scipy", "statsmodels"),
}
NO_CONCEPT = {"utils", "util", "helpers", "helper", "common", "core", "misc", "manager", "service"}
# Folders of tests without a package of the same name: the real parts, the oracle, the scenarios.
TESTS_ONLY = {"samples", "real", "oracle", "scenarios"}

APP_FILES = house.python_files(APP)
TEST_FILES = house.python_files(ROOT / "tests")
Finder = Callable[[str], Iterator[Find]]


def found(finder: Finder, files: list[Path], *, but: tuple[str, ...] = ()) -> list[str]:
    assert files
    return [
        f"{house.name_of(path)}:{find.line} {find.what}"
        for path in files
        if not house.name_of(path).startswith(but or ("-",))
        for find in finder(path.read_text(encoding="utf-8"))
    ]


def test_no_file_is_longer_than_the_limit() -> None:
    lengths = {
        house.name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*APP_FILES, *TEST_FILES]
    }

    assert {name: length for name, length in lengths.items() if length > house.FILE_LINES} == {}


def test_no_function_is_longer_than_the_limit() -> None:
    assert found(house.long_functions, [*APP_FILES, *TEST_FILES]) == []


def test_only_the_command_line_and_the_web_read_the_clock() -> None:
    assert found(house.clock_reads, APP_FILES, but=READS_THE_CLOCK) == []


def test_the_database_is_not_asked_for_the_time() -> None:
    assert found(house.sql_clock_reads, house.python_files(APP / "store")) == []


def test_no_mapping_holds_just_anything() -> None:
    assert found(house.loose_mappings, APP_FILES, but=DOORS) == []


def test_every_silencer_names_its_code_and_its_reason() -> None:
    # The finders' own tests hold planted ones.
    files = [path for path in [*APP_FILES, *TEST_FILES] if path.name != "test_house.py"]

    assert found(house.silencers, files) == []


def test_no_test_can_be_skipped_mocked_or_expected_to_fail() -> None:
    assert found(house.escapes, TEST_FILES) == []


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_imports_nothing_that_acts(package: str) -> None:
    below = {"app.errors", *(f"app.{name}" for name in PURE)}

    def foreign(source: str) -> Iterator[Find]:
        for find in house.imports(source):
            parts = find.what.split(".")
            if parts[0] not in PURE_IMPORTS and ".".join(parts[:2]) not in below:
                yield find

    files = house.python_files(APP / package)

    assert [line for line in found(foreign, [*files, APP / "errors.py"]) if line] == []


def test_every_pure_package_stands_in_the_contract_of_the_pure() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (pure,) = (
        contract
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract["id"] == "pure"
    )
    there = {f"app.{name}" for name in PURE if (APP / name / "__init__.py").exists()}

    assert set(pure["source_modules"]) == there | {"app.errors"}


def test_no_module_has_the_name_of_no_concept() -> None:
    names = {house.name_of(path) for path in APP_FILES if path.stem in NO_CONCEPT}

    assert names == set()


def test_the_tree_of_tests_mirrors_the_packages() -> None:
    packages = {path.parent.name for path in APP.glob("*/__init__.py")}
    folders = {
        path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.*"))
    } - TESTS_ONLY

    modules = {path.stem for path in APP.glob("*.py")}

    assert folders <= packages | modules
    assert packages - folders == set()


def test_the_main_module_only_calls_the_command_line() -> None:
    tree = ast.parse((APP / "__main__.py").read_text(encoding="utf-8"))
    code = [node for node in tree.body if not isinstance(node, ast.Expr)]
    modules = {node.module for node in code if isinstance(node, ast.ImportFrom)}

    assert modules == {"app.cli"}
    assert not [node for node in code if isinstance(node, ast.FunctionDef | ast.ClassDef)]


WATCHED_IMPORT = """
import importlib, os, pathlib, pkgutil, sys

import app

def watch(event, arguments):
    # The cron library of the job queue asks the system's `file` for the interpreter's word size.
    if event == "subprocess.Popen" and arguments[0] == "file":
        return
    if event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.system"}:
        raise AssertionError(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        # Byte code and the font caches of libraries are no business of ours.
        if "__pycache__" not in str(arguments[0]) and str(arguments[0]).startswith(os.getcwd()):
            raise AssertionError(f"{event} {arguments}")

sys.addaudithook(watch)
names = [module.name for module in pkgutil.walk_packages(app.__path__, "app.")]
for name in names:
    if name != "app.__main__":
        importlib.import_module(name)
print(len(names))
"""


def test_importing_opens_nothing_and_configures_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED_IMPORT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(APP_FILES) - 1  # app itself is imported before the watch


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout
