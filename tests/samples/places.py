"""Where the samples stand, and which of them are which."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT.parent / "shared" / "samples"


def expositions() -> dict[str, str]:
    """Return the text of each exposition by its name without the ending, also what is cut."""
    files = [*SAMPLES.glob("*.prom"), *SAMPLES.glob("*.txt")]
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(files)}
