"""Every text that Streamlit reads as Markdown is written here or went through ``plain``.

Read from the source: where a call shows Markdown, its text must be made of literals, of constants,
of numbers with a format and of what :func:`core.ui.kit.text.plain` returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted([*ROOT.glob("core/ui/**/*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"])

FIRST = """
badge button camera_input caption checkbox color_picker date_input dialog download_button error
exception expander feedback file_uploader form_submit_button header info latex link_button markdown
menu_button multiselect number_input pills popover radio segmented_control select_slider selectbox
slider spinner status subheader success table tabs text_area text_input time_input title toast
toggle warning write
"""
MARKDOWN = {name: (0,) for name in FIRST.split()} | {
    "metric": (0, 1, 2),
    "page_link": (1,),
    "progress": (1,),
    "image": (1,),
}
"""Places of Markdown among the arguments of the methods of Streamlit."""

OURS = {
    "state.choose": (1,),
    "state.number": (1,),
    "state.several": (0,),
    "state.text": (0,),
    "state.toggle": (0,),
    "empty": (1,),
    "no_cue": (0,),
    "working.offer": (2,),
    "_metric": (1,),
    "_headline": (0,),
    "table": (),
}
"""The same of functions of ours that hand a text on."""

KEYWORDS = {"help", "label", "captions", "caption", "delta", "body"}
NAMED = {
    "progress": {"text"},
    "metric": {"value"},
    "empty": {"text", "icon", "link"},
    "offer": {"words"},
}
"""Arguments that are Markdown where they are given by name: of all calls, and of some."""

OPTIONS = {"radio": 1, "pills": 1, "segmented_control": 1, "select_slider": 1}
"""Place of the options of widgets that read these as Markdown, too."""

NUMBERS = {"len", "int", "round", "sum"}
ESCAPED = {"plain", "help_on", "signed"}
"""What these return is Markdown already."""

HTML = {"html"}
"""What these return is HTML already."""

HANDED_ON = {
    ("blocks.py", "empty"): {"text", "icon", "link"},
    ("blocks.py", "no_cue"): {"what"},
    ("state.py", "choose"): {"label"},
    ("state.py", "number"): {"label"},
    ("state.py", "several"): {"label"},
    ("state.py", "text"): {"label"},
    ("state.py", "toggle"): {"label"},
    ("working.py", "offer"): {"words", "help"},
    ("factors.py", "_metric"): {"title"},
    ("group.py", "_headline"): {"name"},
}
"""Arguments of our own functions that are Markdown: their callers are looked at instead."""

ALLOWED = {
    "unread(card(audit, names))": "the card escapes what it says, for every reader of Markdown",
    "shown.map(lambda cell: plain(cell) if isinstance(cell, str) else cell)": "every text is plain",
    "content": "the base64 of a picture",
    "blocks.kinds()": "keys are names of kinds, words are plain",
    "style() + html(context, table, baseline)": "tests/pages/test_compare.py looks at it",
}
"""Expressions that nothing shows to be safe, and why they are."""


@dataclass
class Source:
    """A module: its functions, its constants, and where its other names come from."""

    path: Path
    tree: ast.Module
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)


@cache
def source(path: Path) -> Source:
    found = Source(path, ast.parse(path.read_text(encoding="utf-8")))
    for node in ast.walk(found.tree):
        if isinstance(node, ast.FunctionDef):
            found.functions.setdefault(node.name, node)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found.origins[alias.asname or alias.name] = (node.module, alias.name)
    for node in found.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            parts = node.value.elts if isinstance(target, ast.Tuple) else [node.value]
            found.constants |= {ast.unparse(n): v for n, v in zip(names, parts, strict=True)}
    return found


def module(name: str) -> Source | None:
    """The source of one of our modules."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    return source(path) if name.startswith("core") and path.exists() else None


Frames = tuple[ast.AST, ...]
"""The functions, lambdas and comprehensions around an expression, the innermost last."""


class Reader:
    """Says whether an expression of a module is harmless once ``escaped`` functions made it."""

    def __init__(self, of: Source, escaped: set[str]) -> None:
        self.of = of
        self.escaped = escaped
        self.asked: set[str] = set()

    def safe(self, node: ast.expr | None, frames: Frames) -> bool:
        if node is None or ast.unparse(node) in ALLOWED:
            return True
        judge = getattr(self, f"_{type(node).__name__.lower()}", None)
        return bool(judge and judge(node, frames))

    def _constant(self, node: ast.Constant, frames: Frames) -> bool:
        return True

    def _compare(self, node: ast.Compare, frames: Frames) -> bool:
        return True

    def _joinedstr(self, node: ast.JoinedStr, frames: Frames) -> bool:
        for before, part in zip([None, *node.values], node.values, strict=False):
            text = str(before.value) if isinstance(before, ast.Constant) else ""
            icon = text.endswith(":") and self.escaped == ESCAPED  # or a colour
            if isinstance(part, ast.FormattedValue) and (icon or not self.safe(part, frames)):
                return False
        return True

    def _formattedvalue(self, node: ast.FormattedValue, frames: Frames) -> bool:
        spec = node.format_spec
        last = spec.values[-1] if isinstance(spec, ast.JoinedStr) and spec.values else None
        if isinstance(last, ast.Constant) and re.search(r"[,defg%]$", str(last.value)):
            return True  # text has no such format
        return self.safe(node.value, frames)

    def _ifexp(self, node: ast.IfExp, frames: Frames) -> bool:
        return self.safe(node.body, frames) and self.safe(node.orelse, frames)

    def _boolop(self, node: ast.BoolOp, frames: Frames) -> bool:
        return all(self.safe(value, frames) for value in node.values)

    def _binop(self, node: ast.BinOp, frames: Frames) -> bool:
        sides = (node.left, node.right)
        if isinstance(node.op, ast.Add | ast.BitOr):
            number = any(isinstance(s, ast.Constant) and isinstance(s.value, int) for s in sides)
            return number or all(self.safe(side, frames) for side in sides)
        return isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv)  # text has neither

    def _unaryop(self, node: ast.UnaryOp, frames: Frames) -> bool:
        return True

    def _tuple(self, node: ast.Tuple | ast.List, frames: Frames) -> bool:
        return all(self.safe(item, frames) for item in node.elts)

    _list = _tuple

    def _starred(self, node: ast.Starred, frames: Frames) -> bool:
        return self.safe(node.value, frames)

    def _dict(self, node: ast.Dict, frames: Frames) -> bool:
        return all(self.safe(value, frames) for value in node.values)

    def _lambda(self, node: ast.Lambda, frames: Frames) -> bool:
        return self.safe(node.body, (*frames, node))

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, frames: Frames) -> bool:
        return self.safe(node.elt, (*frames, node))

    _generatorexp = _listcomp

    def _subscript(self, node: ast.Subscript, frames: Frames) -> bool:
        return self.safe(node.value, frames)

    def _attribute(self, node: ast.Attribute, frames: Frames) -> bool:
        if node.attr == "__getitem__":
            return self.safe(node.value, frames)
        if self.escapes(node):
            return True
        if isinstance(node.value, ast.Name) and node.attr.isupper():  # a constant elsewhere
            there, name = self.of.origins.get(node.value.id, ("", ""))
            known = module(f"{there}.{name}")
            return bool(known and Reader(known, self.escaped).constant(node.attr))
        return False

    def escapes(self, func: ast.expr) -> bool:
        """Whether a function is one of those that escape, whatever it is called here."""
        if isinstance(func, ast.Attribute):
            return func.attr in self.escaped
        name = getattr(func, "id", "")
        there, original = self.of.origins.get(name, ("", name))
        return original in self.escaped and there.startswith("core.ui")

    def constant(self, name: str) -> bool:
        """Whether a constant of this module, or one that it imports, is safe."""
        if name in self.of.constants:
            return self.safe(self.of.constants[name], ())
        there, original = self.of.origins.get(name, ("", ""))
        known = module(there)
        return bool(known and Reader(known, self.escaped).constant(original))

    def _name(self, node: ast.Name, frames: Frames) -> bool:
        name = node.id
        if self.escapes(node):
            return True
        for depth in range(len(frames), 0, -1):
            frame, outer = frames[depth - 1], frames[:depth]
            if name in parameters(frame):
                return name in HANDED_ON.get((self.of.path.name, getattr(frame, "name", "")), ())
            found = list(bindings(frame, name))
            if found:
                key = f"{self.of.path}:{name}:{id(frame)}"
                if key in self.asked:
                    return True  # by itself it adds nothing
                self.asked.add(key)
                return all(self.bound(value, path, outer) for value, path in found)
        return self.constant(name)

    def bound(self, value: ast.expr, path: tuple[int, ...], frames: Frames) -> bool:
        """Whether what a name was bound to is safe; ``path`` leads into a tuple, -1 to any item."""
        if not path:
            return self.safe(value, frames)
        value = self._literal(value, frames)
        step, rest = path[0], path[1:]
        if isinstance(value, ast.Tuple | ast.List):
            items = value.elts if step < 0 else value.elts[step : step + 1]
            return all(self.bound(item, rest, frames) for item in items)
        if step < 0 and isinstance(value, ast.Call):
            return self._item(value, rest, frames)
        return self.safe(value, frames)

    def _item(self, call: ast.Call, rest: tuple[int, ...], frames: Frames) -> bool:
        """Whether what a loop takes from ``zip``, ``enumerate`` or the items of a table is safe."""
        name = called(call)
        if name == "enumerate" and rest:
            return rest[0] == 0 or self.bound(call.args[0], (-1, *rest[1:]), frames)
        if name == "zip" and rest:
            return self.bound(call.args[rest[0]], (-1, *rest[1:]), frames)
        if name == "range":
            return True
        if name == "items" and rest and isinstance(call.func, ast.Attribute):
            table = self._literal(call.func.value, frames)
            if isinstance(table, ast.Dict):
                items = (table.keys, table.values)[rest[0]]
                return all(
                    item is not None and self.bound(item, rest[1:], frames) for item in items
                )
        return self.safe(call, frames)

    def _literal(self, node: ast.expr, frames: Frames) -> ast.expr:
        """The table or tuple that a name stands for, if it is written out."""
        name, of = getattr(node, "id", ""), self.of
        here = [value for frame in frames for value, path in bindings(frame, name) if not path]
        if name not in of.constants and name in of.origins:
            there, name = of.origins[name]
            of = module(there) or of
        found = here[0] if len(here) == 1 else of.constants.get(name)
        return found if isinstance(found, ast.Dict | ast.Tuple | ast.List) else node

    def _call(self, node: ast.Call, frames: Frames) -> bool:
        name = called(node)
        if name in NUMBERS or self.escapes(node.func):
            return True
        if name == "map":
            return self.safe(node.args[0], frames) or self.returned(node.args[0])
        if name in ("list", "tuple", "sorted", "str"):
            return self.safe(node.args[0], frames)
        if name == "count_of":  # a number with a format, and words
            return all(self.safe(words, frames) for words in node.args[1:])
        if isinstance(node.func, ast.Attribute) and name in ("join", "get", "capitalize", "rename"):
            texts = node.args if name == "join" else node.args[1:]
            of = node.func.value
            return self.safe(of, frames) and all(self.safe(text, frames) for text in texts)
        return self.returned(node.func)

    def returned(self, func: ast.expr) -> bool:
        """Whether all that one of our functions returns is safe."""
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            there, name = self.of.origins.get(func.value.id, ("", ""))
            known, name = module(f"{there}.{name}"), func.attr
        else:
            name = getattr(func, "id", "")
            known = self.of if name in self.of.functions else None
            if known is None and name in self.of.origins:
                there, name = self.of.origins[name]
                known = module(there)
        function = known.functions.get(name) if known else None
        if known is None or function is None:
            return False
        returns = [n.value for n in inside(function) if isinstance(n, ast.Return)]
        return bool(returns) and all(
            Reader(known, self.escaped).safe(value, (function,)) for value in returns
        )


def called(node: ast.Call) -> str:
    func = node.func
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def parameters(frame: ast.AST) -> set[str]:
    if not isinstance(frame, ast.FunctionDef | ast.Lambda):
        return set()
    arguments = frame.args
    return {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def inside(frame: ast.AST) -> Iterator[ast.AST]:
    """What a function does itself, without the functions in it."""
    waiting = list(ast.iter_child_nodes(frame))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


Binding = tuple[ast.expr, tuple[int, ...]]


def bindings(frame: ast.AST, name: str) -> Iterator[Binding]:
    """What a name is bound to, and the way into it."""
    if isinstance(frame, ast.ListComp | ast.GeneratorExp):
        for loop in frame.generators:
            yield from _into(loop.target, loop.iter, (-1,), name)
        return
    for node in inside(frame):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _into(target, node.value, (), name)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and node.value:
            yield from _into(node.target, node.value, (), name)
        elif isinstance(node, ast.For):
            yield from _into(node.target, node.iter, (-1,), name)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.append":
            yield node.args[0], ()


def _into(target: ast.expr, value: ast.expr, path: tuple[int, ...], name: str) -> Iterator[Binding]:
    if isinstance(target, ast.Name) and target.id == name:
        yield value, path
    elif isinstance(target, ast.Tuple):
        for place, item in enumerate(target.elts):
            yield from _into(item, value, (*path, place), name)


def texts(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that are shown as Markdown."""
    name, whole = called(call), ast.unparse(call.func).removeprefix("blocks.")
    for place in OURS.get(whole, MARKDOWN.get(name, ())):
        yield from call.args[place : place + 1]
    shows = whole in OURS or name in MARKDOWN
    named = KEYWORDS | NAMED.get(name, set()) if shows else {"help"}
    yield from (k.value for k in call.keywords if k.arg in named)
    place = OPTIONS.get(name, -1)
    if whole == "state.choose":
        place = -1 if ast.unparse(call.args[0]) == "st.selectbox" else 3
    if place > 0:
        shown = [k.value for k in call.keywords if k.arg == "format_func"]
        yield from shown or call.args[place : place + 1]


def calls(node: ast.AST, frames: Frames = ()) -> Iterator[tuple[ast.Call, Frames]]:
    """Every call below a node, with the frames around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, frames
        opens = isinstance(child, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.GeneratorExp)
        yield from calls(child, (*frames, child) if opens else frames)


def unsafe(of: Source) -> list[str]:
    """Texts that are read as Markdown or as HTML and that nothing shows to be harmless."""
    shown = [
        (call, text, Reader(of, ESCAPED).safe(text, frames))
        for call, frames in calls(of.tree)
        for text in texts(call)
    ]
    shown += [
        (call, text, Reader(of, HTML).safe(text, frames))
        for call, frames in calls(of.tree)
        for text in (call.args if ast.unparse(call.func) == "st.html" else ())
    ]
    return [
        f"{of.path.name}:{text.lineno}: {called(call)}: {ast.unparse(text)}"
        for call, text, safe in shown
        if not safe
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_read_as_markup_is_made_of_literals_numbers_and_escaped_texts(path: Path) -> None:
    assert unsafe(source(path)) == []


REFUSED = [
    "st.caption(audit.name)",
    "cell.metric('A', value)",
    "st.caption(f'Of {name}')",
    "st.caption(f'{value:>5}')",
    "st.caption(f':{plain(name)}')",
    "st.toast(str(error))",
    "st.button('A', help=name)",
    "st.caption(plain('a') + name)",
    "st.caption(' '.join(names))",
    "st.caption(' '.join(f'{n}' for n in names))",
    "state.choose(st.segmented_control, 'A', 'a', names)",
    "state.choose(st.selectbox, name, 'a', names)",
    "st.radio('A', 'ab', format_func=lambda v: names[v])",
    "text = 'a'\n    text += name\n    st.caption(text)",
    "for a, b in (('x', name), ('y', 'z')):\n        st.caption(b)",
    "st.caption(_said(name))",
    "st.html(f'<b>{plain(name)}</b>')",
]
ACCEPTED = [
    "st.caption('A')",
    "st.caption(f'Of {plain(name)}, {value:+.1f} {len(names)}')",
    "st.caption(' '.join(map(plain, names)))",
    "st.selectbox('A', names, format_func=lambda v: names[v])",
    "state.choose(st.segmented_control, 'A', 'a', WAYS)",
    "state.choose(st.segmented_control, 'A', 'a', list(WAYS), format_func=WAYS.__getitem__)",
    "text = 'a' if name else plain(name)\n    st.caption(text)",
    "for a, (b, c) in zip(names, (('x', name), ('y', 'z'))):\n        st.caption(b)",
    "for key, title in WAYS.items():\n        st.caption(f'{key} {title}')",
    "st.caption(_counted(name))",
    "st.html(f'<b title=\"{html(name)}\">{value:.2f}</b>')",
]
MODULE = """
import streamlit as st
from core.ui.frame import state
from core.ui.kit.text import html, plain

WAYS = {"a": "A", "b": "B"}

def _said(name):
    return f"said {name}"

def _counted(names):
    return f"{len(names)} of them"

def show(audit, cell, name, names, value, error):
    BODY
"""


@pytest.mark.parametrize(("body", "found"), [(b, 1) for b in REFUSED] + [(b, 0) for b in ACCEPTED])
def test_the_reader_knows_one_from_the_other(body: str, found: int, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(MODULE.replace("BODY", body), encoding="utf-8")
    assert len(unsafe(source(path))) == found
