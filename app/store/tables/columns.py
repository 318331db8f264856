"""The column types that every table shares, and the metadata they are collected in."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    TypeDecorator,
    bindparam,
)

from app.units.window import from_ms, to_ms

METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_unique_%(column_0_N_name)s",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
    }
)


class InstantMs(TypeDecorator[int]):
    """A timestamptz that is milliseconds since the Unix epoch on our side."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Give the driver a UTC instant."""
        del dialect
        return None if value is None else from_ms(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return milliseconds, whatever time zone object the driver used."""
        del dialect
        return None if value is None else to_ms(value)


def text(name: str, *, nullable: bool = False) -> Column[str]:
    """Text ordered and compared by bytes, whatever the locale of the server."""
    return Column(name, Text(collation="C"), nullable=nullable)


def number(name: str, *, nullable: bool = False, key: bool = False) -> Column[int]:
    """A 64-bit integer: an identity, milliseconds, tokens or nanos."""
    return Column(name, BigInteger, nullable=nullable, primary_key=key, autoincrement=False)


def code(name: str, *, key: bool = False) -> Column[int]:
    """A member of one of our numbered enums."""
    return Column(name, SmallInteger, nullable=False, primary_key=key, autoincrement=False)


def count(name: str) -> Column[int]:
    """A small count."""
    return Column(name, Integer, nullable=False)


def literal_instant(ms: int) -> BindParameter[int]:
    """An instant inside an expression that gives no type of its own."""
    return bindparam(None, ms, type_=InstantMs, unique=True)


def instant(name: str, *, nullable: bool = False, key: bool = False) -> Column[int]:
    """An instant; null means still open."""
    return Column(name, InstantMs, nullable=nullable, primary_key=key)
