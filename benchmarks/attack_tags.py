"""Databases of tags that were damaged in every way that a seed finds, and what commands say then.

Each try copies the same small store of tags, damages it once, and runs one command in this process,
as well as a reading of the log by itself. What the commands say has to be in our own words; where
they succeed they have to say what they say of the undamaged store, or say why they do not.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from pyarrow import ArrowException

from benchmarks.attacked import Attack
from benchmarks.generated import make
from benchmarks.measure import Line
from core.audits.synth_request import SynthRequest
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import SpurioscopeError
from core.storage.workspace import Workspace
from core.tags import database, journal
from core.tags.log import TagStore
from core.types import Subtype, Tag

SQLITE = re.compile(
    r"disk image is malformed|file is not a database|no such (column|table)|disk I/O error"
    r"|database is locked|readonly database|unable to open database|[Cc]ould not decode"
    r"|malformed database schema|constraint failed|datatype mismatch|is a view|has no column named"
    r"|database or disk is full|unsupported file format|unrecognized token|codec can't"
    r"|tokenizing data|Expecting value|Parquet magic|Couldn't deserialize|Unterminated string"
    r"|line \d+ column \d+|cannot reindex|unhashable|Traceback"
)
"""What SQLite, its driver and the readers of files say."""

COMMANDS = (
    ("list",),
    ("list", "--history"),
    ("agreement",),
    ("export", "--annotators"),
    ("add",),
    ("import",),
)
"""Tried in turn; the last two write."""

WAIT = 0.2
"""Seconds that a locked database is waited for, instead of many."""


@dataclass
class Bench:
    """The undamaged store, and a workspace that is damaged and mended again."""

    workspace: Workspace
    audit_id: str
    label: str
    kept: Path
    """Folder of the undamaged files: the database alone, and one with a log not yet taken over."""

    @property
    def file(self) -> Path:
        """The database."""
        return self.workspace.root / "tags.sqlite"

    def mend(self, *, log: bool = False) -> None:
        """Put the undamaged store back."""
        database.engine_of.cache_clear()
        for left in self.workspace.root.glob("tags.sqlite*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for name in ("tags.sqlite", "tags.sqlite-wal") if log else ("tags.sqlite",):
            shutil.copyfile(self.kept / ("log" if log else "plain") / name, self.file.parent / name)

    def run(self, *words: str) -> tuple[int, str, str]:
        """One command in this process: exit code, standard output and standard error."""
        from core.__main__ import main

        arguments = ["tags", words[0], self.audit_id, "--workspace", str(self.workspace.root)]
        out = self.workspace.root / "out.json"
        if words[0] == "export":
            arguments += ["--out", str(out)]
        if words[0] == "add":
            arguments += ["--class", self.label, "--component", "6", "--tag", "core"]
        if words == ("import",):
            arguments += [str(self.kept / "more.json")]
        said, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            try:
                code = main([*arguments, *words[1:], "--json"])
            except Exception:  # noqa: BLE001 - whatever comes is what is looked for
                return 1, "", traceback.format_exc()
        text = said.getvalue()
        if words[0] == "export" and code == 0:
            text = out.read_text(encoding="utf-8")
        return code, text, complained.getvalue()

    def edit(self, *statements: str) -> None:
        """Change the database as another program would; constraints are no hindrance."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def loosen(self) -> None:
        """Make the table anew without types and constraints, so that it takes any value."""
        names = ", ".join(column.name for column in database.EVENTS.columns)
        self.edit(
            "ALTER TABLE tag_events RENAME TO was",
            f"CREATE TABLE tag_events ({names.replace('id,', 'id INTEGER PRIMARY KEY,', 1)})",
            f"INSERT INTO tag_events ({names}) SELECT {names} FROM was",
            "DROP TABLE was",
        )


Damage = Callable[[Bench, Random], str]
"""Damages the store of a bench and says how."""


def _bytes(bench: Bench, change: Callable[[bytearray], object]) -> None:
    content = bytearray(bench.file.read_bytes())
    change(content)
    bench.file.write_bytes(content)


def zeroed(bench: Bench, rng: Random) -> str:
    """200 zeroed bytes anywhere."""
    start = rng.randrange(0, bench.file.stat().st_size - 200)
    _bytes(bench, lambda content: content.__setitem__(slice(start, start + 200), bytes(200)))
    return f"200 zeroed bytes at {start}"


def noise(bench: Bench, rng: Random) -> str:
    """300 bytes of noise anywhere."""
    start = rng.randrange(0, bench.file.stat().st_size - 300)
    made = rng.randbytes(300)
    _bytes(bench, lambda content: content.__setitem__(slice(start, start + 300), made))
    return f"300 bytes of noise at {start}"


def header(bench: Bench, rng: Random) -> str:
    """One byte of the header changed where that means something."""
    place = rng.choice([*range(24), *range(40, 60), *range(100, 108)])
    value = rng.randrange(256)
    _bytes(bench, lambda content: content.__setitem__(place, value))
    return f"byte {place} of the header is {value}"


def cut(bench: Bench, rng: Random) -> str:
    """A part of the file."""
    size = bench.file.stat().st_size
    left = rng.choice([size // 2, rng.randrange(1, size), 100, 4096])
    _bytes(bench, lambda content: content.__delitem__(slice(left, None)))
    return f"{left} of {size} bytes are left"


def replaced(bench: Bench, rng: Random) -> str:
    """Something else in the file's place."""
    what = rng.choice(["folder", "pipe", "empty", "zeros", "text", "dangling", "foreign"])
    bench.file.unlink()
    if what == "folder":
        bench.file.mkdir()
    elif what == "pipe":
        os.mkfifo(bench.file)
    elif what == "dangling":
        bench.file.symlink_to("/nowhere/tags.sqlite")
    elif what == "foreign":
        bench.edit("CREATE TABLE songs (id INTEGER, title TEXT)")
    else:
        bench.file.write_bytes({"empty": b"", "zeros": bytes(12288)}.get(what, b"a,b\n1,2\n" * 90))
    return f"{what} in place of the file"


def schema(bench: Bench, rng: Random) -> str:
    """A table or column that is missing, of another name, or something else."""
    column = rng.choice([c.name for c in database.EVENTS.columns if c.name not in ("id",)])
    statement = rng.choice(
        [
            "DROP TABLE tag_events",
            "ALTER TABLE tag_events RENAME TO tags",
            f"ALTER TABLE tag_events RENAME COLUMN {column} TO {column}2",
            "ALTER TABLE tag_migrations RENAME COLUMN number TO n",
            "DELETE FROM tag_migrations WHERE number = 2",
            "DROP TABLE tag_migrations",
            "UPDATE tag_migrations SET number = 41 WHERE number = 3",
            "UPDATE tag_migrations SET number = -7 WHERE number = 1",
            "CREATE TRIGGER hush BEFORE INSERT ON tag_events BEGIN SELECT RAISE(IGNORE); END",
            "CREATE TRIGGER loud BEFORE INSERT ON tag_events BEGIN SELECT RAISE(ABORT, 'no'); END",
            "view",
            "loose migrations",
        ]
    )
    if statement == "view":
        bench.edit(
            "ALTER TABLE tag_events RENAME TO was",
            "CREATE VIEW tag_events AS SELECT * FROM was",
        )
    elif statement == "loose migrations":
        odd = rng.choice(["'x'", "1e300", "NULL", "x'00ff'", "9223372036854775807", "1.5"])
        statement = f"migration {odd}"
        bench.edit(
            "DROP TABLE tag_migrations",
            "CREATE TABLE tag_migrations (number, at)",
            f"INSERT INTO tag_migrations VALUES (1, 't'), ({odd}, 't')",
        )
    else:
        bench.edit(statement)
    return statement


ODD = {
    "annotator": ["NULL", "''", "x'ff00'", "7", "CAST(x'ff' AS TEXT)"],
    "audit_id": ["NULL", "CAST('AUDIT' AS BLOB)", "CAST(x'ff' AS TEXT)"],
    "label": ["NULL", "x'ff'", "3.5", "CAST(x'fffe' AS TEXT)"],
    "kind": ["'sort'", "NULL", "''", "4", "x'01'", "'PCA'", "CAST(x'ff' AS TEXT)"],
    "component": ["'two'", "1.5", "-1", "99999999999", "9223372036854775807", "NULL", "x'01'"],
    "tag": ["'unclear'", "''", "1", "x'01'", "'Core'", "CAST(x'ff' AS TEXT)"],
    "subtype": ["'shadow'", "''", "5", "x'01'", "'background'"],
    "confidence": ["'high'", "0", "9", "2.5", "-1", "99999999999", "x'01'"],
    "reason": ["7", "x'ff'", "CAST(x'c328' AS TEXT)", "1.5"],
    "at": ["NULL", "12", "x'ff'", "CAST(x'ff' AS TEXT)"],
    "undoes": ["'x'", "-1", "1.5", "9223372036854775807"],
    "previous": ["'x'", "-1", "1.5", "x'01'"],
}
"""Values that mean nothing, by column."""


def odd_rows(bench: Bench, rng: Random) -> str:
    """Rows with a value that means nothing."""
    column = rng.choice(sorted(ODD))
    value = rng.choice(ODD[column]).replace("AUDIT", bench.audit_id)
    rows = rng.sample(range(1, 60), rng.choice([1, 1, 3, 40]))
    where = f"id IN ({', '.join(map(str, rows))})"
    if column == "subtype":
        where += " AND tag = 'core'"
    bench.loosen()
    bench.edit(f"UPDATE tag_events SET {column} = {value} WHERE {where}")
    return f"{column} = {value} in {len(rows)} rows"


def broken_log(bench: Bench, rng: Random) -> str:
    """A log of the database with something spoilt in it.

    One that is cut off at its end is none of these: SQLite and everybody else take it for one of
    which no more was ever written.
    """
    bench.mend(log=True)
    log = bench.file.with_name("tags.sqlite-wal")
    content = bytearray(log.read_bytes())
    what = rng.choice(["head", "zeros", "byte", "gone", "folder", "index"])
    if what == "head":
        content[rng.randrange(32)] ^= 0xFF
    elif what == "zeros":
        start = rng.randrange(32, len(content) // 2)
        content[start : start + 200] = bytes(200)
    elif what == "byte":
        content[rng.randrange(32, len(content) // 2)] ^= 0xFF
    log.write_bytes(content)
    if what == "folder":
        log.unlink()
        log.mkdir()
    elif what == "index":
        bench.file.with_name("tags.sqlite-shm").write_bytes(rng.randbytes(40_000))
    elif what == "gone":
        _bytes(bench, lambda held: held.__setitem__(slice(40, 60), rng.randbytes(20)))
        log.unlink()
    return f"the log beside the file: {what}"


def unwritable(bench: Bench, rng: Random) -> str:
    """A file that says of itself that it must not be written, or of a format to come."""
    _bytes(bench, lambda content: content.__setitem__(18, rng.choice([0, 3, 9])))
    return "another format of writing"


@contextlib.contextmanager
def locked(bench: Bench) -> Iterator[None]:
    """Another program holds the database for writing, or altogether."""
    with contextlib.closing(sqlite3.connect(bench.file)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield


DAMAGES: tuple[Damage, ...] = (
    odd_rows,
    zeroed,
    schema,
    cut,
    odd_rows,
    header,
    replaced,
    broken_log,
    noise,
    unwritable,
)
"""Tried in turn; values in rows more often than the rest."""


VALUES = (
    *(None, "", "x", "-1", "1.5", "1e400", "\0", "\ud800", "\u202e", "=1", "x" * 9000, "NaN"),
    *(True, -1, 0, 2**31, 2**70, 1.5, float("nan"), float("inf"), [1], {"a": 1}, b"\xff"),
)
"""What a cell of a file may hold."""


def odd_file(bench: Bench, rng: Random) -> Path:
    """A file of tags in one of the formats, with odd cells or odd bytes."""
    row = {"label": bench.label, "kind": "pca", "component": 1, "annotator": "a", "tag": "core"}
    row |= {"subtype": None, "confidence": 3, "reason": "fur", "at": None}
    work = {"WorkerId": "w", "Input.wordnet_id": "n01440764", "Input.class_index": 0}
    work |= {"Input.feature_index": 1, "Answer.main": "background", "Answer.confidence": 4}
    chosen = rng.choice([row, work])
    rows = [dict(chosen) for _ in range(rng.choice([1, 3]))]
    for name in rng.sample(sorted(rows[0]), rng.choice([0, 1, 2])):
        rng.choice(rows)[name] = rng.choice(VALUES)
    path = bench.kept / f"odd.{rng.choice(['json', 'csv', 'parquet'])}"
    _write(path, rows, rng)
    if rng.random() < 0.3:
        content = bytearray(path.read_bytes())
        place = rng.randrange(len(content))
        content[place : place + 20] = rng.randbytes(rng.choice([0, 20]))
        path.write_bytes(content)
    return path


def _write(path: Path, rows: list[dict[str, Any]], rng: Random) -> None:
    """Rows in a format as far as it holds them; else something that has its name only."""
    try:
        if path.suffix == ".json":
            lists = {str(row.get("label", "0")): [row.get("component", 1)] for row in rows}
            text = json.dumps(rng.choice([{"tags": rows}, lists, rows, {"tags": [1]}]), default=str)
            path.write_text(text, encoding="utf-8")
        elif path.suffix == ".csv":
            pd.DataFrame(rows).to_csv(path, index=False)
        else:
            pd.DataFrame(rows).to_parquet(path, index=rng.random() < 0.2)
    except (ValueError, OverflowError, ArrowException):
        path.write_text(repr(rows), encoding="utf-8", errors="replace")


def prepare(folder: Path) -> Bench:
    """A generated audit of three classes with tags of five people, of which some say more."""
    workspace = Workspace(folder / "workspace")
    audit = make(workspace, SynthRequest(images=36, classes=3, dim=8))
    store, label = TagStore.open(workspace), audit.classes[0].label
    store.add(
        "Zoë",
        audit.id,
        CandidateKey(label, PCA, 1),
        Tag.SPURIOUS,
        subtype=Subtype.BACKGROUND,
        confidence=4,
        reason="snow",
    )
    store.add("Zoë", audit.id, CandidateKey(label, PCA, 1), Tag.CORE)
    store.undo("Zoë", audit.id)
    bench = Bench(workspace, audit.id, label, folder / "kept")
    for name in ("plain", "log"):
        (bench.kept / name).mkdir(parents=True)
    row = {"label": label, "kind": "pca", "component": 7, "annotator": "Max", "tag": "unsure"}
    (bench.kept / "more.json").write_text(json.dumps({"tags": [row]}), encoding="utf-8")
    with contextlib.closing(sqlite3.connect(bench.file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.engine.dispose()
    shutil.copyfile(bench.file, bench.kept / "plain" / "tags.sqlite")
    for number in range(4):
        store.add("Kim", audit.id, CandidateKey(label, PCA, number), Tag.UNSURE)
    for name in ("tags.sqlite", "tags.sqlite-wal"):
        shutil.copyfile(bench.file.parent / name, bench.kept / "log" / name)
    store.engine.dispose()
    return bench


def expected(bench: Bench, words: tuple[str, ...], *, log: bool) -> str:
    """What a command says of the undamaged store."""
    bench.mend(log=log)
    code, said, complained = bench.run(*words)
    assert code == 0, complained
    return _timeless(said)


def _timeless(said: str) -> str:
    """Without the moment at which the command itself tagged."""
    return re.sub(r'"(at|out)": "[^"]*"', "", said)


def attack(seed: int = 0, count: int = 315) -> Attack:
    """``count`` damaged stores, each met by a command and a reading, and as many odd files."""
    found, rng = Attack(), Random(seed)
    with tempfile.TemporaryDirectory() as folder, _impatient():
        bench = prepare(Path(folder))
        right = {
            (words, log): expected(bench, words, log=log)
            for words in COMMANDS
            for log in (False, True)
        }
        for number in range(count):
            damage = DAMAGES[number % len(DAMAGES)]
            words = COMMANDS[(number // len(DAMAGES)) % len(COMMANDS)]
            bench.mend()
            cause = f"{' '.join(words)}: {damage(bench, rng)}"
            _try(bench, words, right[words, damage is broken_log], cause, found)
        for words in COMMANDS:
            bench.mend()
            with locked(bench):
                _try(bench, words, right[words, False], f"{' '.join(words)}: locked", found)
        for _ in range(count):
            bench.mend()
            path = odd_file(bench, rng)
            _judge(found, f"import {path.read_bytes()[:200]!r}", bench.run("import", str(path))[2])
        bench.mend()
    return found


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Neither a locked database nor one that is being made or written is waited for."""
    before = database.WAIT, database.BEGINS, journal.PAUSE
    database.WAIT, database.BEGINS, journal.PAUSE = WAIT, 0.0, 0.0
    try:
        yield
    finally:
        database.WAIT, database.BEGINS, journal.PAUSE = before


def _try(bench: Bench, words: tuple[str, ...], right: str, cause: str, found: Attack) -> None:
    """One command and one reading; the store is not mended in between."""
    code, said, complained = bench.run(*words)
    _judge(found, cause, complained)
    explained = '"warnings": [\n' in said
    if code == 0 and not explained and _timeless(said) != right:
        found.silent.append(f"{cause}: other tags without a word")
    if code == 1:
        found.raw.append(f"{cause}: ended like an accident")
    database.engine_of.cache_clear()
    try:
        TagStore.open(bench.workspace).current(bench.audit_id)
        message = ""
    except SpurioscopeError as error:
        message = str(error)
    except Exception:  # noqa: BLE001 - whatever comes is what is looked for
        message = traceback.format_exc()
    _judge(found, f"reading: {cause}", message)


def _judge(found: Attack, cause: str, message: str) -> None:
    before = len(found.raw)
    found.judge(cause, message)
    if len(found.raw) == before and SQLITE.search(message):
        found.raw.append(f"{cause}: {message.strip()[-300:]}")


def run() -> list[Line]:
    """As ``python -m benchmarks`` calls it."""
    return attack().lines("damaged tags")
