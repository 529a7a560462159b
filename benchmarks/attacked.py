"""What every attack shares: its outcome, and what counts as words that are not ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from benchmarks.measure import Line

FOREIGN = re.compile(
    r"Traceback \(most recent|allow_pickle|unsafely|mmap length|please report|[Pp]ickled data"
    r"|Arrow(Invalid|IOError|NotImplemented|TypeError)|Parquet magic|could not deserialize"
    r"|\b(?:[A-Z]\w*(?:Error|Exception|Warning)): |RuntimeError|not enough values to unpack"
    r"|object has no attribute|object is not subscriptable|unsupported operand"
    r"|cannot reshape|out of bounds|sqlalche\.me|Background on this error"
)
"""What libraries and the interpreter say; a user reads none of it."""


@dataclass
class Attack:
    """What came of many damaged inputs."""

    tries: int = 0
    raw: list[str] = field(default_factory=list)
    """Messages in the words of a library, each with what caused it."""
    silent: list[str] = field(default_factory=list)
    """Answers that differ from those of the undamaged input, without a word."""

    def judge(self, cause: str, message: str) -> None:
        """Count one try and keep its message if it is not ours."""
        self.tries += 1
        if FOREIGN.search(message):
            self.raw.append(f"{cause}: {message.strip()[-300:]}")

    def lines(self, what: str) -> list[Line]:
        """Both figures, which have to be zero; what was found is printed."""
        for found in (*self.raw, *self.silent):
            print(f"  {found}")
        return [
            Line(
                f"{what}, {self.tries:,} tries: messages of a library",
                len(self.raw),
                "0",
                "",
                not self.raw,
            ),
            Line(
                f"{what}, {self.tries:,} tries: silent differences",
                len(self.silent),
                "0",
                "",
                not self.silent,
            ),
        ]
