"""The database of tags: SQLite in the workspace, or any other that SQLAlchemy knows by a URL.

Its schema comes about by numbered migrations, each applied once, in a transaction, by whoever
opens the database first; the table ``tag_migrations`` says which. Passwords of URLs stay out of
every message.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from core.errors import InputError, WorkspaceError
from core.store import disk_errors

_metadata = MetaData()

EVENTS = Table(
    "tag_events",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("annotator", String(120), nullable=False, index=True),
    Column("audit_id", String(32), nullable=False, index=True),
    Column("label", String(500), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("component", Integer, nullable=False),
    Column("tag", String(16), nullable=True),  # null: the tag was taken back
    Column("subtype", String(32), nullable=True),
    Column("confidence", Integer, nullable=True),
    Column("reason", Text, nullable=True),
    Column("undoes", Integer, nullable=True),
    Column("previous", Integer, nullable=True),
)

MIGRATED = Table(
    "tag_migrations",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
)

LOCK = 0x73707572
"""PostgreSQL's advisory lock under which migrations run, one process at a time."""

POSTGRES = "postgresql"


_FIRST = Table(
    EVENTS.name,
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("annotator", String(120), nullable=False, index=True),
    Column("audit_id", String(32), nullable=False, index=True),
    Column("label", String(500), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("component", Integer, nullable=False),
    Column("tag", String(16), nullable=True),
)


def _create(connection: Connection) -> None:
    """The log as it was first; one that was made before migrations had numbers stays."""
    _FIRST.create(connection, checkfirst=True)


def _add_columns(*names: str) -> Callable[[Connection], None]:
    """Columns that are empty for older entries; those that are there already stay."""

    def add(connection: Connection) -> None:
        known = {column["name"] for column in inspect(connection).get_columns(EVENTS.name)}
        for name in names:
            if name not in known:
                kind = EVENTS.c[name].type.compile(connection.dialect)
                connection.execute(text(f"ALTER TABLE {EVENTS.name} ADD COLUMN {name} {kind}"))

    return add


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _create,
    _add_columns("subtype", "confidence", "reason", "undoes"),
    _add_columns("previous"),
)
"""Number 1 and so on; entries are only ever added."""


def parse(address: str) -> URL:
    """A database URL, with the driver that this project installs for PostgreSQL.

    Raises
    ------
    InputError
        If it is none; what was given is not repeated, since it may hold a password.
    """
    try:
        url = make_url(address)
    except ArgumentError:
        raise InputError(
            "--database (or $SPURIOSCOPE_DATABASE) is no database URL; give for example "
            "postgresql://USER@HOST/NAME or sqlite:////DIR/tags.sqlite"
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername == POSTGRES else url


def place(url: URL) -> str:
    """A database in words: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def without_password(error: object, url: URL) -> str:
    """What a driver says, without the password in case it repeats it."""
    said = " ".join(str(error).split())
    given = url.query.get("password")
    for secret in (url.password, *([given] if isinstance(given, str) else given or ())):
        if secret:
            said = said.replace(str(secret), "***")
    return said


@cache
def engine_of(address: str) -> Engine:
    """One engine per database and process, its schema up to date.

    Raises
    ------
    InputError
        If the URL is none, or its driver is not installed.
    WorkspaceError
        If the database cannot be opened, or was written by a newer version.
    """
    url = parse(address)
    engine = _made(url)
    try:
        migrate(engine)
    except DatabaseError as error:
        remedy = "check that the server runs and lets you in"
        if engine.dialect.name == "sqlite":
            remedy = "choose a writable --workspace, or restore the file from a backup"
        raise WorkspaceError(
            f"cannot open the tags in {place(url)}: {without_password(error.orig, url)}; {remedy}"
        ) from None
    return engine


def _made(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True)
    except NoSuchModuleError:
        raise InputError(
            f"--database: {url.drivername!r} is no kind of database that is known; give for "
            "example postgresql://USER@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        wanted = "'psycopg[binary]'" if "psycopg" in str(error.name) else str(error.name)
        raise InputError(f"{place(url)} needs a driver: pip install {wanted}") from None
    if url.database and url.database != ":memory:":
        with disk_errors(Path(url.database)):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def migrate(engine: Engine) -> None:
    """Apply the migrations that are missing, all of them or, after an error, none.

    Raises
    ------
    WorkspaceError
        If the database has migrations that this version does not know.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # else the driver commits each statement
        elif engine.dialect.name == POSTGRES:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        MIGRATED.create(connection, checkfirst=True)
        done = set(connection.scalars(select(MIGRATED.c.number)))
        if unknown := done - set(range(1, len(MIGRATIONS) + 1)):
            raise WorkspaceError(
                f"the tags in {place(engine.url)} were written by a newer version (migration "
                f"{max(unknown)}, this one knows {len(MIGRATIONS)}); update Spurioscope"
            )
        for number, change in enumerate(MIGRATIONS, 1):
            if number not in done:
                change(connection)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                connection.execute(insert(MIGRATED).values(number=number, at=now))
