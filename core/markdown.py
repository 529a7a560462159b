"""Text that comes from people or data, as Markdown that shows it and does nothing else."""

from __future__ import annotations

import re

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for every character that cannot be seen but changes what is read."""

_SPACE = re.compile(r"[\t-\r\x1c-\x20\x85\u2028\u2029]+")
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # control characters
    r"\u202a-\u202e\u2066-\u2069"  # what turns the direction of reading round
    r"\u200b\u2060-\u2064\ufeff"  # spaces without width
    r"\ud800-\udfff]"  # bytes of file names that are no text
)
_MARKS = re.compile(
    r"[\\`*{}\[\]#!~$<>|@^&]"  # wherever they stand
    r"|_(?![^\W_])|(?<![^\W_])_"  # not inside a word
    r"|:(?=\S|$)|(?i:(?<=www)\.)"  # as in http://, :smile: and www.
    r"|-(?=[->])|(?<=[-<])-"  # as in ->
    r"|^[-+=]"
)
_NUMBER = re.compile(r"^(\d{1,9})([.)])")


def visible(text: object) -> str:
    """Text on one line, in the order in which it is written, with nothing in it unseen.

    Line breaks and the white space around them become one blank. Characters of control, those that
    turn the direction of reading, those without width and halves of surrogate pairs become "�".
    """
    return _UNSEEN.sub(UNKNOWN, _SPACE.sub(" ", str(text)).strip(" "))


def escaped(text: object) -> str:
    r"""Text as CommonMark, with the extensions of GitHub, that is shown as :func:`visible` text.

    Every mark that means something where it stands is behind a backslash; in what is ordinary for
    a name, such as "n02012849_a-b (old)", there is none: screen readers read labels out with them.
    """
    return _NUMBER.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", visible(text)))
