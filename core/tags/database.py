"""The database of tags: SQLite in the workspace, or any other that SQLAlchemy knows by a URL.

Its schema comes about by numbered migrations, each applied once, in a transaction, by whoever
opens the database first; the table ``tag_migrations`` says which. A SQLite file is checked whenever
a process opens it: by SQLite itself, and for what belongs in it.
"""

from __future__ import annotations

import sqlite3
import stat
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Executable,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    null,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DisconnectionError,
    NoSuchModuleError,
    OperationalError,
    SAWarning,
)

from core.errors import InputError, WorkspaceError
from core.storage.files import disk_errors
from core.storage.roles import read_only
from core.tags.address import EXAMPLE, POSTGRES, SQLITE, parse, place
from core.tags.failures import RESTORE, told
from core.tags.journal import check_journal
from core.tags.people import LONGEST, LONGEST_CALLED
from core.types import count_of

_metadata = MetaData()

MOMENT = 32
"""Characters of a moment in ISO 8601 that there is room for."""

EVENTS = Table(
    "tag_events",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(MOMENT), nullable=False),
    Column("annotator", String(LONGEST), nullable=False, index=True),
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
    Column("called", String(LONGEST_CALLED), nullable=True),
)

IMAGE_EVENTS = Table(
    "image_events",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(MOMENT), nullable=False),
    Column("annotator", String(LONGEST), nullable=False),
    Column("audit_id", String(32), nullable=False, index=True),
    Column("image_id", String(64), nullable=False),
    Column("verdict", String(16), nullable=True),  # null: it was taken back
    Column("label", String(500), nullable=True),
)

GROUP_EVENTS = Table(
    "group_events",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(MOMENT), nullable=False),
    Column("annotator", String(LONGEST), nullable=False),
    Column("audit_id", String(32), nullable=False, index=True),
    Column("name", String(LONGEST_CALLED), nullable=False),
    Column("how", Text, nullable=False),
    Column("image_ids", Text, nullable=True),  # one a line; null: it was taken back
)

MIGRATED = Table(
    "tag_migrations",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
)

LOCK = 0x73707572
"""PostgreSQL's advisory lock under which migrations run, one process at a time."""

WAIT = 30.0
"""Seconds that a database which another program holds is waited for."""

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


def _create_images(connection: Connection) -> None:
    """The log of what is said of the labels of images."""
    IMAGE_EVENTS.create(connection, checkfirst=True)


def _create_groups(connection: Connection) -> None:
    """The log of groups of images that people gave a name to."""
    GROUP_EVENTS.create(connection, checkfirst=True)


def _add_columns(*names: str) -> Callable[[Connection], None]:
    """Columns that are empty for older entries; those that are there already stay."""

    def add(connection: Connection) -> None:
        known = columns(connection)
        for name in names:
            if name not in known:
                kind = EVENTS.c[name].type.compile(connection.dialect)
                connection.execute(text(f"ALTER TABLE {EVENTS.name} ADD COLUMN {name} {kind}"))

    return add


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _create,
    _add_columns("subtype", "confidence", "reason", "undoes"),
    _add_columns("previous"),
    _add_columns("called"),
    _create_images,
    _create_groups,
)
"""Number 1 and so on; entries are only ever added."""


@cache
def engine_of(address: str | URL) -> Engine:
    """One engine per database and process, its schema up to date.

    Raises
    ------
    InputError
        If the URL is none, or its driver is not installed.
    WorkspaceError
        If the database cannot be opened, is damaged or another program's, or was written by a
        newer version.
    """
    url = parse(address)
    path = file_of(url)
    fresh = path is not None and not _exists(path)
    engine = _made(url)
    try:
        with told(url, "cannot open the tags in", "nothing was begun"):
            _begin(engine, path if fresh else None)
    except WorkspaceError:
        engine.dispose()
        raise
    return engine


def _begin(engine: Engine, fresh: Path | None) -> None:
    """Migrate; while several processes make a SQLite file at once, it is tried again.

    Parameters
    ----------
    fresh : the file if there was none; on a full disk nothing of it is left, since an empty one
        looks like one that has lost its tags.
    """
    ends = time.monotonic() + WAIT
    while True:
        try:
            return migrate(engine)
        except OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY and time.monotonic() < ends:
                time.sleep(0.05)
                continue
            full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
            if full and fresh and fresh.exists() and not fresh.stat().st_size:
                fresh.unlink()
            raise


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database that is given as a path; None for any other."""
    if url.get_backend_name() != SQLITE or (url.database or "").startswith((":", "file:")):
        return None
    return Path(url.database) if url.database else None


def _exists(path: Path) -> bool:
    with disk_errors(path):
        return path.exists()


def _made(url: URL) -> Engine:
    """An engine that has not connected yet."""
    try:
        if url.get_backend_name() != SQLITE:
            return create_engine(url, pool_pre_ping=True)
        if (url.database or ":memory:") == ":memory:":
            raise InputError(
                f"--database {url.drivername}:// names no file, and its tags would be gone with "
                f"this process; give for example {EXAMPLE}"
            )
        if path := file_of(url):
            _prepare(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)  # of options that SQLite would pass over
            engine = create_engine(url, connect_args={"timeout": WAIT})
    except NoSuchModuleError:
        raise InputError(
            f"--database: {url.drivername!r} is no kind of database that is known; give for "
            "example postgresql://USER@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        wanted = "'psycopg[binary]'" if "psycopg" in str(error.name) else str(error.name)
        raise InputError(f"{place(url)} needs a driver: pip install {wanted}") from None
    except (ArgumentError, SAWarning, TypeError, ValueError):
        raise InputError(
            f"--database: {place(url)} is given with options that do not exist; give for example "
            f"{EXAMPLE}"
        ) from None
    event.listen(engine, "connect", _configure)
    if path:
        _watch(engine, path)
    return engine


def _configure(connection: Any, _: Any) -> None:
    """Let several processes write a SQLite file, each entry on the disk before it counts."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _watch(engine: Engine, path: Path) -> None:
    """Leave a file that was put in another's place alone, and take up the new one.

    An open connection would go on writing to the file that is gone, and every tag would be lost.
    """

    @event.listens_for(engine, "connect")
    def _remember(_: Any, record: Any) -> None:
        record.info["file"] = _identity(path)

    @event.listens_for(engine, "checkout")
    def _compare(_: Any, record: Any, __: Any) -> None:
        if (now := _identity(path)) is None:
            raise WorkspaceError(
                f"{path} with the tags is gone; put it back, or start again to begin anew"
            )
        if record.info["file"] != now:
            raise DisconnectionError


def _identity(path: Path) -> int | None:
    """The number of a file on its disk; None if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


BEGINS = 5.0
"""Seconds in which another process that makes a file has to have begun it."""


def _prepare(path: Path) -> None:
    """Make the folder of a SQLite file, and refuse what cannot be one.

    An empty file is refused as well: SQLite would take it for a new database, and the tags that
    were in it would be missing without a word.
    """
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # places like /proc
            raise WorkspaceError(
                f"cannot make the folder {path.parent}; choose another with --workspace DIR"
            ) from None
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise WorkspaceError(f"{path} is no file, so that no tags can be in it; {RESTORE}")
        ends = time.monotonic() + BEGINS
        while path.exists() and not path.stat().st_size:
            if time.monotonic() > ends:
                raise WorkspaceError(
                    f"{path} is empty: the tags that were in it are lost; {RESTORE}, or delete it "
                    "to begin anew"
                )
            time.sleep(0.05)
        check_journal(path)


def migrate(engine: Engine) -> None:
    """Apply the migrations that are missing, all of them or, after an error, none.

    A process that only shows leaves a log as an older version wrote it (:func:`entries`).

    Raises
    ------
    WorkspaceError
        If the database has migrations that this version does not know, or is not whole.
    """
    with engine.begin() as connection:
        if engine.dialect.name == SQLITE:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # else the driver commits each statement
            check_file(connection)
        elif engine.dialect.name == POSTGRES:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        there = inspect(connection)
        looks = read_only() and there.has_table(EVENTS.name)
        if not looks or there.has_table(MIGRATED.name):
            _bring_up_to_date(connection, () if looks else MIGRATIONS)
        check_tables(connection, _FIRST if looks else EVENTS)


def _bring_up_to_date(
    connection: Connection, changes: Sequence[Callable[[Connection], None]]
) -> None:
    MIGRATED.create(connection, checkfirst=True)
    done = _applied(connection)
    for number, change in enumerate(changes, 1):
        if number not in done:
            change(connection)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            connection.execute(insert(MIGRATED).values(number=number, at=now))


def columns(connection: Connection) -> set[str]:
    """The columns that the log has."""
    return {column["name"] for column in inspect(connection).get_columns(EVENTS.name)}


def entries(connection: Connection) -> Select[Any]:
    """A query for every entry; what a log lacks that a process which only shows found is NULL."""
    if not read_only():
        return select(EVENTS)
    there = columns(connection)
    return select(*(c if c.name in there else null().label(c.name) for c in EVENTS.columns))


def _applied(connection: Connection) -> set[int]:
    """Numbers of the migrations that the database has."""
    where = f"the tags in {place(connection.engine.url)}"
    done = set(connection.scalars(select(MIGRATED.c.number)))
    known = set(range(1, len(MIGRATIONS) + 1))
    if odd := [number for number in done if type(number) is not int or number < 1]:
        raise WorkspaceError(
            f"{where}: the table {MIGRATED.name} holds {ascii(odd[0])[:30]}, which is no number "
            f"of a migration; {RESTORE}"
        )
    if unknown := done - known:
        raise WorkspaceError(
            f"{where} were written by a newer version (migration {max(unknown)}, this one knows "
            f"{len(MIGRATIONS)}); update Spurioscope"
        )
    return done


def check_file(connection: Connection) -> None:
    """Raise WorkspaceError if a SQLite file is damaged, or another program's."""
    where = f"the tags in {place(connection.engine.url)}"
    if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":
        raise WorkspaceError(f"{where}: the file is damaged; {RESTORE}")
    there = set(inspect(connection).get_table_names())
    if there and not there & {EVENTS.name, MIGRATED.name}:
        raise WorkspaceError(
            f"{where}: the file belongs to another program; {RESTORE}, or move it away to begin "
            "anew"
        )
    if EVENTS.name in there and (n := _without_audit(connection)):
        raise WorkspaceError(
            f"{where}: {count_of(n, 'entry belongs', 'entries belong')} to no audit (audit_id is "
            f"no text); {RESTORE}, or delete these rows of the table {EVENTS.name}"
        )


def _without_audit(connection: Connection) -> int:
    """Entries that no audit would show, because what should be its id is no text."""
    rows = connection.exec_driver_sql(
        "SELECT typeof(audit_id), CAST(audit_id AS BLOB), count(*) FROM "
        f"{EVENTS.name} GROUP BY audit_id"
    )
    return sum(n for kind, content, n in rows if kind != "text" or not _is_text(content))


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def check_tables(connection: Connection, wanted: Table) -> None:
    """Raise WorkspaceError unless the log is a table with all wanted columns."""
    known = inspect(connection)
    where = f"the tags in {place(connection.engine.url)}"
    if not known.has_table(EVENTS.name) or EVENTS.name in known.get_view_names():
        raise WorkspaceError(f"{where}: there is no table {EVENTS.name}; {RESTORE}")
    there = {column["name"] for column in known.get_columns(EVENTS.name)}
    if lacking := [column.name for column in wanted.columns if column.name not in there]:
        raise WorkspaceError(
            f"{where}: the table {EVENTS.name} has no column {', '.join(lacking)}; {RESTORE}"
        )


def undecoded(connection: Connection, query: Executable) -> Sequence[Row[Any]]:
    """The rows of a query; bytes that are no UTF-8 become surrogates instead of an error."""
    try:
        return connection.execute(query).all()
    except OperationalError as error:
        held: Any = connection.connection.driver_connection
        if connection.dialect.name != SQLITE or hasattr(error.orig, "sqlite_errorcode"):
            raise
        held.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        try:
            return connection.execute(query).all()
        finally:
            held.text_factory = str
