"""What ``data`` wants."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.errors import InputError
from core.jobs.options import Request, given, option

PARTS = ("labels", "copies", "shortcuts", "attributes", "slices", "combinations", "strategies")
"""What is looked at."""


@dataclass(frozen=True)
class DataRequest(Request):
    """``data``: whether it is the data."""

    command = "data"

    audit: str = field(metadata=given("a name or the beginning of an id", "", metavar="AUDIT"))
    what: tuple[str, ...] = option(
        (), f"of {', '.join(PARTS)}; all by default, may be repeated", choices=PARTS
    )

    def __post_init__(self) -> None:
        if unknown := set(self.what) - set(PARTS):
            raise InputError(f"--what {min(unknown)}: choose {', '.join(PARTS)}")

    @property
    def parts(self) -> tuple[str, ...]:
        """What is to be looked at, in order."""
        return tuple(part for part in PARTS if part in (self.what or PARTS))
