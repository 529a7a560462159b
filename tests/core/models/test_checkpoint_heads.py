"""Checkpoints as people save them: their heads, prefixes, sets of weights and records."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.checkpoint import fit_checkpoint
from core.models.weights import read_contents


class Net(nn.Module):
    """conv, norm, relu, global mean, linear."""

    def __init__(self, rows: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6)
        self.fc: nn.Module = nn.Linear(6, rows)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.bn(self.conv(images)).relu().mean((2, 3)))


def trained(seed: int = 1, *, head: nn.Module | None = None, channels: int = 3) -> Net:
    torch.manual_seed(seed)
    net = Net(4, channels).eval()
    net.fc = (head or net.fc).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean), nn.init.uniform_(part.running_var, 0.5, 2)
    return net


def images(channels: int = 3) -> Tensor:
    return torch.rand(5, channels, 12, 12, generator=torch.Generator().manual_seed(3))


def fitted(state: dict[str, Tensor]) -> tuple[Net, Any]:
    net = Net().eval()
    return net, fit_checkpoint(state, net, head="fc", source="a.pth")


HEADS: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Sequential(nn.Dropout(), nn.Linear(6, 4)),
    "two layers": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)),
    "norms": lambda: nn.Sequential(
        *(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5)),
        *(nn.Dropout(), nn.Linear(5, 4, bias=False)),
    ),
    "norm, then relu": lambda: nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 4)
    ),
    "by name": lambda: nn.Sequential(
        collections.OrderedDict(fc1=nn.Linear(6, 5), relu=nn.ReLU(), fc2=nn.Linear(5, 4))
    ),
    "next to each other": lambda: nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 4)),
}


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("prefix", ["", "module.", "lit.backbone_v2."])
def test_a_head_of_several_layers_gives_its_own_logits(
    make: Callable[[], nn.Module], prefix: str
) -> None:
    torch.manual_seed(2)
    theirs = trained(head=make())
    ours, fit = fitted({prefix + name: t for name, t in theirs.state_dict().items()})
    assert fit.head_loaded
    torch.testing.assert_close(ours(images()), theirs(images()))
    assert torch.equal(ours.get_submodule(fit.head).weight, list(theirs.fc.modules())[-1].weight)
    relu = any(isinstance(part, nn.ReLU) for part in theirs.fc.modules())
    assert any("a ReLU was assumed" in note for note in fit.notes) == relu


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_what_is_saved_of_a_rebuilt_head_is_read_as_the_same(
    make: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(2)
    theirs = trained(head=make())
    ours, _ = fitted(theirs.state_dict())
    again, _ = fitted(ours.state_dict())
    torch.testing.assert_close(again(images()), theirs(images()))


@pytest.mark.parametrize("name", ["classifier", "head.0", "linear", "model.fc_new"])
def test_a_head_beside_the_encoder_is_taken(name: str) -> None:
    theirs = trained()
    state = {
        (f"{name}." if "fc" in key else "backbone.") + key.removeprefix("fc."): tensor
        for key, tensor in theirs.state_dict().items()
    }
    ours, fit = fitted(state)
    assert (fit.head_loaded, fit.unexpected) == (True, ())
    torch.testing.assert_close(ours(images()), theirs(images()))


def test_heads_that_cannot_be_told_apart_are_refused() -> None:
    state = {f"net.{n}": t for n, t in trained().state_dict().items() if "fc" not in n}
    two = {f"{n}.weight": torch.zeros(k, 6) for n, k in (("colour", 2), ("shape", 3))}
    with pytest.raises(CheckpointError, match=r"several classifiers .* \(colour, shape\)"):
        fitted(state | two)
    with pytest.raises(CheckpointError, match=r"fc.1.weight of shape \(4, 12\), .* 6 features"):
        fitted(state | {"net.fc.1.weight": torch.zeros(4, 12)})


def test_one_logit_becomes_two_whose_softmax_is_its_sigmoid() -> None:
    theirs = trained(head=nn.Linear(6, 1))
    ours, fit = fitted(theirs.state_dict())
    assert fit.n_outputs == 2
    expected = torch.sigmoid(theirs(images()))[:, 0]
    torch.testing.assert_close(ours(images()).softmax(1)[:, 1], expected)
    assert any("one logit" in note for note in fit.notes)


def test_a_network_for_grey_images_sees_the_grey_of_colours() -> None:
    theirs = trained(channels=1)
    ours, fit = fitted(theirs.state_dict())
    grey = images(1)
    torch.testing.assert_close(ours(grey.expand(-1, 3, -1, -1)), theirs(grey))
    colour = images()
    luma = (colour * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(ours(colour), theirs(luma))
    assert any("for grey images" in note for note in fit.notes)


def test_tensors_in_order_are_taken_where_names_say_nothing() -> None:
    theirs = trained()
    parts = nn.Sequential(theirs.conv, theirs.bn, nn.ReLU(), theirs.fc)
    ours, fit = fitted(parts.state_dict())
    torch.testing.assert_close(ours(images()), theirs(images()))
    assert any("taken in their order" in note for note in fit.notes)


@pytest.mark.parametrize("inside", ["_orig_mod.", "_fsdp_wrapped_module."])
def test_what_stands_inside_names_is_no_part_of_them(inside: str) -> None:
    theirs = trained()
    state = {f"module.{n.replace('.', f'.{inside}', 1)}": t for n, t in theirs.state_dict().items()}
    ours, _ = fitted(state)
    torch.testing.assert_close(ours(images()), theirs(images()))


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_one_of_several_sets_of_weights_can_be_chosen(tmp_path: Path) -> None:
    raw, ema = trained(1).state_dict(), trained(2).state_dict()
    path = saved(tmp_path / "a.pth", {"model": raw, "model_ema": ema, "epoch": 3})
    plain = read_contents(path)
    assert torch.equal(plain.tensors["fc.weight"], raw["fc.weight"])
    (note,) = (note for note in plain.notes if "model_ema" in note)
    assert "--weights" in note
    for word in ("ema", "model_ema"):
        assert torch.equal(read_contents(path, weights=word).tensors["fc.weight"], ema["fc.weight"])
    with pytest.raises(CheckpointError, match="no weights called 'swa'"):
        read_contents(path, weights="swa")
    one = {f"net.{n}": t for n, t in raw.items()} | {f"ema.net.{n}": t for n, t in ema.items()}
    chosen = read_contents(saved(tmp_path / "b.pth", {"state_dict": one}), weights="ema").tensors
    ours, _ = fitted(chosen)
    torch.testing.assert_close(ours(images()), trained(2)(images()))


@pytest.mark.parametrize("nest", [["net_weights"], ["a", "b", "c"], ["best", "student"]])
def test_nests_of_any_name_are_found(tmp_path: Path, nest: list[str]) -> None:
    content: Any = trained().state_dict()
    for name in reversed(nest):
        content = {name: content, "best_acc": torch.tensor(0.9)}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(9)}}, "param_groups": [{"lr": 0.1}]}
    contents = read_contents(saved(tmp_path / "a.pth", {**content, "optimizer": optimizer}))
    assert set(contents.tensors) == set(trained().state_dict())
    assert f"Read of the checkpoint: {'.'.join(nest)}." in contents.notes


def test_records_beside_the_weights_are_read(tmp_path: Path) -> None:
    args = argparse.Namespace(
        mean=[0.1, 0.2, 0.3],
        std=[0.4, 0.5, 0.6],
        img_size=96,
        crop_pct=0.9,
        epochs=3,
        out=Path("/x"),
    )
    content = {
        "model": trained().state_dict(),
        "args": args,
        "when": datetime(2026, 1, 2),
        "best": np.float64(0.5),
        "history": collections.Counter(loss=1),
        "class_to_idx": {"dog": 1, "cat": 0, "emu": 2, "fox": 3},
    }
    contents = read_contents(saved(tmp_path / "a.pth", content))
    training = contents.training
    assert training is not None
    assert (training.mean, training.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (training.input_size, training.crop) == ((96, 96), 0.9)
    assert contents.outputs == ("cat", "dog", "emu", "fox")
    assert any("record of training: mean 0.1, 0.2, 0.3" in note for note in contents.notes)


def test_versions_of_modules_come_along(tmp_path: Path) -> None:
    state = trained().state_dict()
    for content in (state, {"state_dict": state}, {**state, "_metadata": state._metadata}):
        contents = read_contents(saved(tmp_path / "a.pth", content))
        assert contents.versions["bn"] == {"version": 2}
        assert contents.notes == ()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><head>", "is a web page"),
        (b"\xef\xbb\xbf\n<html lang='en'>", "is a web page"),
    ],
)
def test_what_only_stands_for_a_checkpoint_is_named(
    tmp_path: Path, content: bytes, what: str
) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=what):
        read_contents(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_program_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "a.pt"))
    with pytest.raises(CheckpointError, match=r"is a program \(TorchScript .*state_dict"):
        read_contents(tmp_path / "a.pt")
