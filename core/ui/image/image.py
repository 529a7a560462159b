"""Blocks of the page Image."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS
from core.candidates.linear_kinds import PCA
from core.candidates.part_kind import PART, offset_of, parts_of
from core.candidates.parts import margin_of
from core.errors import SpurioscopeError
from core.explain.attribution import ATTRIBUTIONS, method_of
from core.explain.heatmaps import energy_share
from core.explain.single import Decomposition, logit_sum, margin_sum, switched_off
from core.statistics.intervals import log_softmax
from core.tags.called import Names
from core.types import FloatArray
from core.ui.components import class_parts
from core.ui.frame import (
    explanations,
    likeness,
    look,
    opened,
    pictures,
    state,
    tagged,
    uploads,
)
from core.ui.frame.blocks import (
    LIT,
    class_names,
    empty,
    html_list,
    legend,
    photos,
    plain,
    read_only,
    say,
    sentences,
)
from core.ui.frame.words import help_on
from core.ui.image import concepts, enough, methods
from core.ui.kit.columns import percent_bar
from core.ui.kit.gallery import Picture, gallery

if TYPE_CHECKING:
    from core.audits.explained import Asked

WHICH = {"all": "all images", "wrong": "wrong predictions", "right": "right predictions"}
BROWSING = ["audit", "class", "which", "sheet"]
EXPLAINING = [
    *("audit", "image", "explain", "sum", "component", "method", "off"),
    *(*look.PARAMETERS, likeness.SWITCH),
    *(
        enough.SWITCH,
        enough.FILL,
        enough.EXACTLY,
        enough.KEPT,
        enough.WITH,
        *methods.PARAMETERS,
        *concepts.PARAMETERS,
    ),
]
LOGIT = "logit-0"
PAGE = 24
BARS = {PCA: 8, PART: 12}
"""How many of a kind have a bar of their own."""
ENDS = {PCA: ("class mean", "logit"), PART: ("bias", "margin")}
"""What a sum begins and ends with."""


class Explained(NamedTuple):
    """What the head says of an image, and what it says of one class taken apart."""

    logits: FloatArray
    """(K,) corrected where the head is."""
    class_idx: int
    kind: str
    """Of the candidates that are summed up."""
    whole: Decomposition
    """Of the class's logit by components, of its margin by parts."""
    label: str
    """Raw label of the class."""
    names: Names

    def written(self, kind: str, number: int) -> str:
        """A candidate of the class in words."""
        return self.names.written(CandidateKey(self.label, kind, number))


def exists(audit: Audit, image_id: str) -> bool:
    """Whether the audit holds this image or it was uploaded to it."""
    try:
        return bool(image_id) and bool(audit.path(image_id))
    except SpurioscopeError:
        return False


def browse(audit: Audit) -> str | None:
    """Choose an image of the audit; returns its id when one is clicked."""
    names = class_names(audit)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        label = state.choose(
            st.selectbox,
            "Class",
            "class",
            names,
            resets=["sheet"],
        )
        which = state.choose(
            st.segmented_control,
            "Show",
            "which",
            WHICH,
            resets=["sheet"],
        )
    images = opened.class_images(audit, audit.class_facts(label).class_idx)
    if which != "all":
        images = images[images["correct"] == (which == "right")]
    page, pages = 1, -(-len(images) // PAGE)
    if pages > 1:
        with row:
            page = state.number(st.number_input, f"Page of {pages}", "sheet", 1, pages, 1)
    if images.empty:
        empty("No such image", "Every image of this class is on the other side. Change **Show**.")
        return None
    shown = images.sort_values("confidence", ascending=False)
    ids = shown.index[(page - 1) * PAGE : page * PAGE]
    return gallery(photos(audit, ids), key="browse", size=140, label="Images")


def upload(audit: Audit) -> str | None:
    """Take in an image from the user's machine; returns its id."""
    if read_only():
        return None
    file = st.file_uploader("An image of your own")
    if file is None:
        return None
    content = uploads.taken(file)
    with st.spinner("Running the model …"):
        try:
            return audit.upload(content, opened.model_of(audit))
        except SpurioscopeError as error:
            say(error)
            return None


def facts(audit: Audit, image_id: str) -> tuple[str, str]:
    """Title and caption of an image."""
    if audit.rows_of([image_id])[0] < 0:
        return "Uploaded image", "not part of the audit"
    row = audit.images_of([image_id]).iloc[0]
    label = opened.display(audit).get(row["label"], row["label"])
    attributes = [f"{name}: {row[name]}" for name in audit.summary.attributes]
    return label, " · ".join([str(row["path"]), f"split {row['split']}", *attributes])


def predictions(audit: Audit, before: FloatArray, after: FloatArray | None) -> None:
    """The five most probable classes, before and after switching components off."""
    shown = np.exp(log_softmax(before))
    order = np.argsort(-(shown if after is None else np.exp(log_softmax(after))))[:5]
    rows = {"class": [audit.head.names[i] for i in order], "probability": 100 * shown[order]}
    if after is not None:
        rows["probability now"] = 100 * np.exp(log_softmax(after))[order]
    percent = percent_bar()
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={"probability": percent, "probability now": percent},
    )


def explained(audit: Audit, image_id: str) -> Explained:
    """Choose a class, and what it is a sum of."""
    phi = np.asarray(audit.features([image_id])[0], np.float64)
    linear = np.asarray(audit.head.weight, np.float64) @ phi + audit.head.bias
    correction = audit.head.correction
    logits = linear if correction is None else correction.apply(phi[None], linear[None])[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        class_idx = _class(audit, image_id, logits)
        kind = _summed()
    named = audit.head.outputs[class_idx], tagged.names(audit)
    if kind == PART and (why := class_parts.not_summed(audit, class_idx)):
        st.caption(f"{plain(why)} Its components are shown.")
        kind = PCA
    if kind == PART:
        whole = _of_parts(audit, image_id, class_idx, logits, linear)
        return Explained(logits, class_idx, PART, whole, *named)
    arrays = opened.class_arrays(audit, class_idx)
    mean = float(arrays.facts.logit_mean)
    value, plain_value = float(logits[class_idx]), float(linear[class_idx])
    whole = logit_sum(arrays.pca, mean, value, phi, linear=plain_value)
    return Explained(logits, class_idx, PCA, whole, *named)


def _class(audit: Audit, image_id: str, logits: FloatArray) -> int:
    """Choose the class that is explained; its output."""
    names = class_names(audit)
    label = state.choose(
        st.selectbox,
        "Explain the logit of",
        "explain",
        list(names),
        default=_suggested(audit, image_id, logits),
        format_func=lambda v: names.get(v, v),
        resets=["off"],
        help=help_on("logit"),
    )
    return audit.class_facts(label).class_idx


def _summed() -> str:
    """Choose what is summed up."""
    return state.choose(
        st.segmented_control,
        "Sum of",
        "sum",
        list(BARS),
        format_func=lambda name: plain(KINDS[name].plural),
        resets=["off"],
        help=help_on("component", "part"),
        width="content",
    )


def _of_parts(
    audit: Audit, image_id: str, class_idx: int, logits: FloatArray, linear: FloatArray
) -> Decomposition:
    """The class's margin against the other classes of the data, by parts."""
    others = [facts.class_idx for facts in audit.classes]
    margins = margin_of(np.stack([logits, linear]), class_idx, others)
    plain_sum = _plain_margin(audit, image_id, class_idx)
    return replace(plain_sum, correction=float(margins[0] - margins[1]))


@lru_cache(maxsize=64)
def _plain_margin(audit: Audit, image_id: str, class_idx: int) -> Decomposition:
    """The margin without the head's correction, from maps that the model may have to make."""
    found = opened.class_arrays(audit, class_idx).of_kind(PART)
    maps = audit.maps([image_id], opened.model_for_maps(audit, image_id), padded=False)
    return margin_sum(parts_of(found), offset_of(found), maps)


def _suggested(audit: Audit, image_id: str, logits: FloatArray) -> str:
    """The predicted class where it was audited, else the image's own."""
    predicted = str(audit.head.outputs[int(logits.argmax())])
    if predicted in class_names(audit) or audit.rows_of([image_id])[0] < 0:
        return predicted
    return str(audit.images_of([image_id])["label"].iat[0])


def what_if(found: Explained) -> FloatArray | None:
    """Switch components or parts off; returns the new logits, or None when none is off."""
    kind, alpha = found.kind, found.whole.alpha
    order, _ = found.whole.largest(len(alpha))
    off = state.several(
        "What if the model did not see …",
        "off",
        [str(i) for i in order],
        format_func=lambda i: f"{found.written(kind, int(i))} ({alpha[int(i)]:+.2f})",
        placeholder=f"choose {KINDS[kind].plural} to switch off",
    )
    places = [int(i) for i in off]
    return switched_off(found.logits, found.class_idx, found.whole, places) if off else None


def sum_figure(audit: Audit, found: Explained) -> None:
    """The logit or the margin as a waterfall."""
    from core.ui.kit.figures import waterfall

    kind, whole = found.kind, found.whole
    shown, others = whole.largest(BARS[kind])
    names = [found.written(kind, i) for i in shown]
    values = [float(whole.alpha[i]) for i in shown]
    kept = len(whole.alpha) - len(shown)
    if kept > 0:
        names.append(f"{kept} others")
        values.append(others)
    names.append("rest" if kind == PART else "residual")
    values.append(whole.residual)
    if whole.correction:
        names.append("correction")
        values.append(whole.correction)
    name = plain(audit.head.names[found.class_idx])
    if kind == PART:
        st.markdown(f"**The margin of {name} over the other classes as a sum of its parts**")
    else:
        st.markdown(f"**The logit of {name} as a sum of its components**")
    st.plotly_chart(
        waterfall(names, values, start=whole.start, end=whole.total, ends=ENDS[kind]),
        width="stretch",
        key="waterfall",
    )


def overlay(audit: Audit, image_id: str, found: Explained) -> str:
    """The photo with the map of one candidate, and how much of it lies inside the masks.

    Returns the short key of that candidate, or ``LOGIT``.
    """
    what, method = _chosen(audit, found)
    _draw(audit, image_id, found, what, method)
    return what


def _draw(audit: Audit, image_id: str, found: Explained, what: str, method: str) -> None:
    class_idx = found.class_idx
    how, size = look.now(audit), pictures.LARGE // 2
    key = None if what == LOGIT else CandidateKey.parse(what, label=found.label)
    name = _name(what, found)
    title, _ = facts(audit, image_id)
    known = audit.rows_of([image_id])[0] >= 0
    outline = pictures.outline_url(audit, image_id) if known and how.outlines else None
    heat, scale, lowers = None, 1.0, False
    if method == pictures.EXACT:
        candidate = (
            opened.candidate(audit, key) if key else pictures.logit_of(audit, class_idx, image_id)
        )
        heat = pictures.heatmap_of(audit, candidate, image_id)
        scale = float(np.abs(heat).max()) or 1.0
        if lowers := how.dims and how.parts == "both" and not (heat > 0).any():
            how = how._replace(parts="negative")
    asked = pictures.method_asked(method_of(method), found.label, key)
    said = explanations.told(audit, {method: asked} if heat is None else {}, image_id)
    url = (
        None
        if heat is None and not said.found
        else pictures.method_url(
            audit, found.label, key, image_id, method, how, scale=scale, size=size
        )
    )
    photo = pictures.photo_url(audit, image_id, pictures.LARGE)
    cell = Picture(image_id, photo, url, outline, name, f"{title}, {name}")
    gallery(
        [cell],
        key="large",
        columns=1,
        opacity=0.8,
        dims=how.dims,
        enlarge="",
        controls=True,
        label="The image",
    )
    if heat is None:
        _approximated(audit, image_id, method, asked, said)
        return
    legend(how, scale)
    if lowers:
        st.caption("It raises the logit nowhere in this image: lit is where it lowers it most.")
    st.caption(_exactness(audit))
    if known:
        with sentences():
            shares(audit, image_id, heat)


def _approximated(
    audit: Audit, image_id: str, method: str, asked: Asked, said: explanations.Told
) -> None:
    """What has to be known of a map that is not the exact one, or a job that makes it."""
    title, lit = plain(ATTRIBUTIONS[method].title), f" {LIT}." if look.now(audit).dims else ""
    if said.found:
        sums = "sums" if method == "lrp" else "does not add up"
        scale = "drawn on a scale of its own"
        st.caption(f"{title}: an approximation that {sums} to the number, {scale}.{lit}")
    for note in [*said.refused.values(), *(n for one in said.found.values() for n in one.notes)]:
        st.caption(f"{title}: {plain(note)}.")
    if said.lacking:
        words = f"Make the map: {ATTRIBUTIONS[method].title}"
        explanations.offer(audit, [asked], image_id, words)


def _chosen(audit: Audit, found: Explained) -> tuple[str, str]:
    """Draw the choices about the overlay: of what, by which method, and how it is shown."""
    label, whole = audit.head.outputs[found.class_idx], found.whole
    largest, _ = whole.largest(len(whole.alpha))
    order = [CandidateKey(label, found.kind, i).short for i in largest]
    order += [key.short for key in _of_other_kinds(audit, label, found.kind)]
    now = opened.named(audit, state.get("component") or "", label)
    if now and now.label == label and now.short not in order:
        order.insert(0, now.short)
    what = state.choose(
        st.selectbox,
        "Where is",
        "component",
        [*order, LOGIT],
        format_func=lambda v: _name(v, found),
        help=help_on("component", "alpha", "residual"),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        look.style()
        with st.popover("Display", icon=":material/tune:"):
            titles = {name: known.title for name, known in ATTRIBUTIONS.items()}
            method = state.choose(
                st.selectbox,
                "Method",
                "method",
                titles,
                help=help_on("exact map", *list(titles.values())[1:]),
            )
            look.details(audit)
    return what, method


def _of_other_kinds(audit: Audit, label: str, but: str) -> list[CandidateKey]:
    """The candidates of a class beside those of one kind, of kinds that are few in a class."""
    arrays = opened.arrays_of(audit, label)
    return [
        CandidateKey(label, name, int(number))
        for name, kind in KINDS.items()
        if kind.found and kind.few and name != but
        for number in arrays.of_kind(name).numbers
    ]


def _name(what: str, found: Explained) -> str:
    """A candidate's name, with its alpha on this image where it is one of those summed up."""
    if what == LOGIT:
        return f"the whole logit ({found.logits[found.class_idx]:+.2f})"
    key = CandidateKey.parse(what, label=found.label)
    title = found.names.written(key)
    if key.kind != found.kind:
        return title
    return f"{title} ({found.whole.alpha[key.number]:+.2f})"


def _exactness(audit: Audit) -> str:
    if not audit.exact_maps:
        return "This architecture has no exact map: Grad-CAM on alpha, an approximation."
    if audit.manifest.model.map_kind == "frozen_norm":
        return "Exact, with the statistics of the normalisation frozen at this image's own."
    return "Exact: the mean of the map is the contribution."


def shares(audit: Audit, image_id: str, heat: FloatArray) -> None:
    """Share of the map's energy inside each mask, beside the mask's share of the area."""
    from core.data.masks import mask_on_grid

    lines = []
    for name, mask in pictures.masks_of(audit, image_id).items():
        inside = mask_on_grid(mask, (int(heat.shape[0]), int(heat.shape[1])))
        share = energy_share(heat, inside)
        if share == share:
            lines.append(
                f"{100 * share:.0f} % of the map's positive energy lies inside "
                f"{name.replace('_', ' ')}, which covers {100 * float(inside.mean()):.0f} % of it"
            )
    if lines:
        st.html(html_list(lines))
