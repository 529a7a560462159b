r"""Text of people and data on the screen: shown as it is written, wherever it stands.

What the frontend of Streamlit 1.67 does with a text depends on the place:

==================================================================  =============  ================
place                                                               read as        goes through
==================================================================  =============  ================
markdown, caption, title, header, subheader, write                  Markdown       :func:`plain`
info, success, warning, error, toast, spinner, progress ``text``    Markdown       :func:`plain`
labels of all widgets, of buttons, links, expanders, popovers,      Markdown       :func:`plain`
tabs and of ``st.status``
options of radio, pills, segmented_control, select_slider           Markdown       :func:`plain`
captions of radio and of images                                     Markdown       :func:`plain`
``help`` of everything, of columns of a table as well               Markdown       :func:`plain`
label, value and delta of metric                                    Markdown       :func:`plain`
cells, columns and index of ``st.table``                            Markdown       :func:`plain`
options of selectbox and multiselect, placeholders, what is typed   text           :func:`visible`
cells, columns and index of ``st.dataframe``, labels of its         text           nothing: painted
columns
names of files, title of the page, ``alt`` of ``st.iframe``         text           nothing
plotly: titles, ticks, legends, hover texts, templates, notes       some HTML      :func:`drawn`
``st.html``, SVG pictures                                           HTML           :func:`html`
data of our components (``assets/*.js``)                            text           nothing
==================================================================  =============  ================

A backslash is seen where a text is not read as Markdown, so :func:`plain` must not be used there.
``tests/core/ui/test_text_places.py`` reads the source for places that were forgotten, and
``tests/browser/test_text.py`` looks at a browser.
"""

from __future__ import annotations

import re
from html import escape

from core.markdown import escaped
from core.markdown import visible as visible

SEAM = ":small[]"
"""An empty span: no pattern is found across it, and nothing of it is seen."""

_SEAMS = re.compile(
    r"(?<=\\[:@])(?=\S)"  # addresses, :emoji: and :material/icon:
    r"|(?<=\w)(?=\\\.)"  # www.
    r"|(?<=\\[-<>~])(?=\\[->]|=)"  # -> and its like, which become arrows and dashes
)


def plain(text: object) -> str:
    """Markdown of Streamlit that shows a text as it is written."""
    return unread(escaped(text))


def unread(markdown: str) -> str:
    """Markdown whose escaped parts (:func:`core.markdown.escaped`) Streamlit leaves as they are.

    Its frontend looks for addresses, emoji, icons and arrows once more after it has resolved the
    backslashes.
    """
    return _SEAMS.sub(SEAM, markdown)


def drawn(text: object, *, most: int | None = None) -> str:
    """A text in a figure of plotly, which reads some HTML, templates and, between "$", formulas.

    Parameters
    ----------
    most : characters that are shown of a longer text, the last of them "…"; all by default, since
        a category of an axis is told from the others by its text.
    """
    said = visible(text)
    if most is not None and len(said) > most:
        said = f"{said[: most - 1]}…"
    return escape(said, quote=False).replace("$", "&#36;").replace("%", "&#37;")


def html(text: object) -> str:
    """A text in HTML or SVG, between tags or in an attribute with quotes."""
    return escape(visible(text))
