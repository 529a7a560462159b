"""Checkpoints: read without running code, renamed, refused where they do not belong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.checkpoint import fit_checkpoint
from core.models.weights import read_checkpoint

PREFIXES = (
    "",
    "module.",
    "model.",
    "module.model.",
    "_orig_mod.",
    "attacker.model.",
    "module.attacker.model.",
    "backbone.",
    "encoder.",
    "net.",
)


class _Small(nn.Module):
    def __init__(self, width: int = 4, rows: int = 3) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, rows)


def _state(width: int = 4, rows: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return _Small(width, rows).state_dict()


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix_is_repaired(prefix: str) -> None:
    network = _Small()
    fit = fit_checkpoint(_prefixed(prefix, _state()), network, head="fc")
    assert (fit.prefix, fit.missing, fit.unexpected, fit.wrong_shape) == (prefix, (), (), ())
    assert fit.head_loaded
    for name, tensor in _state().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_two_copies_and_a_normalizer() -> None:
    state = _prefixed("module.model.", _state()) | _prefixed("module.attacker.model.", _state())
    state["module.normalizer.new_mean"] = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    state["module.normalizer.new_std"] = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    state["module.attacker.normalize.new_mean"] = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    fit = fit_checkpoint(state, _Small(), head="fc")
    assert fit.mean == pytest.approx((0.1, 0.2, 0.3))
    assert fit.std == pytest.approx((0.4, 0.5, 0.6))
    assert fit.unexpected == ()
    assert any("own mean" in note for note in fit.notes)


def test_encoder_and_head_under_different_prefixes() -> None:
    state = {("" if "fc" in name else "backbone.") + name: t for name, t in _state().items()}
    fit = fit_checkpoint(state | {"extra": torch.zeros(1)}, _Small(), head="fc")
    assert fit.head_loaded
    assert fit.unexpected == ("extra",)


def test_head_of_another_size() -> None:
    network = _Small()
    fit = fit_checkpoint(_state(rows=5), network, head="fc")
    assert (fit.n_outputs, fit.head_loaded) == (5, True)
    assert torch.equal(network.fc.weight, _state(rows=5)["fc.weight"])
    with pytest.raises(CheckpointError, match="head of 5 outputs, not 2"):
        fit_checkpoint(_state(rows=5), _Small(), head="fc", num_outputs=2)


def test_missing_head_is_left_to_fit() -> None:
    state = {name: tensor for name, tensor in _state().items() if "fc" not in name}
    fit = fit_checkpoint(state, _Small(), head="fc", num_outputs=2)
    assert not fit.head_loaded
    assert fit.missing == ("fc.weight", "fc.bias")
    assert fit.n_outputs == 2


def test_head_without_bias_gets_zeros() -> None:
    state = _state()
    del state["fc.bias"]
    network = _Small()
    fit_checkpoint(state, network, head="fc")
    assert network.fc.bias.eq(0).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"features.0.weight": torch.zeros(2)}, "Missing: conv.weight, conv.bias"),
        (_state(width=6), "Of another shape: conv.weight"),
    ],
    ids=["names", "shapes"],
)
def test_other_architecture_is_refused(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match="belongs to another architecture") as raised:
        fit_checkpoint(state, _Small(), head="fc", source="file.pth")
    assert message in str(raised.value)
    assert "file.pth" in str(raised.value)


@pytest.mark.parametrize(
    "nest",
    [
        [],
        ["state_dict"],
        ["model"],
        ["model_state_dict"],
        ["net"],
        ["ema"],
        ["model", "state_dict"],
    ],
)
def test_nesting_is_unwrapped(tmp_path: Path, nest: list[str]) -> None:
    content: object = _state()
    for name in nest:
        content = {name: content, "epoch": 3, "schedule": None}
    torch.save(content, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert list(read) == list(_state())


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(_state(), tmp_path / "a.safetensors")
    assert set(read_checkpoint(tmp_path / "a.safetensors")) == set(_state())


def test_the_content_tells_the_format_not_the_name(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(_state(), tmp_path / "a.pth")
    torch.save(_state(), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert set(read_checkpoint(tmp_path / name)) == set(_state())


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    mark = tmp_path / "ran"
    content = {"state_dict": _state(), "schedule": _Bomb(mark)}
    torch.save(content, tmp_path / "bomb.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="Python objects.*refused and nothing was run"):
        read_checkpoint(tmp_path / "bomb.pt")
    assert not mark.exists()


def test_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "bomb.bin").write_bytes(pickle.dumps(_Bomb(mark), protocol=2))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "bomb.bin")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("keep", [0, 40, 0.5])
def test_cut_off_files(tmp_path: Path, name: str, keep: float) -> None:
    from safetensors.torch import save_file

    (save_file if name.endswith("safetensors") else torch.save)(_state(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    size = int(len(whole) * keep) if isinstance(keep, float) else keep
    (tmp_path / name).write_bytes(whole[:size])
    with pytest.raises(CheckpointError, match="cut off"):
        read_checkpoint(tmp_path / name)


def test_no_tensors_and_no_file(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="no tensors"):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_checkpoint(tmp_path / "missing.pth")


ODD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sparse": (lambda t: t.to_sparse(), "as a sparse or quantised tensor"),
    "quantised": (
        lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
        "as a sparse or quantised tensor",
    ),
    "meta": (lambda t: t.to("meta"), "without values"),
    "complex": (lambda t: t.to(torch.complex64), "as complex numbers"),
    "integers": (lambda t: t.int(), "as int32"),
    "bool": (lambda t: t.bool(), "as bool"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), "as float8_e4m3fn"),
    "nan": (lambda t: t * torch.nan, "with NaN or infinity"),
    "too large": (lambda t: t.double() * 1e300, "with NaN or infinity"),
}
"""What a tensor becomes, and what is said of it."""


@pytest.mark.parametrize("name", ["conv.weight", "fc.weight", "bn.running_var"])
@pytest.mark.parametrize(("change", "message"), ODD.values(), ids=ODD)
def test_tensors_that_cannot_be_copied_as_they_are_are_refused(
    name: str, change: Callable[[Tensor], Tensor], message: str
) -> None:
    state = _state()
    state[name] = change(state[name])
    with pytest.raises(CheckpointError, match=f"a.pth holds {name} {message}.*save it as a plain"):
        fit_checkpoint(state, _Small(), head="fc", source="a.pth")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_precision_are_taken(kind: torch.dtype) -> None:
    network, state = _Small(), {name: t.to(kind) for name, t in _state().items()}
    fit_checkpoint(state, network, head="fc")
    assert torch.equal(network.fc.weight, state["fc.weight"].float())


def test_whole_numbers_are_not_rounded_from_fractions() -> None:
    network = _Small()
    network.register_buffer("index", torch.arange(3))
    state = {**_state(), "index": torch.tensor([0.5, 1.0, 2.0])}
    with pytest.raises(CheckpointError, match="index as fractions where the network has whole"):
        fit_checkpoint(state, network, head="fc")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fc.weight": torch.zeros(())}, "Of another shape: fc.weight"),
        ({"fc.weight": torch.zeros(3, 4, 1, 1)}, "Of another shape: fc.weight"),
        ({"fc.weight": torch.zeros(0, 4), "fc.bias": torch.zeros(0)}, "a head without outputs"),
        ({"fc.bias": torch.zeros(2)}, "Of another shape: fc.bias"),
    ],
    ids=["0-d", "convolution", "no rows", "short bias"],
)
def test_heads_of_odd_shapes_are_refused(changed: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        fit_checkpoint({**_state(), **changed}, _Small(), head="fc")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.0, 0.6]}, r"std = \[0.4.*three numbers from"),
        ({"mean": [0.1, 0.2, 0.3], "std": [-0.4, 0.5, 0.6]}, "three numbers from 0.0001"),
        ({"mean": [0.1, torch.nan, 0.3], "std": [0.4, 0.5, 0.6]}, "mean with NaN or infinity"),
        ({"mean": [0.1] * 4, "std": [0.4] * 4}, "mean = .*three numbers from -1000"),
        ({"mean": [0.1, 0.2, 0.3]}, "normalisation layer with mean alone"),
        ({"std": [0.1, 0.2, 0.3]}, "normalisation layer with std alone"),
    ],
)
def test_a_normalizer_that_no_image_can_pass_is_refused(
    layer: dict[str, list[float]], message: str
) -> None:
    state = _state() | {f"normalizer.{part}": torch.tensor(v) for part, v in layer.items()}
    with pytest.raises(CheckpointError, match=message):
        fit_checkpoint(state, _Small(), head="fc")


def test_normalizers_that_differ_are_refused() -> None:
    state = _state() | {f"normalizer.{p}": torch.full((3,), 0.5) for p in ("mean", "std")}
    state |= {f"module.normalizer.{p}": torch.full((3,), 0.4) for p in ("mean", "std")}
    with pytest.raises(CheckpointError, match="several normalisation layers that differ"):
        fit_checkpoint(state, _Small(), head="fc")


def test_what_was_assumed_or_left_out_is_told() -> None:
    state = _state()
    del state["fc.bias"]
    assert fit_checkpoint(state, _Small(), head="fc").notes == (
        "The checkpoint's head has no bias: it is taken to be 0.",
    )
    twice = _state() | {f"module.{name}": t for name, t in _state().items()}
    assert fit_checkpoint(twice, _Small(), head="fc").notes == ()
    twice["module.fc.weight"] = twice["fc.weight"] * 2
    assert fit_checkpoint(twice, _Small(), head="fc").notes == (
        "The checkpoint has other copies that differ, not read: module.fc.weight.",
    )
    extra = _state() | {"normalizer.scale": torch.ones(3)}
    assert "normalizer.scale" in fit_checkpoint(extra, _Small(), head="fc").notes[0]
