"""What a computation would take on machines that nobody measured: ``python -m benchmarks.paper``.

Nothing here is measured by this command. Every input stands in :class:`Machine` and :class:`Task`
with where it is from, every row says by which product of them it is made; other inputs are given as
``NAME=VALUE``. The bottleneck is the largest of the times, which overlap.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from benchmarks.measure import Line

DAY, HOUR = 86_400, 3_600


@dataclass(frozen=True)
class Machine:
    """A computer with GPUs; figures of one GPU and its share of the rest."""

    gpus: int = 1
    cores: int = 16
    """A GPU, as machines with such cards are rented."""
    flops: float = 989e12
    """A second, bf16 without sparsity: NVIDIA's data sheet of the H100 SXM."""
    share: float = 0.35
    """Of those that a convolutional network in large batches reaches: an assumption."""
    decoded: float = 550
    """JPEGs of 500 x 375 pixels a second and core: half of what one thread of the small pictures
    of "The pass over the images" reaches, an assumption for larger ones."""
    disk: float = 2e9
    """Bytes a second, read from a local NVMe disk or from a bucket in parallel: an assumption."""
    linear: float = 1e12
    """FLOPs a second of dense float64 products and eigenproblems of a GPU: an assumption, 3 % of
    the 34e12 of the data sheet, since eigenproblems of this size reach no more."""
    price: float = 3.0
    """Dollars an hour and GPU, rented: an assumption of 2026."""


@dataclass(frozen=True)
class Task:
    """What is audited."""

    images: int = 1_281_167
    classes: int = 1000
    dim: int = 2048
    macs: float = 4.1e9
    """Multiplications of a forward pass: ResNet-50 (He et al. 2016, table 1)."""
    file: float = 110e3
    """Bytes of an image: ILSVRC's 138 GB of training images over their number."""
    components: int = 64
    neurons: int = 24
    stored: int = 4
    """Bytes of a stored feature; 2 where the pass computes in half floats."""
    row: float = 200
    """Bytes of an image in the tables (core.audits.synthetic, PER_IMAGE)."""


@dataclass(frozen=True)
class Computed(Line):
    """A figure that was computed; ``target`` says from what."""

    head: ClassVar[tuple[str, ...]] = ("what", "computed", "from", "")

    def row(self) -> str:
        """As a row of a Markdown table."""
        return f"| {self.what} | {self.value:,.3g} {self.unit} | {self.target} | not measured |"


def times(task: Task, on: Machine) -> dict[str, tuple[float, str]]:
    """Seconds of every step on all GPUs of a machine, and by what they are made."""
    n, k, d = task.images, task.classes, task.dim
    of_class = n / k
    squares = min(of_class, d) ** 2 * max(of_class, d) + 4 / 3 * min(of_class, d) ** 3
    return {
        "reading the files": (n * task.file / (on.gpus * on.disk), "images x file / disk"),
        "decoding": (n / (on.gpus * on.cores * on.decoded), "images / (cores x decoded)"),
        "forward passes": (
            2 * n * task.macs / (on.gpus * on.flops * on.share),
            "2 x images x macs / (flops x share)",
        ),
        "class PCA": (
            k * squares / (on.gpus * on.linear),
            "classes x (m^2 M + 4/3 m^3) / linear, m and M of images of a class and dim",
        ),
    }


def sizes(task: Task) -> dict[str, tuple[float, str]]:
    """Bytes that an audit reads and stores, and by what they are made."""
    n, k, d = task.images, task.classes, task.dim
    kept = task.components + task.neurons
    return {
        "files of images": (n * task.file, "images x file"),
        "features": (n * d * task.stored, "images x dim x stored"),
        "alphas": (4 * n * (kept + 1), "4 x images x (components + neurons + 1)"),
        "bases": (4 * k * d * task.components, "4 x classes x dim x components"),
        "tables": (n * task.row, "images x row"),
    }


def rows(task: Task, on: Machine) -> Iterator[Line]:
    """Every row about a task on a machine."""
    what = f"{task.images:,} images on {on.gpus} H100"
    found = times(task, on)
    for name, (seconds, how) in found.items():
        yield Computed(f"{what}: {name}", seconds / 60, how, "min")
    slow = max(found, key=lambda name: found[name][0])
    one_by_one = ("forward passes", "decoding", "reading the files")
    whole = max(found[name][0] for name in one_by_one) + found["class PCA"][0]
    cost = whole / HOUR * on.gpus * on.price
    flops = 2 * task.images * task.macs
    yield Computed(f"{what}: floating-point operations", flops, "2 x images x macs", "")
    yield Computed(f"{what}: all, bottleneck {slow}", whole / 60, "largest + class PCA", "min")
    yield Computed(f"{what}: cost", cost, "time x GPUs x price", "$")


def run() -> list[Line]:
    """One H100, eight, and a hundred million images on eight."""
    return tables(Task(), Machine())


def tables(task: Task, on: Machine) -> list[Line]:
    """Rows of the usual tasks, from given inputs."""
    large = replace(task, images=100_000_000, classes=10_000)
    eight = replace(on, gpus=8)
    lines = [*rows(task, on), *rows(task, eight), *rows(large, eight)]
    for each in (task, large):
        what = f"{each.images:,} images of {each.classes:,} classes"
        for name, (size, how) in sizes(each).items():
            lines.append(Computed(f"{what}: {name}", size / 1e9, how, "GB"))
    return lines


def main(arguments: list[str]) -> int:
    """Print the inputs and what follows; ``NAME=VALUE`` puts another value in."""
    given = dict(argument.split("=", 1) for argument in arguments)
    task, on = (
        replace(
            one,
            **{
                f.name: type(getattr(one, f.name))(float(given.pop(f.name)))
                for f in fields(one)
                if f.name in given
            },
        )
        for one in (Task(), Machine())
    )
    if given:
        print(f"no input is called {', '.join(given)}", file=sys.stderr)
        return 2
    for one in (task, on):
        print(*(f"{f.name} = {getattr(one, f.name):,.6g}" for f in fields(one)), sep="\n")
    print("", f"| {' | '.join(Computed.head)} |", "|---" * len(Computed.head) + "|", sep="\n")
    print(*(line.row() for line in tables(task, on)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
