"""Blocks of the page Image."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from core.audit import Audit, Candidate
from core.errors import SpurioscopeError
from core.explain.heatmaps import energy_share
from core.explain.single import LogitSum, logit_sum, switched_off
from core.statistics import log_softmax
from core.types import FloatArray, Kind
from core.ui import opened, pictures, state
from core.ui.blocks import display, empty, legend, picture
from core.ui.gallery import Picture, gallery

EXACT = "exact"
METHODS = {
    EXACT: "Exact map",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}
WHICH = {"all": "all images", "wrong": "wrong predictions", "right": "right predictions"}
PAGE = 24


def browse(audit: Audit) -> str | None:
    """Choose an image of the audit; returns its id when one is clicked."""
    names = {c["label"]: c["name"] for c in audit.classes}
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    with left:
        label = state.choose(
            st.selectbox, "Class", "class", list(names), format_func=lambda v: names.get(v, v)
        )
    with middle:
        which = state.choose(
            st.segmented_control, "Show", "which", list(WHICH), format_func=WHICH.__getitem__
        )
    images = audit.images[audit.images["label"] == label]
    if which != "all":
        images = images[images["correct"] == (which == "right")]
    with right:
        page = 1
        if len(images) > PAGE:
            page = state.number(st.number_input, "Page", "page", 1, -(-len(images) // PAGE), 1)
    if images.empty:
        empty("No such image", "Every image of this class is on the other side. Change **Show**.")
        return None
    shown = images.sort_values("confidence", ascending=False)
    ids = shown.index[(page - 1) * PAGE : page * PAGE]
    return gallery([picture(audit, i) for i in ids], key="browse", size=140, label="Images")


def upload(audit: Audit) -> str | None:
    """Take in an image from the user's machine; returns its id."""
    from core.ui.blocks import read_only

    file = st.file_uploader("An image of your own", disabled=read_only())
    if file is None:
        return None
    with st.spinner("Running the model …"):
        try:
            return audit.upload(file.getvalue(), opened.model_of(audit))
        except SpurioscopeError as error:
            st.error(str(error), icon=":material/error:")
            return None


def facts(audit: Audit, image_id: str) -> tuple[str, str]:
    """Title and caption of an image."""
    if image_id not in audit.images.index:
        return "Uploaded image", "not part of the audit"
    row = audit.images.loc[image_id]
    label = display(audit).get(row["label"], row["label"])
    attributes = [f"{name}: {row[name]}" for name in audit.summary["attributes"]]
    return label, " · ".join([str(row["path"]), f"split {row['split']}", *attributes])


def predictions(audit: Audit, before: FloatArray, after: FloatArray | None) -> None:
    """The five most probable classes, before and after switching components off."""
    shown = np.exp(log_softmax(before))
    order = np.argsort(-(shown if after is None else np.exp(log_softmax(after))))[:5]
    rows = {"class": [audit.head.names[i] for i in order], "probability": shown[order]}
    if after is not None:
        rows["probability now"] = np.exp(log_softmax(after))[order]
    percent = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={"probability": percent, "probability now": percent},
    )


def take_apart(audit: Audit, image_id: str, class_idx: int) -> tuple[FloatArray, LogitSum]:
    """All logits (K,) of an image, and one class's as a sum."""
    phi = np.asarray(audit.features([image_id])[0], np.float64)
    logits = np.asarray(audit.head.weight, np.float64) @ phi + audit.head.bias
    arrays = opened.class_arrays(audit, class_idx)
    mean = float(arrays.facts["logit_mean"])
    return logits, logit_sum(arrays.pca, mean, float(logits[class_idx]), phi)


def what_if(parts: LogitSum, logits: FloatArray, class_idx: int) -> FloatArray | None:
    """Switch components off; returns the new logits, or None when none is off."""
    order, _ = parts.largest(len(parts.alpha))
    off = state.several(
        "What if the model did not see …",
        "off",
        [str(i) for i in order],
        format_func=lambda i: f"component {int(i) + 1} ({parts.alpha[int(i)]:+.2f})",
        placeholder="choose components to switch off",
    )
    return switched_off(logits, class_idx, parts, [int(i) for i in off]) if off else None


def sum_figure(parts: LogitSum, name: str) -> None:
    """The logit as a waterfall."""
    from core.ui.figures import waterfall

    shown, others = parts.largest(8)
    names = [f"component {i + 1}" for i in shown]
    values = [float(parts.alpha[i]) for i in shown]
    kept = len(parts.alpha) - len(shown)
    if kept > 0:
        names.append(f"{kept} others")
        values.append(others)
    names.append("residual")
    values.append(parts.residual)
    st.markdown(f"**The logit of {name} as a sum of its components**")
    st.plotly_chart(
        waterfall(names, values, start=parts.logit_mean, end=parts.logit),
        width="stretch",
        key="waterfall",
    )


def overlay(audit: Audit, image_id: str, candidate: Candidate, method: str) -> None:
    """The photo with the map of one candidate, and how much of it lies inside the masks."""
    title, _ = facts(audit, image_id)
    photo = pictures.photo_url(audit, image_id, 640)
    known = image_id in audit.images.index
    if method == EXACT:
        heat = pictures.heatmap_of(audit, candidate, image_id)
        scale = float(np.abs(heat).max()) or 1.0
        url = pictures.heat_url(audit, candidate, image_id, scale=scale)
    else:
        url = pictures.attribution_url(audit, candidate, candidate.class_idx, image_id, method)
    outline = pictures.outline_url(audit, image_id) if known else None
    cell = Picture(image_id, photo, url, outline, candidate.title, f"{title}, {candidate.title}")
    gallery([cell], key="large", columns=1, opacity=0.8, controls=True, label="The image")
    if method != EXACT:
        st.caption(f"{METHODS[method]} of alpha: an approximation that does not add up to it.")
        return
    legend(scale)
    if not audit.exact_maps:
        st.caption("This architecture has no exact map: Grad-CAM on alpha, an approximation.")
    elif audit.manifest["model"]["map_kind"] == "frozen_norm":
        st.caption("Exact, with the statistics of the normalisation frozen at this image's own.")
    else:
        st.caption("Exact: the mean of the map is the component's contribution.")
    if known:
        shares(audit, image_id, heat)


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
        st.html("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")


def chosen_candidate(audit: Audit, class_idx: int) -> Candidate:
    """The component or neuron in the address, else the class's first."""
    arrays = opened.class_arrays(audit, class_idx)
    kind, _, number = (state.get("component") or "pca-0").partition("-")
    try:
        return arrays.candidate(Kind(kind), int(number))
    except (SpurioscopeError, ValueError):
        return arrays.candidate(Kind.PCA, 0)
