"""What commands share: their common options, and progress on the terminal and in a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS, CandidateKind
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Progress

if TYPE_CHECKING:
    import pandas as pd


class Answer(NamedTuple):
    """What a command has to say."""

    document: Mapping[str, object]
    """For programs, with ``--json``."""
    text: str
    """For people."""


def records(table: pd.DataFrame) -> list[Mapping[str, object]]:
    """A table as a document: one object a row, null for what is not there."""
    found: list[Mapping[str, object]]
    found = table.astype(object).where(table.notna(), None).to_dict("records")
    return found


class Parser(argparse.ArgumentParser):
    """A parser whose help may end with a text that is made when it is printed."""

    closing: Callable[[], str] | None = None

    def format_help(self) -> str:
        """The help, with its last words."""
        help_text = super().format_help()
        return f"{help_text}\n{self.closing()}\n" if self.closing else help_text


def common_options() -> Parser:
    """The options of every command, to be given to a parser as its parent."""
    common = Parser(add_help=False)
    common.add_argument(
        "--workspace",
        metavar="DIR",
        help="where audits live, a folder or s3://BUCKET/PREFIX (gs://, az://) (default: "
        "$SPURIOSCOPE_WORKSPACE, else ./workspace)",
    )
    common.add_argument(
        "--local",
        metavar="DIR",
        help="for a workspace in a bucket: the folder of this machine for jobs, copies and, "
        "without --database, tags (default: $SPURIOSCOPE_LOCAL)",
    )
    common.add_argument(
        "--allow-images",
        metavar="URL",
        action="append",
        default=[],
        help="let manifests name images below s3://BUCKET (gs://, az://, https://HOST); may be "
        "given several times (default: $SPURIOSCOPE_IMAGES)",
    )
    common.add_argument(
        "--database",
        metavar="URL",
        help="where tags live, for a team (default: $SPURIOSCOPE_DATABASE, else a file of the "
        "workspace); passwords are better given by the environment",
    )
    common.add_argument("--json", action="store_true", help="print one JSON document")
    common.add_argument("--job", help=argparse.SUPPRESS)
    return common


def candidate_options(options: argparse._ActionsContainer, *, key: bool = True) -> None:
    """One option of every kind of candidates, which names one by its number.

    Parameters
    ----------
    key : whether ``--candidate`` is an option as well, which names one of any kind by its key;
        a request that has it brings its own.
    """
    if key:
        options.add_argument(
            "--candidate", metavar="KEY", help="by its key, part-0, instead of its number"
        )
    for name, kind in _asked().items():
        options.add_argument(
            f"--{kind.word}", dest=f"number_{name}", type=int, metavar="N", help=kind.help
        )


def has_number(options: argparse.Namespace) -> bool:
    """Whether a candidate, or several, are named by their numbers."""
    return bool(_numbers(options))


def _numbers(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Kind and number of every candidate that was named by its number."""
    numbers = {name: getattr(options, f"number_{name}") for name in _asked()}
    return [(name, number) for name, number in numbers.items() if number is not None]


def named_key(options: argparse.Namespace, label: str) -> CandidateKey | None:
    """The one candidate that was named, by its key or by its number; None where not exactly one.

    Parameters
    ----------
    label : raw label of the class that it is of.

    Raises
    ------
    InputError
        If the key names no candidate, or one of another class.
    """
    text, numbers = getattr(options, "candidate", ""), _numbers(options)
    if bool(text) + len(numbers) != 1:
        return None
    return CandidateKey(label, *numbers[0]) if numbers else key_of_class(text, label)


def key_of_class(text: str, label: str) -> CandidateKey:
    """The candidate of a class that ``--candidate`` names, with or without the class.

    Raises
    ------
    InputError
        If it names no candidate, or one of another class.
    """
    key = CandidateKey.parse(text, label=label)
    if key.label != label:
        raise InputError(
            f"--candidate {text}: this is a candidate of class {key.label!r}, and --class names "
            f"{label!r}; name the same class in both, or write {key.short} alone"
        )
    return key


def candidate_words() -> str:
    """The options that name a candidate."""
    return ", ".join(["--candidate KEY", *(f"--{kind.word} N" for kind in _asked().values())])


def _asked() -> dict[str, CandidateKind]:
    return {name: kind for name, kind in KINDS.items() if kind.found}


class Terminal:
    """A reporter of progress: on standard error and, for a job, in the file that pages read.

    Use as a context; the line that is being written ends with it.
    """

    def __init__(self, workspace: Workspace, job: str | None = None) -> None:
        from core.jobs.jobs import ProgressFile

        self.bar = _Bar()
        path = workspace.root / "jobs" / f"{job}.progress.json"
        self.file = ProgressFile(path) if job else None

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        self.bar(progress)
        if self.file:
            self.file(progress)

    def started(self, audit_id: str) -> None:
        """Say which audit the job works on or makes."""
        if self.file:
            self.file.audit_id = audit_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()


class _Bar:
    """One progress line per stage on standard error, with rate and time left."""

    def __init__(self) -> None:
        self.stage, self.bar = "", None

    bar: Any

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self.stage:
            self.close()
            self.stage = progress.stage
            if not progress.total:
                sys.stderr.write(f"{progress.stage} …\n")
                return
            from tqdm import tqdm

            self.bar = tqdm(
                total=progress.total,
                initial=progress.done,
                desc=progress.stage,
                unit=f" {progress.unit}",
                mininterval=0.5,
                dynamic_ncols=True,
            )
        elif self.bar is not None:
            self.bar.update(progress.done - self.bar.n)
        if self.bar is not None and progress.figures:
            self.bar.set_postfix_str(progress.figures)

    def close(self) -> None:
        """End the current line."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None
