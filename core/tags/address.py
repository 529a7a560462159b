"""Addresses of databases: what they mean, and how to name one without telling its password.

A password stands in front of the only ``@`` of a URL, or in its query. Where a character that
separates parts is left as it is in a password, nobody can say where the password ends; such a URL
is refused, and nothing of it is repeated.
"""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from core.errors import InputError

POSTGRES = "postgresql"
SQLITE = "sqlite"

EXAMPLE = "postgresql://USER@HOST/NAME or sqlite:////DIR/tags.sqlite"

ENCODED = "in a password write %40 for @, %2F for /, %3A for :, %3F for ? and %23 for #"


def parse(address: str | URL) -> URL:
    """A database URL, with the driver that this project installs for PostgreSQL.

    Raises
    ------
    InputError
        If it is none, or does not say unmistakably where its password ends; what was given is not
        repeated, since it may hold a password.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise InputError(
            f"--database (or $SPURIOSCOPE_DATABASE) is no database URL; give for example {EXAMPLE}"
            f"; {ENCODED}"
        ) from None
    if isinstance(address, str) and url.get_backend_name() != SQLITE:
        _refuse_unclear(address, url)
    return url.set(drivername="postgresql+psycopg") if url.drivername == POSTGRES else url


def _refuse_unclear(address: str, url: URL) -> None:
    """Refuse a URL of which a part of the password may stand where the host or name is read."""
    before, at, after = address.partition("@")
    told = url.username is not None or url.password is not None
    if "@" in after or (at and ("?" in before or not told)):
        raise InputError(
            "--database (or $SPURIOSCOPE_DATABASE): it is not clear where the password ends and "
            f"the host begins; {ENCODED}"
        )


def place(url: URL) -> str:
    """A database in words: the file, or the URL without its password and its query."""
    if url.get_backend_name() == SQLITE:
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)
