"""What the tests of the house look for in source files: each finder takes text and says where."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"

FILE_LINES = 400
FUNCTION_LINES = 60

# Wall clocks by the name they are called by; each end is also found behind an alias of its module.
CLOCKS = (
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "Timestamp.now",
    "Timestamp.today",
    "Timestamp.utcnow",
)
SQL_CLOCK = re.compile(
    r"\b(now\(\)|current_timestamp|current_date|localtimestamp|clock_timestamp\(|"
    r"statement_timestamp\(|transaction_timestamp\()",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Find:
    """One place in one file."""

    line: int
    what: str


def python_files(*folders: Path) -> list[Path]:
    """Return every Python file under the folders, in order."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the path as seen from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of an attribute chain; '' for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def long_functions(source: str) -> Iterator[Find]:
    """Find functions above the limit, decorators not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                yield Find(node.lineno, f"{node.name} has {length} lines")


def clock_reads(source: str) -> Iterator[Find]:
    """Find readings of the wall clock, called or passed on, however they were imported."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = dotted(node)
            if any(chain == clock or chain.endswith(f".{clock}") for clock in CLOCKS):
                yield Find(node.lineno, chain)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if f"time.{alias.name}" in CLOCKS:
                    yield Find(node.lineno, f"from time import {alias.name}")


def sql_clock_reads(source: str) -> Iterator[Find]:
    """Find SQL that reads the server's clock, and SQLAlchemy's functions for it."""
    tree = ast.parse(source)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = SQL_CLOCK.search(node.value)
            if found and id(node) not in documentation:
                yield Find(node.lineno, found.group(0))
        elif isinstance(node, ast.Attribute) and SQL_CLOCK.fullmatch(f"{node.attr}()"):
            yield Find(node.lineno, dotted(node))


def loose_mappings(source: str) -> Iterator[Find]:
    """Find ``dict[str, Any]`` and ``Mapping[str, Any]``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
            continue
        head = dotted(node.value).rsplit(".", 1)[-1]
        values = [dotted(entry).rsplit(".", 1)[-1] for entry in node.slice.elts]
        if head in {"dict", "Dict", "Mapping", "MutableMapping"} and values[-1] == "Any":
            yield Find(node.lineno, f"{head}[{', '.join(values)}]")


def imports(source: str) -> Iterator[Find]:
    """Find every module that is imported, by its full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Find(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield Find(node.lineno, node.module)


# The codes, then anything that has a word in it.
NOQA_WITH_REASON = re.compile(r":\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*\b.*[A-Za-z]{3}")
IGNORE_WITH_REASON = re.compile(r"\[[a-z-]+(,\s*[a-z-]+)*\].*[A-Za-z]{3}")


def silencers(source: str) -> Iterator[Find]:
    """Find ``noqa`` and ``type: ignore`` that name no code or give no reason."""
    for number, line in enumerate(source.splitlines(), start=1):
        noqa = re.search(r"#\s*noqa\b(.*)", line)
        ignore = re.search(r"#\s*type:\s*ignore(.*)", line)
        # Of two silencers on a line, one reason at the end speaks for both.
        unnamed = (noqa and not NOQA_WITH_REASON.match(noqa[1])) or (
            ignore and not IGNORE_WITH_REASON.match(ignore[1])
        )
        if unnamed:
            yield Find(number, line.strip())


def escapes(source: str) -> Iterator[Find]:
    """Find what makes a test vacuous: skips, expected failures, mocks, patches of our own code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or ""
            if "mock" in {*module.split("."), *names}:
                yield Find(node.lineno, "mock")
        elif isinstance(node, ast.Attribute):
            chain = dotted(node)
            if re.fullmatch(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)", chain):
                yield Find(node.lineno, chain)
            if re.fullmatch(r"\w*monkeypatch\.(setattr|delattr|setitem)", chain):
                yield Find(node.lineno, chain)
