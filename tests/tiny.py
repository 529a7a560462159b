"""Classifiers small enough for tests that audit, the source they come from, and processes.

``tiny:NAME`` is a network that a module of tests has named (:func:`named`), as ``timm:NAME`` is one
of timm.

``python -m tests.tiny audit …`` is the command line with ``tiny:net``, which pauses before every
batch for ``$TINY_PAUSE`` seconds, and before every class that is tried for ``$TINY_TRIAL_PAUSE``;
``python -m tests.tiny
serve`` reads one JSON object per line (``arguments``; ``pause`` before every batch, seconds;
``output``, a file name to which ``.out`` and ``.err`` are added), answers with the number of a
forked process that runs it, and then with its exit code.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from core.errors import ModelError
from core.models.architecture import Architecture, ModelSource, register, unknown_name
from core.models.model import Model
from core.types import Preprocess

SIZE = 32
FEATURES = 12


class TinyNet(nn.Module):
    """conv, relu, global mean, linear."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, FEATURES, 3, stride=4, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(FEATURES, outputs)
        torch.random.set_rng_state(state)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.act(self.conv(images))).flatten(1))


NETWORKS: dict[str, Callable[[], Architecture]] = {}
"""What ``tiny:NAME`` can be."""


def named(name: str, network: Callable[[], nn.Module], preprocess: Preprocess) -> None:
    """Make ``tiny:NAME`` a model that can be audited; its weights have to be the same each time."""
    NETWORKS[name] = lambda: Architecture(network().eval(), preprocess, None)


def tiny_architecture(name: str, pretrained: bool, num_outputs: int | None) -> Architecture:
    """One of NETWORKS."""
    del pretrained, num_outputs
    if name not in NETWORKS:
        raise ModelError(unknown_name("tiny", name, name, list(NETWORKS)))
    return NETWORKS[name]()


register(ModelSource("tiny", "tiny:NAME", tiny_architecture))
HALF = Preprocess((SIZE, SIZE), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3)
named("net", TinyNet, HALF)
named("twin", TinyNet, HALF)  # under another name


def load_tiny(name: str = "tiny:net") -> Model:
    """The tiny network, whatever the name."""
    return Model(name, TinyNet(), HALF)


def main(arguments: list[str], pause: float | None = 0.0) -> int:
    """The command line with the tiny model, small shards and an encoder that pauses."""
    import core.audits.analysis
    import core.features.shards
    from core.__main__ import main as command_line

    core.audits.analysis.SHARD_SIZE = core.features.shards.SHARD_SIZE = 4
    slowly(pause)
    try_slowly(float(os.environ.get("TINY_TRIAL_PAUSE", "0")))
    return command_line(arguments)


def slowly(pause: float | None = None) -> None:
    """Have an encoder pause before every batch, seconds; by default ``$TINY_PAUSE``."""
    seconds = float(os.environ.get("TINY_PAUSE", "0")) if pause is None else pause
    encode = Model.encode

    def slow(self, batch):
        time.sleep(seconds)
        return encode(self, batch)

    Model.encode = slow


def try_slowly(seconds: float) -> None:
    """Have whoever tries candidates pause before every class."""
    if not seconds:
        return
    from core.trials.leaning import Trial

    of_class = Trial.of_class

    def slow(self, facts):
        time.sleep(seconds)
        return of_class(self, facts)

    Trial.of_class = slow


def serve() -> None:
    """Import everything once, then fork, so that a run takes a second and can be killed in it."""

    import core.audits.run  # noqa: F401

    for line in sys.stdin:
        if pid := os.fork():
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            status = os.waitpid(pid, 0)[1]
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()
        else:
            wanted = json.loads(line)
            for number, ending in ((1, "out"), (2, "err")):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(f"{wanted['output']}.{ending}", flags), number)
            code = main(wanted["arguments"], wanted["pause"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1:] == ["serve"] else main(sys.argv[1:], None))
