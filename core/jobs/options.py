"""What a command is asked for, as a value: read from a command line, and written as one again.

A command that a page, a job or a manifest repeats has a frozen dataclass of its own, whose fields
are its options. That one table makes the parser, reads what was parsed, and writes the arguments
that parse to an equal value.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from core.errors import InputError, SpurioscopeError

CUE_IMAGES = "images that show the cue of a class but not the object, for the spurious score"
"""Help of what :func:`folders` reads."""


def _one_or_several(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _texts(value: Any) -> list[str]:
    """One text, or one of each of several; a number so that it is read as the same one."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [text for part in value for text in _texts(part)]
    if isinstance(value, float) and float(f"{value:g}") == value:
        return [f"{value:g}"]
    return [str(value)]


def given(
    help: str | None = None,
    flag: str | None = None,
    *,
    read: Callable[[Any], Any] = _one_or_several,
    write: Callable[[Any], Sequence[str]] = _texts,
    **how: Any,
) -> dict[str, Any]:
    """Metadata of a field that must be given.

    Parameters
    ----------
    flag : made of the field's name by default; empty for what has its place.
    read : makes the field of what was parsed; by default that itself, of several a tuple.
    write : texts of a value that is not the default.
    how : given to ``add_argument``.
    """
    return {"flag": flag, "read": read, "write": write, "how": {**how, "help": help}}


def option(default: Any, help: str | None = None, flag: str | None = None, **more: Any) -> Any:
    """A field that need not be given; its default says whether it is a switch, or repeated."""
    if isinstance(default, bool):
        more["action"] = "store_false" if default else "store_true"
    elif default in ((), {}):
        more["action"] = "extend" if "nargs" in more else "append"
    if default == {}:
        return field(default_factory=dict, metadata=given(help, flag, **more))
    return field(default=default, metadata=given(help, flag, **more))


def folders(pairs: Sequence[str]) -> dict[str, Path]:
    """``CLASS=DIR`` arguments of ``--cue-images`` as a mapping.

    The name of a class may hold an equals sign where its folder begins with a slash or a tilde.

    Raises
    ------
    InputError
        If one has no equals sign.
    """
    found = {}
    for pair in pairs:
        read = re.fullmatch(r"(?s)(.+?)=([/~].*)|([^=]+)=(.+)", pair)
        if not read:
            raise InputError(f"--cue-images {pair!r}: give CLASS=DIR")
        name, folder = filter(None, read.groups())
        found[name] = Path(folder)
    return found


def written(pairs: Mapping[str, object]) -> list[str]:
    """``NAME=VALUE`` texts of a mapping."""
    return [f"{name}={value}" for name, value in pairs.items()]


@dataclass(frozen=True)
class Request:
    """One command and its options; its fields are made by the functions above."""

    command: ClassVar[str]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Give a parser every option; those that are not given stay out of what it returns."""
        for each in fields(cls):
            flag, how = _flag(each), each.metadata["how"]
            if flag:
                how = {**how, "dest": each.name, "required": _default(each) is MISSING}
            parser.add_argument(flag or each.name, default=argparse.SUPPRESS, **how)

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Self:
        """The value of what a parser returned.

        Raises
        ------
        InputError
            If an option cannot have its value.
        """
        given = {f.name: getattr(options, f.name) for f in fields(cls) if f.name in options}
        read = {f.name: f.metadata["read"] for f in fields(cls)}
        return cls(**{name: read[name](value) for name, value in given.items()})

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        """The value of a command line, of this version or of an earlier one.

        Raises
        ------
        InputError
            If it is none of this command.
        """
        parser = _Strict(add_help=False)
        cls.add_arguments(parser)
        return cls.from_options(parser.parse_args(list(arguments[1:])))

    def arguments(self) -> list[str]:
        """The command line that :meth:`parse` reads as an equal value, without defaults."""
        first: list[str] = []
        named: list[str] = []
        for each in fields(self):
            value, flag = getattr(self, each.name), _flag(each)
            if value == _default(each):
                continue
            texts = [] if isinstance(value, bool) else each.metadata["write"](value)
            if not flag:
                first += texts
            elif isinstance(value, bool):
                named.append(flag)
            for text in texts if flag else ():
                named += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
        if any(text.startswith("-") for text in first):
            return [self.command, *named, "--", *first]
        return [self.command, *first, *named]

    def is_asked_by(self, arguments: Sequence[str]) -> bool:
        """Whether a command line, of this version or of an earlier one, asks for the same."""
        if list(arguments[:1]) != [self.command]:
            return False
        try:
            return self.parse(arguments) == self
        except SpurioscopeError:
            return False

    @property
    def title(self) -> str:
        """What a job that does it is called, unless the page has better words."""
        return " ".join(self.arguments())


class _Strict(argparse.ArgumentParser):
    """A parser that raises what it has to say, and prints nothing."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def _flag(each: Field[Any]) -> str:
    """How it is named on a command line; empty for what has its place."""
    flag: str | None = each.metadata["flag"]
    return "--" + each.name.replace("_", "-") if flag is None else flag


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()
