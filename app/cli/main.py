"""The commands by their names, and how failures end: one clear message and an exit code."""

import logging
import os
import sys

import typer

from app.cli.admin import database, keys
from app.cli.bills import app as bills
from app.cli.commitments import app as commitments
from app.cli.contracts import app as contract
from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.exports import app as export
from app.cli.findings import app as findings
from app.cli.inputs import prices
from app.cli.ledger import collect, detect, notify, rate, watch
from app.cli.output import say_error
from app.cli.periods import app as period
from app.cli.planning import anomalies, break_even, budgets, forecast
from app.cli.reading import consumers, costs, explain, inference
from app.cli.reports import app as report
from app.cli.services import serve, worker
from app.cli.statements import app as statements
from app.errors import GpuledgerError, InputError
from app.settings import SettingsError

FAILED = 1
BAD_USAGE = 2
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

app = typer.Typer(
    name="gpuledger",
    help="Who held which GPU, what did it cost, what did it serve, and what was wasted?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo)
app.command("watch")(watch)
app.command("collect")(collect)
app.command("rate")(rate)
app.command("detect")(detect)
app.command("notify")(notify)
app.command("costs")(costs)
app.command("inference")(inference)
app.command("consumers")(consumers)
app.command("explain")(explain)
app.command("budgets")(budgets)
app.command("forecast")(forecast)
app.command("anomalies")(anomalies)
app.command("break-even")(break_even)
app.add_typer(findings, name="findings")
app.add_typer(prices, name="prices")
app.add_typer(contract, name="contract")
app.add_typer(bills, name="bills")
app.add_typer(commitments, name="commitments")
app.add_typer(report, name="report")
app.add_typer(export, name="export")
app.add_typer(period, name="period")
app.add_typer(statements, name="statements")
app.add_typer(database, name="db")
app.add_typer(keys, name="keys")
app.command("serve")(serve)
app.command("worker")(worker)
app.command("doctor")(doctor)


def main() -> None:
    """Run the command line; exit 0 for done, 1 for failed, 2 for bad usage."""
    try:
        _log()
        app()
    except InputError as error:
        say_error(error)
        sys.exit(BAD_USAGE)
    except GpuledgerError as error:
        say_error(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log() -> None:
    level = os.environ.get("GPULEDGER_LOG_LEVEL", "WARNING").upper()
    if level not in _LOG_LEVELS:
        message = f"GPULEDGER_LOG_LEVEL {level!r} is no level."
        raise SettingsError(message, hint=f"Use one of {', '.join(_LOG_LEVELS)}.")
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # What its attempts end in is said by our own error, once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
