"""Blocks of the page Data: doubtful labels as a queue, copies, and what properties tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.kept import Kept
from core.errors import SpurioscopeError
from core.measures.decimals import p_value, places
from core.measures.measure import POINTS
from core.quality.cheap_shortcuts import SHORTCUT, alone, cheap_shortcuts, together
from core.quality.data_request import DataRequest
from core.quality.decodable import LEAST, VALUES, decodable
from core.quality.error_slices import attribute_slices, error_slices, strategy_slices
from core.quality.label_problems import (
    accuracy,
    along_tenths,
    changed,
    changed_along,
    label_problems,
    manifest_of,
    wrong_labels,
)
from core.quality.near_duplicates import near_duplicates, shared_values
from core.storage.files import there
from core.tags.decisions import tenths_of_cues
from core.tags.image_verdicts import EXCLUDE, KEEP, RELABEL, ImageVerdict, ImageVerdicts, decided
from core.types import count_of
from core.ui.data import slices
from core.ui.data.groups import CHOSEN, groups
from core.ui.data.slices import hand_out, without_attributes
from core.ui.frame import blocks, cards, opened, state, tagged, working
from core.ui.frame.saving import save_group
from core.ui.kit.gallery import gallery

GROUPS = "groups"
PARAMETERS = ["audit", "look_at", "doubt", "tenths", CHOSEN]
VIEWS = {
    "labels": "Labels",
    "copies": "Copies",
    "shortcuts": "What tells the label",
    "attributes": "Attributes in the features",
    "slices": "Error slices",
    "combinations": "Slices by attributes",
    "strategies": "Slices by strategies",
    GROUPS: "Saved groups",
}
EXAMPLES = 4
COPIES = 60
AT_ONCE = 50
"""Classes with tagged cues up to which images are placed along them while the page opens."""
SIZE = 320


@blocks.part
def browse(audit: Audit) -> None:
    """One of the views."""
    view = state.choose(
        st.segmented_control, "What", "look_at", VIEWS, label_visibility="collapsed"
    )
    if view == GROUPS:
        groups(audit)
        state.publish(["audit", "look_at", CHOSEN])
        return
    _, draw = DRAWN[view]
    found = _known(audit, view)
    if found is None:
        state.publish(PARAMETERS[:2])
        _offer(audit, view)
        return
    draw(audit, found)
    state.publish(PARAMETERS[:4] if view == "labels" else PARAMETERS[:2])


def _known(audit: Audit, view: str) -> pd.DataFrame | None:
    """The table of a view where it is stored, read once."""
    kept, _ = DRAWN[view]
    return _read(audit, view) if there(kept.path(audit)) else None


@lru_cache(maxsize=16)
def _read(audit: Audit, view: str) -> pd.DataFrame:
    kept, _ = DRAWN[view]
    return kept(audit)


OFFERED = {
    "labels": "Every image is held against what a head says that did not see it: by the held-out "
    "images' own predictions, and out of fold for the rest.",
    "copies": "Images are compared by a perceptual hash of their files and by their features.",
    "slices": "Half of each class's held-out images say which group errs most, the other half how "
    "often it does.",
    "combinations": "The same by the values of one attribute, or of two at once; saved groups are "
    "attributes.",
    "strategies": "The same by clusters of the explanations of a class (SpRAy).",
    "attributes": "A linear probe is asked for every value of an attribute, out of fold.",
    "shortcuts": "Each property of pixels, files and attributes is asked for the label, and for "
    "the model's errors within a class.",
}


def _offer(audit: Audit, view: str) -> None:
    if view == "strategies" and slices.lacks_strategies(audit):
        return
    blocks.empty("Not looked at yet", f"{OFFERED[view]} Seconds for a few thousand images.")
    title = f"{audit.name}: {VIEWS[view].lower()}"
    request = DataRequest(audit.id, (view,))
    working.offer(request, title, "Look at the data", key=f"run-data-{view}", primary=True)


def _labels(audit: Audit, found: pd.DataFrame) -> None:
    """The queue of doubtful labels."""
    said = ImageVerdicts(tagged.store()).standing(audit.id)
    verdicts, doubtful = decided(said), found[found["problem"]].reset_index(drop=True)
    blocks.numbers(
        [
            ("Images looked at", f"{len(found):,}"),
            ("Labels doubted", f"{len(doubtful):,}"),
            ("Decided by people", f"{len(verdicts):,}"),
        ]
    )
    st.caption(
        f"A doubt is no error: those who doubt are right on {100 * accuracy(found):.0f} % of the "
        "images, and a model that leans on a cue doubts the images that lack it."
    )
    _since_parent(audit, found)
    if doubtful.empty:
        blocks.empty(
            "No label is doubted",
            "Where a head says another class, it is less sure than of that class's own images.",
        )
    else:
        _queue(audit, found, doubtful, said)
        save_group(audit, doubtful["image_id"].tolist(), "Labels that are doubted", "doubted")
    if len(verdicts):
        st.caption("What was decided, as a manifest for the next audit:")
        hand_out(audit, "labels", lambda: manifest_of(audit, verdicts))
    _deciles(audit, found, verdicts)


def _since_parent(audit: Audit, found: pd.DataFrame) -> None:
    """Of a corrected model: which doubts went with the correction."""
    made = audit.manifest.mitigation
    if made is None or not there(opened.workspace().files(made.parent).summary):
        return
    before = _known(opened.open_audit(made.parent), "labels")
    if before is None:
        st.caption("Look at the labels of the audit that was corrected to see what changed.")
        return
    of = changed(before, found)
    st.markdown(
        f"**Before the correction {of.before:,d}, now {of.after:,d} of the {of.n:,d} images that "
        f"both judge are doubted**: {of.no_longer:,d} no longer, {of.newly:,d} newly "
        f"({p_value(of.p)}, sign test). Where the correction "
        "worked, doubts of images that lack the cue go."
    )
    _along_parent(opened.open_audit(made.parent), before, found)


def _along_parent(parent: Audit, before: pd.DataFrame, found: pd.DataFrame) -> None:
    """The same by how much of the cues tagged in the model before an image shows."""
    if not 0 < len(tagged.decisions(parent).spurious) <= AT_ONCE:
        return
    table = changed_along(_tenths(parent, tagged.state(parent)), before, found)
    if table.empty:
        return
    blocks.table(
        pd.DataFrame(
            {
                "cues shown": [_place(int(d)) for d in table["decile"]],
                "images": table["n"].astype(str),
                "doubted before": [f"{100 * v:.1f} %" for v in table["was"]],
                "doubted now": [f"{100 * v:.1f} %" for v in table["now"]],
                "change, 95 % interval of all rows": [
                    f"{change:+.1f} points {blocks.interval(low, high)}"
                    for change, low, high in table[["change", "low", "high"]].itertuples(
                        index=False
                    )
                ],
            }
        ).set_index("cues shown")
    )


def _deciles(audit: Audit, found: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    """How the doubt goes along the tagged cues."""
    classes = len(tagged.decisions(audit).spurious)
    if not classes:
        st.caption("Tag a cue as spurious to see whether these are the images that lack it.")
        return
    title = "Doubted labels by how much of the tagged cues an image shows"
    if not state.toggle(title, "tenths", default=classes <= AT_ONCE):
        return
    with st.spinner(f"Placing the images of {classes:,} classes along their cues …"):
        tenths = _tenths(audit, tagged.state(audit))
    table = along_tenths(tenths, found, wrong_labels(verdicts))
    if table.empty:
        st.caption("No image of these classes is among those that were looked at.")
        return
    decimals = places(100 * table["low"], 100 * table["high"], POINTS)
    blocks.table(
        pd.DataFrame(
            {
                "cues shown": [_place(int(d)) for d in table["decile"]],
                "images": table["n"].astype(str),
                "doubted": [f"{100 * v:.{decimals}f} %" for v in table["share"]],
                "95 % interval, of all rows": [
                    f"{100 * low:.{decimals}f} to {100 * high:.{decimals}f} %"
                    for low, high in zip(table["low"], table["high"], strict=True)
                ],
                "of those looked at, wrong": [
                    f"{100 * p:.0f} % of {n:d}" if n else "–"
                    for p, n in zip(table["precision"], table["looked_at"], strict=True)
                ],
            }
        ).set_index("cues shown")
    )


@lru_cache(maxsize=4)
def _tenths(audit: Audit, state: tuple[int, ...]) -> pd.Series:
    del state  # part of the key only
    return tenths_of_cues(audit, tagged.decisions(audit))


def _place(decile: int) -> str:
    return {1: "least tenth", 10: "most tenth"}.get(decile, f"tenth {decile}")


def _queue(
    audit: Audit, found: pd.DataFrame, doubtful: pd.DataFrame, said: list[ImageVerdict]
) -> None:
    at = state.peek_number("doubt", 1, len(doubtful), 1)
    row = doubtful.iloc[at - 1]
    mine = {entry.image_id: entry for entry in said if entry.annotator == cards.annotator()}
    names = blocks.class_names(audit)
    given, other = (names.get(row[of], row[of]) for of in ("label", "suggested"))
    if failed := st.session_state.pop(cards.SAID, None):
        st.toast(blocks.plain(failed))
    left, right = st.columns([2, 3], gap="large")
    with left:
        clicked = gallery(
            blocks.photos(audit, [row["image_id"]]),
            key="doubt",
            columns=1,
            size=SIZE,
            label="Doubted",
        )
    with right:
        st.markdown(f"**{at:,d} of {len(doubtful):,d}**: labelled {blocks.plain(given)}")
        st.markdown(
            f"Perhaps **{blocks.plain(other)}**: {blocks.plain(row['by'])} gives that label "
            f"{100 * row['confidence']:.0f} %."
        )
        _buttons(audit, row, mine.get(row["image_id"]), at, len(doubtful), other)
        for label, title in ((row["label"], given), (row["suggested"], other)):
            _examples(audit, found, label, title)
    if clicked:
        state.go("pages/image.py", image=clicked, explain=row["label"])


def _buttons(
    audit: Audit, row: pd.Series, mine: ImageVerdict | None, at: int, total: int, other: str
) -> None:
    """What can be said of a label; one key each. The chosen one again takes it back."""
    state.put("doubt", str(at))
    with st.container(horizontal=True):
        for verdict, words, key in (
            (KEEP, "Keep the label", "1"),
            (RELABEL, f"It is {blocks.plain(other)}", "2"),
            (EXCLUDE, "Leave the image out", "3"),
        ):
            chosen = mine is not None and mine.verdict == verdict
            label = row["suggested"] if verdict == RELABEL else None
            st.button(
                words,
                shortcut=key,
                key=f"verdict-{verdict}",
                type="primary" if chosen else "secondary",
                disabled=blocks.read_only(),
                on_click=_say,
                args=(audit.id, row["image_id"], None if chosen else verdict, label, at, total),
            )
    with st.container(horizontal=True):
        for words, where, key in (("Previous", at - 1, "left"), ("Next", at + 1, "right")):
            st.button(
                words,
                shortcut=key,
                key=f"doubt-{key}",
                disabled=not 1 <= where <= total,
                on_click=state.put,
                args=("doubt", str(where)),
            )


def _say(
    audit_id: str, image_id: str, verdict: str | None, label: str | None, at: int, total: int
) -> None:
    """Save what was said, and go on to the next."""
    try:
        wanted = label if verdict == RELABEL else None
        ImageVerdicts(tagged.store()).add(cards.annotator(), audit_id, image_id, verdict, wanted)
    except SpurioscopeError as error:
        st.session_state[cards.SAID] = str(error)
        return
    state.put("doubt", str(min(at + 1, total) if verdict else at))


def _examples(audit: Audit, found: pd.DataFrame, label: str, title: str) -> None:
    """Images of a class whose label nothing doubts."""
    best = found[found["label"] == label].sort_values("margin", ascending=False, kind="stable")
    st.caption(f"{blocks.plain(title)}, undoubted")
    ids = best["image_id"].head(EXAMPLES).tolist()
    gallery(
        blocks.photos(audit, ids), key=f"undoubted-{label}", columns=EXAMPLES, size=90, label=title
    )


def _copies(audit: Audit, found: pd.DataFrame) -> None:
    """Groups of images that are one."""
    leaks = found[found["leak"]]
    blocks.numbers(
        [
            ("Groups of copies", f"{found['group'].nunique():,}"),
            ("In two splits", f"{leaks['group'].nunique():,}"),
            ("Under two labels", f"{found[found['labels_differ']]['group'].nunique():,}"),
        ]
    )
    st.caption(
        "A copy in training and test makes the test too easy. Scaled, compressed and slightly cut "
        "copies are found; mirrored ones and other photos of the same thing are not."
    )
    shared = shared_values(audit)
    for one in shared.itertuples():
        st.markdown(
            f":material/call_split: **{blocks.plain(str(one.attribute))}**: "
            f"{one.in_two_splits:d} of {one.values:d} values stand in two splits "
            f"({count_of(one.images, 'image')}). A patient, site or camera should not; a colour "
            "may."
        )
    if found.empty:
        blocks.empty("No copies", "No two images are alike beyond chance.")
        return
    shown = found.head(COPIES)
    badges = {row.image_id: f"{row.group + 1} · {row.split}" for row in shown.itertuples()}
    clicked = gallery(
        blocks.photos(audit, shown["image_id"].tolist(), badges=badges),
        key="copies",
        size=130,
        label="Copies",
    )
    if len(found) > COPIES:
        st.caption(f"The first {COPIES} of {len(found):,} images; all of them in the file.")
    hand_out(audit, "copies", lambda: found)
    if clicked:
        state.go("pages/image.py", image=clicked)


def _shortcuts(audit: Audit, every: pd.DataFrame) -> None:
    """What each property tells alone, and what all tell at once."""
    found, words = alone(every), together(every)
    n = int((found["reading"] == SHORTCUT).sum())
    st.markdown(
        f"**{n:d} of {len(found):d} properties are shortcuts**: alone they tell the label, and "
        "within a class they tell where the model errs. Telling the label alone is no fault: sky "
        "is blue above what flies. Corrected over all rows."
    )
    if words:
        st.markdown(f"{blocks.plain(words[0].upper() + words[1:])}, cross-validated.")
    names = [f"{name} ({of})" for name, of in zip(found["property"], found["of"], strict=True)]
    blocks.table(
        pd.DataFrame(
            {
                "property": names,
                "reading": found["reading"].replace("", "nothing beyond chance"),
                "right, alone": [f"{100 * v:.0f} %" for v in found["accuracy"]],
                "right, by chance": [f"{100 * v:.0f} %" for v in found["chance"]],
                "of errors within classes": [f"{100 * v:.0f} %" for v in found["explained"]],
                "of shuffled errors": [f"{100 * v:.0f} %" for v in found["chance_explained"]],
                "errors differ most in": found["worst"],
            }
        ).set_index("property")
    )
    hand_out(audit, "shortcuts", lambda: every)


def _attributes(audit: Audit, found: pd.DataFrame) -> None:
    """How well features tell each attribute."""
    if found.empty and audit.summary.attributes:
        blocks.empty(
            "No value to ask for",
            f"A value is asked for where at least {LEAST:d} images have it and {LEAST:d} do not, "
            f"of attributes with at most {VALUES:d} values.",
        )
        return
    if found.empty:
        without_attributes()
        return
    st.markdown(
        "What a linear probe reads off the features is **there for the head to use**; whether it "
        "does is said by Components and Measures. AUROC of held-out folds, .5 is chance."
    )
    names = [f"{name} = {v}" for name, v in zip(found["attribute"], found["value"], strict=True)]
    blocks.table(
        pd.DataFrame(
            {
                "attribute": names,
                "over all images": _areas(found, "auroc", "low", "high"),
                "within classes": _areas(found, "within", "within_low", "within_high"),
                "images with it": [f"{n:,}" for n in found["n"]],
            }
        ).set_index("attribute")
    )
    hand_out(audit, "attributes", lambda: found)


def _areas(found: pd.DataFrame, *columns: str) -> list[str]:
    """Figures with their intervals."""
    return [
        f"{v:.2f} [{low:.2f}, {high:.2f}]" if v == v else "too few images"
        for v, low, high in found[list(columns)].itertuples(index=False)
    ]


DRAWN: dict[str, tuple[Kept, Callable[[Audit, pd.DataFrame], None]]] = {
    "labels": (label_problems, _labels),
    "copies": (near_duplicates, _copies),
    "shortcuts": (cheap_shortcuts, _shortcuts),
    "attributes": (decodable, _attributes),
    "slices": (error_slices, slices.by_features),
    "combinations": (attribute_slices, slices.by_attributes),
    "strategies": (strategy_slices, slices.by_strategies),
}
"""What every view shows, and how."""
