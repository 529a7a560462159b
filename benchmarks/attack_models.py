"""Checkpoints that are odd, damaged or made to harm: each is refused in words or loaded rightly."""

from __future__ import annotations

import json
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmarks.attack_files import DAMAGES, State, files, saved
from benchmarks.attacked import Attack
from benchmarks.measure import Line
from core.corrections.package import write_checkpoint
from core.errors import SpurioscopeError
from core.models.linear import Correction, Head
from core.models.load import load_model
from core.models.model import Model

ARCHITECTURE = "timm:test_resnet"
OUTPUTS = ["ant", "bee", "cat", "dog"]
ROWS = 3
"""Of the correction."""

SIDE = 64
"""Pixels of the images that answers are compared on."""

FACTS = "spurioscope"
"""The header entry of a corrected model."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Answer:
    """What a loaded model says."""

    logits: np.ndarray
    notes: frozenset[str]
    structure: tuple[object, ...]
    """Outputs, rows of the correction, whether the head is trained."""
    normalised: tuple[object, ...]

    @property
    def shape(self) -> tuple[object, ...]:
        """What no other letter or number in a valid file changes: outputs, correction, head."""
        outputs, rows, trained = self.structure
        return len(self.logits[0]), outputs is None, rows, trained

    def equals(self, other: Answer) -> bool:
        """Whether nothing differs that a user would see."""
        same = (self.shape, self.structure, self.normalised) == (
            other.shape,
            other.structure,
            other.normalised,
        )
        return same and np.allclose(self.logits, other.logits, atol=2e-3, rtol=2e-3)


@cache
def _images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def _answer(model: Model) -> Answer:
    logits = model.logits(model.encode(_images()).features.numpy())
    rows = 0 if model.correction is None else len(model.correction.read)
    structure = (model.outputs, rows, model.head_trained)
    normalised = (*map(float, model.preprocess.mean), *map(float, model.preprocess.std))
    return Answer(logits, frozenset(model.notes), structure, normalised)


def _loaded(path: Path) -> Answer:
    return _answer(load_model(ARCHITECTURE, checkpoint=path))


# ---------------------------------------------------------------- one tensor of a state dict


def _quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)


def _filled(value: float) -> Callable[[Tensor], Tensor]:
    def fill(tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        changed.view(-1)[0] = value
        return changed

    return fill


def _strided(tensor: Tensor) -> Tensor:
    """The same values in another order of memory."""
    return tensor.t().contiguous().t() if tensor.ndim == 2 else tensor


TENSORS: dict[str, Callable[[Tensor], object]] = {
    "sparse": lambda t: t.to_sparse(),
    "compressed rows": lambda t: t.flatten(1).to_sparse_csr() if t.ndim > 1 else t.to_sparse(),
    "quantised": _quantised,
    "meta": lambda t: t.to("meta"),
    "complex": lambda t: t.to(torch.complex64),
    "integers": lambda t: t.to(torch.int32),
    "bool": lambda t: t.bool(),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "float64": lambda t: t.double(),
    "whole numbers of 16 bits": lambda t: t.to(torch.uint16),
    "0-d": lambda t: t.flatten()[0],
    "zero-size": lambda t: t[:0],
    "a dimension more": lambda t: t[None],
    "flattened": lambda t: t.flatten(),
    "nan": _filled(np.nan),
    "inf": _filled(np.inf),
    "strided": _strided,
    "nested": lambda t: torch.nested.nested_tensor([t.flatten(), t.flatten()[:1]]),
    "parameter": lambda t: nn.Parameter(t.clone()),
    "list": lambda t: t.flatten()[:9].tolist(),
    "none": lambda t: None,
    "expanded": lambda t: torch.zeros(1).expand(10**9),
    "expanded, many dimensions": lambda t: torch.zeros(1).expand(*[9] * 9),
    "view of a larger one": lambda t: torch.cat([t.flatten(), t.flatten()])[: t.numel()].view_as(t),
}
"""What becomes of a tensor; the head's and the first norm's are changed in turn."""

CHANGED = ("fc.weight", "fc.bias", "bn1.running_var", "conv1.0.weight", "layer1.0.bn1.running_mean")


def _with(state: State, **changed: object) -> State:
    return {**state, **{name.replace("__", "."): value for name, value in changed.items()}}


def _without(state: State, *names: str) -> State:
    return {name: value for name, value in state.items() if name not in names}


def _nested_tuple(depth: int) -> object:
    value: object = ()
    for _ in range(depth):
        value = (value,)
    return value


def _normalizer(mean: list[float], std: list[float] | None) -> State:
    found = {"module.normalizer.new_mean": torch.tensor(mean)}
    return found | ({} if std is None else {"module.normalizer.new_std": torch.tensor(std)})


CONTENTS: dict[str, Callable[[State], object]] = {
    "head removed": lambda s: _without(s, "fc.weight", "fc.bias"),
    "bias removed": lambda s: _without(s, "fc.bias"),
    "head weight removed": lambda s: _without(s, "fc.weight"),
    "tensor removed": lambda s: _without(s, "layer1.0.bn1.weight"),
    "tensor renamed": lambda s: {n.replace("bn1.bias", "bn1.bios"): t for n, t in s.items()},
    "head renamed": lambda s: {n.replace("fc.", "classifier."): t for n, t in s.items()},
    "bias renamed": lambda s: {n.replace("fc.bias", "fc.bibs"): t for n, t in s.items()},
    "wrapped": lambda s: {f"module.model.{n}": t for n, t in s.items()},
    "half wrapped": lambda s: {("module." if "fc" in n else "") + n: t for n, t in s.items()},
    "unknown wrapper": lambda s: {f"wrapper.{n}": t for n, t in s.items()},
    "two copies that differ": lambda s: s | {f"module.{n}": t * 2 for n, t in s.items()},
    "two copies": lambda s: s | {f"module.{n}": t for n, t in s.items()},
    "another head under a wrapper": lambda s: s | {"module.fc.weight": torch.zeros(9, 9)},
    "head under a wrapper with more rows": lambda s: (
        _without(s, "fc.weight", "fc.bias")
        | {
            "module.fc.weight": torch.zeros(9, s["fc.weight"].shape[1]),
            "module.fc.bias": torch.zeros(9),
        }
    ),
    "numbers for names": lambda s: dict(enumerate(s.values())),
    "one number for a name": lambda s: s | {7: torch.zeros(3)},
    "bytes for names": lambda s: {n.encode(): t for n, t in s.items()},
    "a tuple for a name": lambda s: s | {("fc", "weight"): torch.zeros(3)},
    "nested five deep": lambda s: {"model": {"model": {"model": {"model": {"model": s}}}}},
    "copies for training beside": lambda s: {
        "state_dict": s,
        "ema": {n: t * 2 for n, t in s.items()},
    },
    "a tensor beside": lambda s: {"state_dict": s, "fc.weight": s["fc.weight"] * 2},
    "list": lambda s: list(s.values()),
    "lists of lists": lambda s: [[[list(s.items())]]],
    "one tensor": lambda s: s["fc.weight"],
    "no tensors": lambda s: {"epoch": 3},
    "text": lambda s: "weights",
    "none": lambda s: None,
    "tuple as deep as a well": lambda s: s | {"config": _nested_tuple(900)},
    "bytes": lambda s: s | {"config": bytearray(9)},
    "head of another width": lambda s: _with(s, fc__weight=torch.zeros(4, 3)),
    "head without rows": lambda s: _with(
        s, fc__weight=s["fc.weight"][:0], fc__bias=s["fc.bias"][:0]
    ),
    "head with a short bias": lambda s: _with(s, fc__bias=s["fc.bias"][:2]),
    "head of a convolution": lambda s: _with(s, fc__weight=s["fc.weight"][:, :, None, None]),
    "negative variance": lambda s: _with(s, bn1__running_var=-s["bn1.running_var"]),
    "weights too large": lambda s: _with(s, fc__weight=s["fc.weight"] * 1e38 * 1e3),
    "weights of float64 too large": lambda s: _with(s, fc__bias=s["fc.bias"].double() + 1e300),
    "normaliser": lambda s: s | _normalizer([0.4, 0.5, 0.6], [0.2, 0.2, 0.2]),
    "normaliser with std 0": lambda s: s | _normalizer([0.4, 0.5, 0.6], [0.2, 0.0, 0.2]),
    "normaliser with nan": lambda s: s | _normalizer([0.4, np.nan, 0.6], [0.2, 0.2, 0.2]),
    "normaliser with mean alone": lambda s: s | _normalizer([0.4, 0.5, 0.6], None),
    "normaliser of four channels": lambda s: s | _normalizer([0.4] * 4, [0.2] * 4),
    "two normalisers": lambda s: (
        s
        | _normalizer([0.4, 0.5, 0.6], [0.2] * 3)
        | {"normalize.mean": torch.zeros(3), "normalize.std": torch.ones(3)}
    ),
    "empty name": lambda s: s | {"": torch.zeros(2)},
    "a very long name": lambda s: s | {"x" * 10**5: torch.zeros(2)},
}
"""What a whole state dict becomes."""

# ---------------------------------------------------------------- corrected models

PARTS = ("correction.read", "correction.offset", "correction.write")


def _wrong(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda s: {**s, name: change(s[name]).contiguous()}


CORRECTED: dict[str, Callable[[State], State]] = {
    "kept": lambda s: s,
    "correction removed": lambda s: _without(s, *PARTS),
    **{f"{name} removed": lambda s, name=name: _without(s, name) for name in PARTS},  # type: ignore[misc]
    **{f"{name} with nan": _wrong(name, _filled(np.nan)) for name in PARTS},
    **{f"{name} with inf": _wrong(name, _filled(np.inf)) for name in PARTS},
    **{f"{name} a row less": _wrong(name, lambda t: t[1:]) for name in PARTS},
    **{f"{name} integers": _wrong(name, lambda t: t.int()) for name in PARTS},
    **{f"{name} complex": _wrong(name, lambda t: t.to(torch.complex64)) for name in PARTS},
    "another width": _wrong(PARTS[0], lambda t: t[:, 1:]),
    "of one row": lambda s: {
        **s,
        **{n: (s[n].t()[:1].t() if "write" in n else s[n][:1]).contiguous() for n in PARTS},
    },
    "flattened": _wrong(PARTS[0], lambda t: t.flatten()),
    "wrapped": lambda s: {f"module.{n}": t for n, t in s.items()},
    "correction alone wrapped": lambda s: {
        ("module." if n in PARTS else "") + n: t for n, t in s.items()
    },
    "two corrections": lambda s: s | {f"module.{n}": s[n] * 2 for n in PARTS},
    "correction twice": lambda s: s | {f"module.{n}": s[n].clone() for n in PARTS},
    "head removed": lambda s: _without(s, "fc.weight", "fc.bias"),
    "head of fewer rows": lambda s: {
        **s,
        "fc.weight": s["fc.weight"][1:].clone(),
        "fc.bias": s["fc.bias"][1:].clone(),
    },
    "correction renamed": lambda s: {n.replace("correction", "corection"): t for n, t in s.items()},
}
"""What the tensors of a corrected model become; each with its header, without, and as pickle."""

HEADERS: dict[str, object] = {
    "outputs twice": {"outputs": ["ant", "ant", "cat", "dog"]},
    "an output less": {"outputs": OUTPUTS[1:]},
    "outputs none": {"outputs": None},
    "outputs of numbers": {"outputs": [0, 1, 2, 3]},
    "outputs of lists": {"outputs": [["ant"], ["bee"], ["cat"], ["dog"]]},
    "outputs as text": {"outputs": "abcd"},
    "std 0": {"std": [0.2, 0.0, 0.2]},
    "std negative": {"std": [-0.2, 0.2, 0.2]},
    "std tiny": {"std": [1e-30, 0.2, 0.2]},
    "std nan": {"std": [float("nan"), 0.2, 0.2]},
    "std infinite": {"std": [float("inf"), 0.2, 0.2]},
    "std short": {"std": [0.2, 0.2]},
    "std one number": {"std": 0.2},
    "std as text": {"std": ["0.2", "0.2", "0.2"]},
    "std bool": {"std": [True, True, True]},
    "mean nan": {"mean": [float("nan"), 0.5, 0.5]},
    "mean huge": {"mean": [10**400, 0.5, 0.5]},
    "mean by name": {"mean": {"r": 0.5}},
    "mean none": {"mean": None},
    "correction of more rows": {"correction": ROWS + 1},
    "correction none": {"correction": 0},
    "correction as text": {"correction": "yes"},
    "correction bool": {"correction": True},
    "no entries": {},
    "a list": [],
    "a number": 3,
}
"""Entries that replace those of a header, or all of it where they are no dictionary."""


def _headers(header: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    facts = json.loads(header[FACTS])
    for name, change in HEADERS.items():
        told = {**facts, **change} if isinstance(change, dict) and change else change
        yield name, {**header, FACTS: json.dumps(told)}
    for entry in ("outputs", "mean", "std", "model", "correction"):
        yield f"without {entry}", {**header, FACTS: json.dumps(_without(facts, entry))}
    yield "no JSON", {**header, FACTS: "{"}
    yield "nested JSON", {**header, FACTS: "[" * 10**5}
    yield "empty text", {**header, FACTS: ""}


# ---------------------------------------------------------------- the attack


@dataclass(frozen=True)
class Try:
    """One checkpoint."""

    name: str
    data: bytes
    reference: Answer
    values: bool = False
    """Bytes were changed anywhere: other values make another valid checkpoint."""
    ending: str = ".pth"


@dataclass(frozen=True)
class _Base:
    """The files that everything is made of, undamaged, and their answers."""

    state: State
    pickled: bytes
    legacy: bytes
    corrected: bytes
    plain: Answer
    answer: Answer
    """Of the corrected one."""


def _base(folder: Path) -> _Base:
    import timm

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE.partition(":")[2], num_classes=len(OUTPUTS))
    (folder / "plain.pth").write_bytes(saved(network.state_dict()))
    model = load_model(ARCHITECTURE, checkpoint=folder / "plain.pth")
    d, k = model.n_features, len(OUTPUTS)
    shapes = ((ROWS, d), (ROWS,), (k, ROWS))
    correction = Correction(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    head = Head(model.weight, model.bias, OUTPUTS, OUTPUTS, "fit", correction)
    write_checkpoint(model, head, folder / "corrected.safetensors")
    state = dict(network.state_dict())
    return _Base(
        state,
        (folder / "plain.pth").read_bytes(),
        saved(state, legacy=True),
        (folder / "corrected.safetensors").read_bytes(),
        _answer(model),
        _loaded(folder / "corrected.safetensors"),
    )


def _tries(base: _Base, rng: Rng) -> Iterator[Try]:
    """All kinds once, the random ones without end."""
    for i, (name, change) in enumerate(TENSORS.items()):
        for at in (CHANGED[0], CHANGED[1 + i % 4]):
            content = {**base.state, at: change(base.state[at])}
            yield Try(f"{at} {name}", saved(content), base.plain)
    for name, whole in CONTENTS.items():
        yield Try(name, saved(whole(base.state)), base.plain)
    yield from _corrected_tries(base)
    for name, data in files(base.pickled, base.state):
        yield Try(name, data, base.plain, ending=Path(name).suffix)
    sources = ((base.pickled, ".pth"), (base.legacy, ".pth"), (base.corrected, ".safetensors"))
    while True:
        for name, damage in DAMAGES.items():
            for data, ending in sources:
                answer = base.answer if ending == ".safetensors" else base.plain
                yield Try(f"{ending} {name}", damage(data, rng), answer, True, ending)


def _corrected_tries(base: _Base) -> Iterator[Try]:
    size = struct.unpack("<Q", base.corrected[:8])[0]
    header = json.loads(base.corrected[8 : 8 + size])["__metadata__"]
    tensors = load(base.corrected)
    for name, change in CORRECTED.items():
        state = change(tensors)
        whole = save(state, metadata=header)
        yield Try(f"corrected, {name}", whole, base.answer, ending=".safetensors")
        if name == "correction removed":
            continue  # with the header gone, too, nothing tells the file from a plain checkpoint
        yield Try(f"no header, {name}", save(state), base.answer, ending=".safetensors")
        yield Try(f"pickled, {name}", saved({"state_dict": state}), base.answer)
    for name, told in _headers(header):
        data = save(tensors, metadata=told)
        yield Try(f"header {name}", data, base.answer, ending=".safetensors")


def _meet(attack: Attack, one: Try, path: Path) -> None:
    """Load one checkpoint and judge what came of it."""
    path.write_bytes(one.data)
    try:
        found = _loaded(path)
    except SpurioscopeError as error:
        attack.judge(one.name, str(error))
        return
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        attack.tries += 1
        attack.raw.append(f"{one.name}: {type(error).__name__}: {str(error)[:200]}")
        return
    attack.tries += 1
    told = found.notes - one.reference.notes
    same = found.equals(one.reference)
    if one.values:
        same = found.shape == one.reference.shape
    if not same and not told:
        attack.silent.append(f"{one.name}: loads as something else")


def attack(seed: int = 0, count: int = 400) -> Attack:
    """Load many odd checkpoints of a small network.

    Parameters
    ----------
    seed : of the bytes that are changed.
    count : checkpoints; those beyond the named kinds (about 280) have random bytes changed.
    """
    found, rng, threads = Attack(), np.random.default_rng(seed), torch.get_num_threads()
    torch.set_num_threads(1)  # for networks this small threads cost four times what they save
    try:
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on odd tensors
            folder = Path(temporary)
            tries = _tries(_base(folder), rng)
            for _, one in zip(range(count), tries, strict=False):
                _meet(found, one, folder / f"odd{one.ending}")
    finally:
        torch.set_num_threads(threads)
    return found


def run() -> list[Line]:
    """Both figures."""
    return attack().lines("Checkpoints")
