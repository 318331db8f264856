"""Fills a database with November and closes it, in a process of its own; prints the hashes.

Run as a module with the database's address and a word: ``fill``, ``close`` or both, by a comma.
"""

import os
import sys

from sqlalchemy.engine import make_url

from app.store.engine import engine_of
from app.workflows.closing import close_period
from tests.workflows.closing_world import TERMS, an_order, put_varied_november


def main() -> None:
    """Do what the words say."""
    engine = engine_of(make_url(sys.argv[1]))
    words = sys.argv[2].split(",")
    if "fill" in words:
        put_varied_november(engine, backwards="backwards" in words)
    if "close" in words:
        closed = close_period(an_order(accept=os.environ["ACCEPT"]), TERMS, engine=engine)
        for one in closed.statements:
            sys.stdout.write(f"{one.number} {one.sha256} {one.csv_sha256}\n")
    engine.dispose()


if __name__ == "__main__":
    main()
