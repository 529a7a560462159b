"""Tags in a database that a URL names: PostgreSQL where there is one, addresses, passwords."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import InputError, WorkspaceError
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags import database, failures
from core.tags.address import parse, place
from core.tags.log import TagStore
from core.types import Tag

PASSWORD = "secret-of-the-team"
ROOT = Path(__file__).resolve().parents[3]


def programs() -> Path | None:
    """Folder of PostgreSQL's programs."""
    found = [Path(p).parent for p in [shutil.which("initdb")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an empty PostgreSQL that asks for a password."""
    pytest.importorskip("psycopg", reason="no driver: pip install 'psycopg[binary]'")
    bin_ = programs()
    if bin_ is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    # not below pytest's own folder, which nobody but its user may enter
    root = Path(tempfile.mkdtemp(prefix="tags-postgres-"))
    (root / "password").write_text(PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(root, "postgres")
        shutil.chown(root / "password", "postgres")

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, cwd="/", stdout=subprocess.DEVNULL)

    data, log = str(root / "data"), str(root / "log")
    run(
        str(bin_ / "initdb"),
        "-D",
        data,
        "-U",
        "team",
        "-A",
        "scram-sha-256",
        f"--pwfile={root / 'password'}",
        "--no-sync",
    )
    options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1"
    run(str(bin_ / "pg_ctl"), "-D", data, "-o", options, "-l", log, "-w", "start")
    yield f"postgresql://team:{PASSWORD}@127.0.0.1:{port}/postgres"
    run(str(bin_ / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def team(server: str, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose tags are on the server; they are dropped afterwards."""
    yield Workspace(tmp_path, server)
    with database.engine_of(server).begin() as connection:
        database._metadata.drop_all(connection)
    database.engine_of.cache_clear()


def test_a_log_on_postgresql(team: Workspace) -> None:
    store = TagStore.open(team)
    first = store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)
    second = store.add(
        "ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS, confidence=2, reason="é"
    )
    assert second.previous == first.id
    assert store.state("a1") == (2, second.id)
    assert store.undo("ann", "a1").tag is Tag.CORE
    (entry,) = store.current("a1")
    assert entry.tag is Tag.CORE
    assert not (team.root / "tags.sqlite").exists()


def test_an_older_schema_on_postgresql(team: Workspace, server: str) -> None:
    engine = database._made(parse(server))
    with engine.begin() as connection:
        database._create(connection)
        connection.exec_driver_sql(
            "INSERT INTO tag_events (at, annotator, audit_id, label, kind, component, tag) "
            "VALUES ('t', 'ann', 'a1', 'wolf', 'pca', 2, 'core')"
        )
    engine.dispose()
    store = TagStore.open(team)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS, confidence=2)
    assert [(e.component, e.confidence) for e in store.current("a1")] == [(2, None), (3, 2)]
    key = CandidateKey("wolf", PCA, 2)
    assert store.call("ann", "a1", key, "雪" * 80).called == "雪" * 80
    assert store.add("ann", "a1", key, Tag.CORE).called == "雪" * 80
    assert store.names() == ["雪" * 80]


def test_processes_tagging_at_once_on_postgresql(team: Workspace, server: str) -> None:
    code = (
        "import sys; from pathlib import Path; from core.tags.log import TagStore\n"
        "from core.storage.workspace import Workspace; from core.types import Tag\n"
        "from core.candidates.key import CandidateKey\n"
        "s = TagStore.open(Workspace.default('x'))\n"
        "for i in range(10): s.add(sys.argv[1], 'a1', CandidateKey('wolf', 'pca', i), Tag.CORE)"
    )
    environment = {**os.environ, "SPURIOSCOPE_DATABASE": server}
    running = [
        subprocess.Popen([sys.executable, "-c", code, f"p{i}"], cwd=ROOT, env=environment)
        for i in range(3)
    ]
    assert [process.wait() for process in running] == [0] * 3
    history = TagStore.open(team).history("a1")
    for person in ("p0", "p1", "p2"):
        mine = [e.component for e in history if e.annotator == person]
        assert mine == list(range(10))


def test_commands_on_postgresql(
    team: Workspace, server: str, tiny_audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(tiny_audit.folder.parent.parent), "--database", server]
    label = tiny_audit.classes[0].label
    tag = ["tags", "add", "tiny", "--class", label, "--component", "0", "--tag", "core"]
    assert main([*tag, *where]) == 0
    assert main(["tags", "list", "tiny", *where]) == 0
    assert "1 core" in capsys.readouterr().out
    assert len(TagStore.open(team).current(tiny_audit.id)) == 1


def test_a_wrong_password_is_not_repeated(server: str, tmp_path: Path) -> None:
    wrong = server.replace(PASSWORD, "wrong-and-secret")
    with pytest.raises(WorkspaceError, match="cannot open the tags in postgresql") as caught:
        TagStore.open(Workspace(tmp_path, wrong))
    assert "wrong-and-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("no url with secret-word", "is no database URL; give for example"),
        ("nosuch://me:secret-word@host/db", "'nosuch' is no kind of database that is known"),
        ("sqlite://", "names no file, and its tags would be gone with this process"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////tmp/t?secret-word=1", "is given with options that do not exist"),
        ("sqlite:////tmp/t?timeout=secret-word", "is given with options that do not exist"),
        ("mysql://me:secret-word@host/db", "needs a driver: pip install"),
    ],
)
def test_bad_addresses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        TagStore.open(Workspace(tmp_path, address))
    assert "secret-word" not in str(caught.value)


def test_a_place_is_named_without_its_password() -> None:
    url = parse("postgresql://me:hush@host/db?password=other&sslpassword=third")
    assert place(url) == "postgresql+psycopg://me:***@host/db"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@word@host/db",
        "postgresql://me:secret@@word/db",
        "postgresql://m/e:secret-word@host/db",
        "postgresql://host/db?password=secret@word",
        "postgresql://me:1234/db?password=secret@word",
        "postgresql://me@host?password=secret@word",
        "postgresql://me:secret-word/db",
        "postgresql:/me:secret-word@host/db",
        "postgresql://me:x@host:secret-word/db",
        "sqlite://me:secret-word@host/db",
    ],
)
def test_nothing_of_an_unclear_address_is_repeated(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="give for example|write %40 for @") as caught:
        TagStore.open(Workspace(tmp_path, address))
    assert not [word for word in ("secret", "word", "1234") if word in _after_url(caught.value)]


def _after_url(error: Exception) -> str:
    """A message without the word "password", which is no password."""
    return str(error).replace("password", "")


def test_encoded_passwords_are_read() -> None:
    url = parse("postgresql://me:p%40s%2Fs%3Aw%3Fo%23rd@host:5433/db")
    assert (url.password, url.host, url.port) == ("p@s/s:w?o#rd", "host", 5433)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('connection to server at "secret-host" failed: Connection refused', "no server answers"),
        ('FATAL: password authentication failed for user "secret-user"', "refuses the name or"),
        ("could not translate host name", "there is no such host"),
        ('invalid connection option "secret-word"', "has an option that is unknown"),
        ("secret-word", "the server failed; check that it runs"),
        ("could not extend file: No space left on device", "its disk is full"),
    ],
)
def test_what_a_server_says_is_not_repeated(said: str, told: str) -> None:
    url = parse("postgresql://me:secret-word@host/db")
    error = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception(said))
    with pytest.raises(WorkspaceError, match=told) as caught, failures.told(url, "cannot open"):
        raise error
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["sqlite:///file:{}/t.sqlite?uri=true", "sqlite:///{}/t"])
def test_files_by_other_addresses(tmp_path: Path, address: str) -> None:
    store = TagStore.open(Workspace(tmp_path / "w", address.format(tmp_path)))
    store.add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert len(store.current("a1")) == 1


def test_a_job_keeps_no_address_of_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_DATABASE", "postgresql://me:secret-word@host/db")
    workspace = Workspace.default(tmp_path)
    job = jobs.start(workspace, ["tags", "list", "nothing"], "a title")
    while jobs.read(workspace, job.id).state == "running":
        time.sleep(0.05)
    said = b"".join(path.read_bytes() for path in (tmp_path / "jobs").iterdir())
    assert b"nothing" in said
    assert b"secret-word" not in said


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "a@b", "a:b", "ü"])
def test_a_workspace_of_any_name_has_its_own_file(tmp_path: Path, name: str) -> None:
    TagStore.open(Workspace(tmp_path / name)).add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert (tmp_path / name / "tags.sqlite").exists()


def test_the_environment_names_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_DATABASE", f"sqlite:///{tmp_path}/team/tags.sqlite")
    TagStore.open(Workspace.default(tmp_path)).add(
        "a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE
    )
    assert (tmp_path / "team" / "tags.sqlite").exists()
    assert Workspace.default(tmp_path, "sqlite://").database == "sqlite://"
