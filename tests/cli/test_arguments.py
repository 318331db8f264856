"""What a user types: instants, windows, columns, filters, names."""

import pytest

from tests.cli.commands import CommandLine
from tests.cli.stage import END, SPAN, START, everything

NO_HOURS = [
    ("2025-11-03T10:30Z", END, "is not a whole UTC hour"),
    (START, "2025-11-03T10:59:59Z", "is not a whole UTC hour"),
    (START, "2025-11-03T11:00:00.000001Z", "is not a whole UTC hour"),
    ("2025-11-03T10:00+05:30", END, "is not a whole UTC hour"),
    (END, START, "is not after the start"),
    (START, START, "is not after the start"),
    ("0001-01-01", END, "years 1970 to 9998"),
    ("1969-12-31T23:00Z", END, "years 1970 to 9998"),
    (START, "9999-12-31", "years 1970 to 9998"),
    ("0001-01-01T00:00+05:00", END, "outside the calendar"),
    (START, "9999-12-31T23:00-05:00", "outside the calendar"),
    ("yesterday", END, "--start 'yesterday' is no instant"),
    (START, "2025-02-30", "--end '2025-02-30' is no instant"),
    ("", END, "--start '' is no instant"),
    ("2025-11-03T25:00Z", END, "is no instant"),
]


@pytest.mark.parametrize("command", ["collect", "rate", "costs", "inference"])
@pytest.mark.parametrize(("start", "end", "why"), NO_HOURS)
def test_what_is_no_run_of_whole_hours_is_refused(
    standing: CommandLine, command: str, start: str, end: str, why: str
) -> None:
    standing.run(command, "--start", start, "--end", end).refused(why)


@pytest.mark.parametrize("start", ["2025-11-03T09:00Z", "2197-01-01T00:00Z"])
def test_the_future_cannot_be_collected_nor_what_comes_before_it_in_one_go(
    standing: CommandLine, start: str
) -> None:
    before = everything(standing)

    ended = standing.run("collect", "--start", start, "--end", "2197-01-01T01:00Z")

    ended.refused("which has not come yet", "Collect whole hours that are over")
    assert everything(standing) == before


def test_a_span_without_any_hour_says_how_many_were_never_collected(standing: CommandLine) -> None:
    asked = ("--start", "2025-06-01", "--end", "2025-06-02")

    for command in ("costs", "inference"):
        ended = standing.run(command, *asked).done()
        assert "No rows." in ended.out
        assert "24 hours were never collected" in ended.err
    assert standing.run("rate", *asked).done().out.startswith("small: 0 hours rated")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("costs", *SPAN, "--group-by", "colour"), "--group-by has no column 'colour'"),
        (("costs", *SPAN, "--group-by", "team,team2"), "--group-by has no column 'team2'"),
        (("costs", *SPAN, "--filter", "team"), "--filter 'team' has no value"),
        (("costs", *SPAN, "--filter", "colour=red"), "--filter has no column 'colour'"),
        (("costs", *SPAN, "--filter", "day=2025-11-03"), "--filter has no column 'day'"),
        (("costs", *SPAN, "--filter", "charge=1"), "'1' is not an id"),
        (("inference", *SPAN, "--group-by", "node"), "--group-by has no column 'node'"),
        (("collect", *SPAN, "--cluster", "large"), "The cluster 'large' is not configured"),
        (("rate", *SPAN, "--cluster", "large"), "Configured clusters: small"),
        (("collect", *SPAN, "--force"), "--force needs a reason"),
        (("collect", *SPAN, "--force", "--reason", " "), "--force needs a reason"),
        (("collect", *SPAN, "--reason", "why"), "--reason stands without --force"),
        (("detect", "--at", "noon"), "--at 'noon' is no instant"),
        (("detect", "--at", "0001-01-01"), "years 1970 to 9998"),
        (("detect", "--at", "2024-01-01"), "No cluster has all of the"),
        (("detect", "--at", "2197-01-01"), "No cluster has all of the"),
        (("explain", "the-big-one"), "'the-big-one' is not an id"),
        (("prices", "test", "--at", "0001-01-01"), "years 1970 to 9998"),
        (("keys", "create", "--name", "  "), "--name is empty"),
        (("keys", "create", "--name", "finance"), "There is a key named 'finance' in force"),
        (("keys", "revoke", "nobody"), "There is no key named 'nobody' in force"),
        (("findings", "ack", "the-big-one"), "'the-big-one' is not an id"),
        (("watch",), "has Kubernetes switched off"),
        (("notify",), "No Slack webhook is set"),
        (("report", "run", "nothing", "--period", "2025-W45"), "Definitions: budget, "),
        (("report", "run", "weekly_chargeback", "--period", "soon"), "'soon' is not a period"),
        (("report", "run", "weekly_chargeback", "--period", "2025-W54"), "no ISO week 2025-W54"),
        (("report", "run", "weekly_chargeback", "--period", "2025-13"), "no month 2025-13"),
        (("report", "run", "weekly_chargeback", "--period", "9999-W52"), "outside the calendar"),
        (("report", "run", "monthly_chargeback", "--period", "0001-01"), "years 1970 to 9998"),
    ],
)
def test_unusable_arguments_are_refused(
    standing: CommandLine, arguments: tuple[str, ...], why: str
) -> None:
    standing.run(*arguments).refused(why)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("explain", "00000000000000aa"), "There is no charge 00000000000000aa"),
        (("findings", "ack", "00000000000000aa"), "There is no finding 00000000000000aa"),
        (("report", "run", "weekly_chargeback", "--period", "2024-W45"), "No hour of 2024-W45"),
        (("report", "run", "monthly_chargeback", "--period", "2024-10"), "No hour of 2024-10"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(
    standing: CommandLine, arguments: tuple[str, ...], why: str
) -> None:
    ended = standing.run(*arguments)

    assert ended.code in {1, 2}
    assert why in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("costs", "--start", START), "--end"),
        (("collect", "--end", END), "--start"),
        (("detect",), "--at"),
        (("keys", "create"), "--name"),
        (("findings", "dismiss", "00000000000000aa"), "--reason"),
        (("report", "run", "weekly_chargeback"), "--period"),
        (("explain",), "charge"),
        (("prices", "import"), "file"),
    ],
)
def test_a_missing_option_is_named(
    standing: CommandLine, arguments: tuple[str, ...], missing: str
) -> None:
    ended = standing.run(*arguments)

    assert ended.code == 2
    assert "Missing" in ended.err
    assert missing in ended.err.lower()


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (("costs", *SPAN, "--format", "xml"), "csv"),
        (("costs", *SPAN, "--basis", "cash"), "posted"),
        (("findings", "list", "--state", "lost"), "regressed"),
        (("keys", "create", "--name", "a", "--scope", "root"), "admin"),
        (("serve", "--port", "70000"), "65535"),
    ],
)
def test_a_value_outside_a_closed_set_is_refused_with_the_set(
    standing: CommandLine, arguments: tuple[str, ...], known: str
) -> None:
    ended = standing.run(*arguments)

    assert ended.code == 2
    assert known in ended.err


def test_a_decision_on_a_finding_needs_what_it_rests_on(standing: CommandLine) -> None:
    finding = standing.run("findings", "list", "--format", "csv").done().rows()[0]["finding"]
    before = everything(standing)

    standing.run("findings", "dismiss", finding, "--reason", " ").refused("--reason is empty")
    for until in ("2020-01-01", "1970-01-01T00:00Z"):
        ended = standing.run("findings", "snooze", finding, "--until", until)
        ended.refused("needs an end in the future")
    standing.run("findings", "snooze", finding, "--until", "never").refused("is no instant")

    assert everything(standing) == before


def test_a_key_for_a_team_that_nothing_is_booked_on_says_so(standing: CommandLine) -> None:
    known = standing.run("keys", "create", "--name", "one", "--team", "search").done()
    other = standing.run("keys", "create", "--name", "two", "--team", "serach").done()

    assert "Note" not in known.err
    assert "'serach'" in other.err
    assert other.out.startswith("glk_")


def test_a_process_ends_with_one_error_and_no_traceback(standing: CommandLine) -> None:
    standing.process("costs", "--start", END, "--end", START).refused("is not after the start")
