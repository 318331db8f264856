"""The page of figures: docs/benchmarks.md."""

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.measuring import Measured, median_seconds
from benchmarks.results import Asking, Collecting, Finance, Line, Rating, Sharing
from benchmarks.scale import Scale

_HEAD = """\
# Benchmarks

Written by `make bench` (`{command}`). Every ratio compares two things measured in one run, in turn,
each in a process of its own, and is the ratio of their medians. Absolute times are those of this
machine; the ratios travel better. Load average: {load_before} before the run, {load_after} after.
"""
_COLLECTING = """\
## Collecting an hour

The fleet is simulated: {gpus:,} GPUs on {nodes:,} nodes with {holds:,} holds in the hour, scraped
every 30 s. Its history lies in a real Prometheus, its inventory in the ledger, put there by the
watch. Compared is what no collector can avoid: the same {questions} questions, asked over HTTP with
`Accept-Encoding: identity`, their {mib:,.0f} MiB decoded with orjson while the garbage collector is
off, and the {rows:,} rows that come of them copied into the same tables. The collection begins
without stored facts of the hour; both begin without a connection.
"""
_RATING = """\
## Rating a month

The hour's facts are stored {hours:,} times over, through the store, with pods that follow one
another ({holds:,} in all) and other activity each time; {teams} teams own {spaces} namespaces, and
one price changes within an hour. Compared is what no rating can avoid: day by day, the columns it
reads of {pool_rows:,} pool rows and {hold_rows:,} hold rows copied out, and its {charges:,} charges
copied into the same table with the same indexes, both in the binary format. The rollup by day, the
checks and the notes are the rating's own time.
"""
_SHARING = """\
## Sharing devices

Of as many nodes half share their devices, as many in each way as in any other: MIG instances, slots
of time-slicing and MPS, fractions by HAMi, KAI and AWS, claims of every form, and devices of other
vendors. There are {holds:,} holds in the hour. Compared is the same work for the fleet of whole
GPUs: the hour collected, and the month rated that is made of it.
"""
_ASKING = """\
## Asking for its costs

`gpuledger serve` is asked over loopback with an API key, {count} times in a row on one connection
after a few that do not count. JSON answers have 1,000 rows a page; the sums are over all rows.
"""
_FINANCE = """\
## Closing its month

The weekly chargeback is made from the ledger as a CSV of {lines:,} rows. The export is the first
day's lines by the hour as FOCUS 1.3, statement view: read, made and written, {rows:,} rows.
Compared is `csv.writer` with the same rows, which lie in memory. The month is then closed, with
all that is in its way accepted: {statements:,} statements and the pins of every hour. Then it is
rated again by the last inputs and compared line by line, as a correction is before it is posted;
nothing is stored. A rating stores what it makes.
"""


def page(  # noqa: PLR0913 # every one is a part of the page
    *,
    command: str,
    loads: tuple[str, str],
    machine: Sequence[tuple[str, str]],
    collecting: Collecting,
    rating: Rating,
    sharing: Sharing,
    asking: Asking,
    finance: Finance,
    scale: Scale,
) -> str:
    """Return the whole page as Markdown."""
    lines = [*collecting.lines(), *rating.lines(), *sharing.lines(), *asking.lines()]
    lines += finance.lines()
    recorded = collecting.recorded
    count = len(asking.served[0][2].seconds)
    return "\n".join(
        [
            _HEAD.format(command=command, load_before=loads[0], load_after=loads[1]),
            *_table(("", "took", "compared with", "figure", "target", "met"), map(_cells, lines)),
            "",
            _COLLECTING.format(
                gpus=collecting.gpus,
                nodes=scale.nodes,
                holds=recorded.collected.holds,
                questions=len(recorded.asked),
                mib=collecting.body_bytes / 2**20,
                rows=recorded.rows,
            ),
            *_runs(
                ("collection", collecting.runs),
                ("compared", collecting.baseline),
                (f"{collecting.small_gpus:,} GPUs", collecting.small),
            ),
            "",
            _RATING.format(
                hours=rating.month.hours,
                holds=rating.month.holds,
                teams=scale.teams,
                spaces=2 * scale.teams,
                pool_rows=rating.month.pool_rows,
                hold_rows=rating.month.hold_rows,
                charges=rating.runs[0].value.charges,
            ),
            *_runs(("rating", rating.runs), ("compared", rating.baseline)),
            "",
            _SHARING.format(holds=sharing.collect_runs[0].value.holds),
            *_runs(
                ("collection", sharing.collect_runs),
                ("of whole GPUs", sharing.collect_whole),
                ("rating", sharing.rate_runs),
                ("of whole GPUs", sharing.rate_whole),
            ),
            "",
            _ASKING.format(count=count),
            *_table(
                ("grouped by", "rows", "KiB", "median", "p95", "longest"),
                (
                    (
                        group_by,
                        f"{one.rows:,}",
                        f"{one.body_bytes / 1024:,.0f}",
                        f"{median(one.seconds) * 1000:.0f} ms",
                        f"{one.quantile(0.95) * 1000:.0f} ms",
                        f"{max(one.seconds) * 1000:.0f} ms",
                    )
                    for group_by, _, one in asking.served
                ),
            ),
            "",
            _FINANCE.format(
                lines=finance.weekly[0].value,
                rows=finance.exported[0].value,
                statements=finance.closed.value,
            ),
            *_runs(
                ("weekly statement", finance.weekly),
                ("FOCUS export", finance.exported),
                ("the same rows, written", finance.written),
                ("closing", [finance.closed]),
                ("rated again, compared", [finance.compared]),
                ("rating", finance.rated),
            ),
            "",
            "## The machine",
            "",
            *_table(("", ""), machine),
            "",
        ]
    )


def _cells(line: Line) -> tuple[str, ...]:
    met = "yes" if line.met else "**no**"
    return line.what, line.measured, line.compared, line.figure, line.target, met


def _runs(*kinds: tuple[str, Sequence[Measured[object]]]) -> Iterator[str]:
    rows = (
        (
            name,
            f"{median_seconds(runs):.2f} s",
            ", ".join(f"{run.seconds:.2f}" for run in runs),
            f"{median(run.cpu_seconds for run in runs):.2f} s",
            f"{max(run.peak_mib for run in runs):.0f} MiB",
        )
        for name, runs in kinds
    )
    return _table(("", "median", "runs, in order", "own CPU", "peak memory"), rows)


def _table(
    head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]
) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
