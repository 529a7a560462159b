"""Stored audits that were damaged in every way that a seed finds, and what commands say then.

Each try links the files of one finished audit into a new workspace, damages one of them, and runs
one command in this process, or reads everything as the pages do. What is said has to be in our own
words. A command that succeeds has to say what it says of the undamaged audit, or say a word about
the damage; every third try takes the digests away first, as in audits of earlier versions, and
then only the words count.

A limit on purpose: of files above 1 MiB only the size and the first block are compared when they
are opened, so damage behind it is noticed by ``verify``, before a report, and when the same audit
is run again; for other commands it is no silent difference.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.attacked import Attack
from benchmarks.measure import MODEL, Line
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import SpurioscopeError
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag

NAME = "attacked"
DIGESTS = "digests.json"
LARGE, BLOCK = 2**20, 4096
PER_CLASS, SIDE = 12, 96

SAID = re.compile(r"damaged|cannot be read|is missing|not finished|run the same|lacks|were sound")
"""Words about damage."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "show": ("show", NAME),
    "show as JSON": ("show", NAME, "--json"),
    "list": ("list", "--json"),
    "images": ("export", NAME, "images", "--out", "OUT.csv"),
    "components": ("export", NAME, "components", "--out", "OUT.csv"),
    "alpha": ("export", NAME, "alpha", "--class", "#0", "--out", "OUT.csv"),
    "features": ("export", NAME, "features", "--out", "OUT.npz"),
    "maps": ("export", NAME, "heatmaps", "--class", "#1", "--component", "0", "--out", "OUT.npz"),
    "tags": ("tags", "list", NAME),
    "gaps": ("measure", NAME, "--what", "gap", "--json"),
    "map": ("map", NAME, "--pca-only", "--json"),
    "report": ("report", NAME, "--quick", "--out", "OUT.html", "--appendix", "OUT.zip"),
    "verify": ("verify", NAME, "--json"),
}
READ, AGAIN = "reading", "the same audit"
WHOLE = {"report", "verify", AGAIN}
"""They promise to have compared everything."""

EVERY = 40
"""Tries between two that run the same audit again, which loads the model."""


@dataclass
class Bench:
    """The undamaged audit, and what is said of it."""

    folder: Path
    audit_id: str
    request: AuditRequest
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Path:
        """The undamaged workspace."""
        return self.folder / "whole"

    def copy(self, number: int) -> Path:
        """A workspace of links to the same files, and the tags."""
        root = self.folder / f"try-{number}"
        shutil.copytree(self.whole, root, copy_function=os.link)
        for file in root.glob("tags.sqlite*"):
            file.unlink()
        for file in self.whole.glob("tags.sqlite*"):
            shutil.copyfile(file, root / file.name)
        return root


def bench(folder: Path) -> Bench:
    """Audit a few drawn pictures with the packaged model, tag two components, and use it once."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, colour in (("blue", 2), ("red", 0)):
            (folder / "data" / split / label).mkdir(parents=True)
            for i in range(PER_CLASS):
                pixels = rng.normal(110, 25, (SIDE, SIDE, 3))
                pixels[8:40, 8:40, colour] += 120
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(folder / "data" / split / label / f"{i:02d}.png")
    request = AuditRequest(
        str(folder / "data"), MODEL, NAME, "fit", batch_size=16, precision="fp32", device="cpu"
    )
    workspace = Workspace(folder / "whole")
    audit = run_audit(request, workspace)
    store = TagStore.open(workspace)
    for component, tag in ((0, Tag.SPURIOUS), (1, Tag.CORE)):
        store.add("ann", audit.id, CandidateKey(audit.classes[0].label, PCA, component), tag)
    made = Bench(folder, audit.id, request)
    for command in ("gaps", "map", "report"):  # they leave files
        answer(made, made.whole, command)
    for command in (*COMMANDS, READ):
        made.answers[command] = answer(made, made.whole, command)[1]
    made.answers[AGAIN] = content(made.whole / "audits" / audit.id)
    return made


def answer(made: Bench, root: Path, command: str) -> tuple[int, Any, str]:
    """Exit code, what a command or a reading says of a workspace, and its complaints."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            if command == READ:
                return 0, reading(root / "audits" / made.audit_id), ""
            if command == AGAIN:
                run_audit(made.request, Workspace(root))
                return 0, content(root / "audits" / made.audit_id), ""
            code, files = commanded(root, COMMANDS[command])
        except SpurioscopeError as error:
            return 2, None, str(error)
        except Exception:  # noqa: BLE001 - whatever comes is what is looked for
            return 1, None, traceback.format_exc()
    text = said.getvalue().replace(str(root), "ROOT")
    return code, (text, files), complained.getvalue()


def commanded(root: Path, words: tuple[str, ...]) -> tuple[int, dict[str, str]]:
    """Run one command; its exit code, and digests of the files that it wrote."""
    from core.__main__ import main
    from core.commands.parser import COMMANDS as KNOWN

    if words[0] not in KNOWN:
        return 0, {}
    (root / "out").mkdir(exist_ok=True)
    arguments = [word.replace("OUT", str(root / "out" / "f")) for word in words]
    code = main([*arguments, "--workspace", str(root)])
    files = {path.name: _digest(path.read_bytes()) for path in (root / "out").iterdir()}
    shutil.rmtree(root / "out")
    return code, files


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def reading(folder: Path) -> str:
    """Everything that pages read of an audit, as one digest."""
    audit = Audit(folder)
    ids = audit.images.index.tolist()
    parts: list[Any] = [audit.images.to_csv(), audit.candidates.to_csv(), audit.summary]
    parts += [audit.preprocess, audit.held_out, audit.head.weight, audit.features(ids)]
    for facts in audit.classes:
        arrays = audit.class_arrays(facts.class_idx)
        for candidate in (arrays.candidate("pca", 0), arrays.candidate("neuron", 5)):
            parts += [candidate.direction, candidate.offset]
        parts += [np.asarray(arrays.alpha), arrays.top_maps, arrays.image_ids, arrays.facts]
        parts += [audit.class_arrays(facts.class_idx).carried]
    maps = audit.maps(ids[:2]) if audit.store.has_maps(ids[:2]) else None
    parts.append(maps)
    return _digest(b"".join(_bytes(part) for part in parts))


def _bytes(part: Any) -> bytes:
    return part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()


def content(folder: Path) -> dict[str, str]:
    """Digests of the files of the analysis; the manifest holds the moment that it was made."""
    kept = (p for p in folder.rglob("*") if p.suffix in (".npy", ".parquet"))
    names = {p: p.relative_to(folder).as_posix() for p in kept}
    return {
        name: _digest(path.read_bytes())
        for path, name in names.items()
        if name.partition("/")[0] not in ("map", "measures", "outcomes")
    }


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.choice((0, 1, 7, 100, len(content) // 2, len(content) - 1))]


def _zeroed(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content))
    return content[:start] + bytes(min(200, len(content) - start)) + content[start + 200 :]


def _flipped(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]


def _longer(content: bytes, random: Random) -> bytes:
    return content + random.randbytes(random.choice((1, 50)))


def _foreign(content: bytes, random: Random) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}, None], object), allow_pickle=True)
    texts = (b"", b"\0" * 300, b"PK\x03\x04", pickle.dumps([content[:9]]), b"[" * 50_000, b"null")
    return random.choice((*texts, buffer.getvalue(), b"NaN", b'{"a": Infinity}', b"\xff\xfe" * 99))


def _edited(content: bytes, random: Random) -> bytes:
    """A JSON document with one entry changed, an array header that says something else."""
    try:
        document = json.loads(content)
    except ValueError:
        return content.replace(b"'shape': (", b"'shape': (9", 1).replace(b"<f4", b"<f8", 1)
    while isinstance(document, dict) and document:
        inside, key = document, random.choice(sorted(document))
        if not isinstance(inside[key], dict) or random.random() < 0.5:
            odd = random.choice((None, "x", 3, [], {}, [1, {"a": []}], -1e300, True))
            inside[key] = odd
            if random.random() < 0.4:
                del inside[key]
            break
        document = inside[key]
    return _again(content, document)


def _again(content: bytes, part: Any) -> bytes:
    """The document with ``part`` in place, or the part alone."""
    whole = json.loads(content)
    if isinstance(whole, dict) and isinstance(part, dict):
        for key, value in whole.items():
            if isinstance(value, dict) and value.keys() & part.keys():
                whole[key] = part
                return json.dumps(whole).encode()
        return json.dumps(part).encode()
    return json.dumps(part).encode()


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_cut, _zeroed, _flipped, _longer, _foreign, _edited),
)


def damage(path: Path, random: Random) -> str:
    """Damage a file, whose other names stay as they are; returns what was done."""
    content = path.read_bytes()
    path.unlink()
    if random.random() < 0.1:
        return "deleted"
    how = random.choice(DAMAGES)
    new = how(content, random) if content else b"x"
    path.write_bytes(new)
    if new == content:
        return "left"
    hidden = len(new) == len(content) > LARGE and new[:BLOCK] == content[:BLOCK]
    return f"{how.__name__.strip('_')}{' behind the first block' if hidden else ''}"


def attack(seed: int = 0, count: int = 600) -> Attack:
    """Damage copies of one audit, run commands on them, and collect what is not ours."""
    random, found = Random(seed), Attack()
    with tempfile.TemporaryDirectory() as folder:
        made = bench(Path(folder))
        files = sorted(
            path.relative_to(made.whole)
            for path in (made.whole / "audits").rglob("*")
            if path.is_file() and path.suffix in (".json", ".npy", ".parquet")
        )
        for number in range(count):
            root = made.copy(number)
            _try(made, root, root / random.choice(files), number, random, found)
            shutil.rmtree(root)
    return found


def _try(made: Bench, root: Path, path: Path, number: int, random: Random, found: Attack) -> None:
    old = number % 3 == 2
    if old:
        for digests in root.rglob(DIGESTS):
            digests.unlink()
    if not path.exists():
        return
    names = [*COMMANDS, READ]
    command = AGAIN if number % EVERY == EVERY - 1 else names[number % len(names)]
    how = damage(path, random)
    cause = f"{command}, {path.relative_to(root / 'audits' / made.audit_id)} {how}"
    code, said, complaint = answer(made, root, command)
    found.judge(f"{cause}{', no digests' if old else ''}", f"{said if code else ''}\n{complaint}")
    same = said == made.answers[command] or (code == 0 and how == "left")
    worded = SAID.search(f"{said}\n{complaint}") and command not in WHOLE
    limit = "behind" in how and command not in WHOLE
    if code == 0 and not (same or worded or limit or old or command == "verify"):
        found.silent.append(cause)
    if command == "verify" and code == 0 and how != "left" and not old and same:
        found.silent.append(cause)


def run() -> list[Line]:
    """The figures of the default seed."""
    return attack().lines("a damaged audit")
