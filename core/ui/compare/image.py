"""Two models on one image, on the page Compare: overlays, blink and swipe, and what differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.measures.components import Term, logit_terms, margin_terms
from core.statistics.intervals import log_softmax
from core.tags.called import Names
from core.types import FloatArray, count_of
from core.ui.compare import pair as compare_pair
from core.ui.compare.figures import terms_figure
from core.ui.frame import look, opened, pictures, state, tagged
from core.ui.frame.blocks import empty, legend, plain
from core.ui.kit.columns import percent_bar
from core.ui.kit.swipe import Layer, swipe

PARAMETERS = ["other", "class", "image", "explain", "against", "part", *look.PARAMETERS]
NOTHING = "nothing: the logit alone"
LOGIT = "logit"
SHOWN = 10


def show(a: Audit, b: Audit, images: pd.DataFrame) -> None:
    """One image seen by both.

    Parameters
    ----------
    images : :func:`core.measures.shared_images.both_predictions`.
    """
    image_id = state.get("image") or ""
    if image_id not in images.index:
        _choose(a, b, images)
        return
    names = compare_pair.common_classes(a, b)
    row = images.loc[image_id]
    label = names.get(row["label"], row["label"])
    st.subheader(plain(f"{label}: {row['path']}"))
    with st.container(horizontal=True):
        if st.button("Choose another image", icon=":material/arrow_back:"):
            state.put("image", "")
            st.rerun()
    _predictions(a, b, image_id)
    if not names:
        st.info("The two audits have no class in common.", icon=":material/info:")
        return
    explain, against = _classes(names, row)
    terms = (
        margin_terms(a, b, image_id, explain, against)
        if against != NOTHING
        else logit_terms(a, b, image_id, explain)
    )
    called = tagged.names(a), tagged.names(b)
    columns = st.container(horizontal=True, gap="large")
    left, right = columns.container(width=420), columns.container(width=520)
    with left:
        _overlays(a, b, image_id, explain, terms, called)
    with right:
        _differences(terms, names, explain, against, called)


def _choose(a: Audit, b: Audit, images: pd.DataFrame) -> None:
    """Images that flip, to begin with."""
    if state.get("image"):
        st.warning("That image is not in both audits. Choose one below.", icon=":material/search:")
    label = compare_pair.common_class(a, b)
    if label is None:
        return
    differ = images[images["label"] == label]
    differ = differ[differ["prediction_a"] != differ["prediction_b"]]
    if differ.empty:
        empty("No image flips", "Both models say the same of every image of this class.")
        return
    st.markdown(f"**{count_of(len(differ), 'image')} that the models predict differently**")
    if clicked := compare_pair.pairs_gallery(a, b, differ.index[:24].tolist(), key="flip-choice"):
        state.put("image", clicked)
        st.rerun()


def _predictions(a: Audit, b: Audit, image_id: str) -> None:
    """The most probable classes in both models, side by side."""
    rows: dict[str, dict[str, float]] = {}
    for side, audit in (("A", a), ("B", b)):
        logits = audit.head.logits(audit.features([image_id]))[0]
        shares = 100 * np.exp(log_softmax(logits))
        for i in np.argsort(-shares)[:3]:
            rows.setdefault(audit.head.names[i], {})[side] = float(shares[i])
        for name, row in rows.items():
            if name in audit.head.names:
                row[side] = float(shares[audit.head.names.index(name)])
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("class").reset_index()
    percent = percent_bar()
    st.dataframe(
        table.rename(columns={"A": f"A: {a.name}", "B": f"B: {b.name}"}),
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={f"A: {a.name}": percent, f"B: {b.name}": percent},
    )


def _classes(names: dict[str, str], row: pd.Series) -> tuple[str, str]:
    """Which logit is explained, and against which; a flip compares the two predictions."""
    first, second = str(row["prediction_a"]), str(row["prediction_b"])
    wanted = first if first in names else str(row["label"])
    other = second if second != wanted and second in names else NOTHING
    with st.container(horizontal=True, vertical_alignment="bottom"):
        explain = state.choose(
            st.selectbox,
            "Explain the logit of",
            "explain",
            list(names),
            default=wanted,
            format_func=lambda v: names.get(v, v),
            resets=["against", "part"],
        )
        against = state.choose(
            st.selectbox,
            "minus that of",
            "against",
            [NOTHING, *(label for label in names if label != explain)],
            default=other if other != explain else NOTHING,
            format_func=lambda v: names.get(v, v),
        )
    return explain, against


def _overlays(
    a: Audit, b: Audit, image_id: str, label: str, terms: list[Term], called: tuple[Names, Names]
) -> None:
    """Both overlays on the photo, with a divider between them; colours are on one scale."""
    parts = {LOGIT: "the whole logit"}
    for term in terms:
        if term.label == label and term.component_a is not None and term.component_b is not None:
            parts[f"{term.component_a}-{term.component_b}"] = term.written(*called)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = state.choose(st.selectbox, "Where is", "part", parts)
        look.style()
    how, size = look.now(a), pictures.LARGE // 2
    if chosen == LOGIT:
        candidates = [pictures.logit_of(m, m.class_facts(label).class_idx) for m in (a, b)]
    else:
        keys = [CandidateKey(label, PCA, int(number)) for number in chosen.split("-")]
        candidates = [opened.candidate(m, key) for m, key in zip((a, b), keys, strict=True)]
    heats: list[FloatArray] = [
        pictures.heatmap_of(audit, candidate, image_id)
        for audit, candidate in zip((a, b), candidates, strict=True)
    ]
    scale = max(float(np.abs(heat).max()) for heat in heats) or 1.0
    layers = []
    for side, audit, candidate in zip("AB", (a, b), candidates, strict=True):
        url = pictures.overlay_url(audit, candidate, image_id, how, scale=scale, size=size)
        photo = pictures.photo_url(audit, image_id, pictures.LARGE)
        layers.append(Layer(photo, url, f"{side}: {audit.name}"))
    title = str(opened.display(a).get(label, label))
    alt = f"{parts[chosen]} of {title} in both models"
    swipe(*layers, alt=alt, dims=how.dims, key="swipe")
    legend(how, scale)
    if a.manifest.preprocess.crop_pct != b.manifest.preprocess.crop_pct:
        st.caption("The models crop the image differently: the edges do not line up exactly.")


def _differences(
    terms: list[Term],
    names: dict[str, str],
    explain: str,
    against: str,
    called: tuple[Names, Names],
) -> None:
    """What adds up to the difference, largest first."""
    sums = sum(t.a for t in terms), sum(t.b for t in terms)
    what = names.get(explain, explain)
    if against != NOTHING:
        what = f"{what} minus {names.get(against, against)}"
    st.markdown(
        f"**{plain(what)}**: {sums[0]:+.2f} in A, {sums[1]:+.2f} in B, difference "
        f"{sums[1] - sums[0]:+.2f}"
    )
    several = len({t.label for t in terms}) > 1
    titles = [t.written(*called) for t in terms]
    if several:
        titles = [
            f"{names.get(t.label, t.label)}: {said}" for t, said in zip(terms, titles, strict=True)
        ]
    top, rest = terms[:SHOWN], terms[SHOWN:]
    labels = titles[:SHOWN]
    if rest:
        top = [
            *top,
            Term(explain, None, None, "others", sum(t.a for t in rest), sum(t.b for t in rest)),
        ]
        labels = [*labels, count_of(len(rest), "other")]
    st.plotly_chart(
        terms_figure(labels, [t.a for t in top], [t.b for t in top]), width="stretch", key="terms"
    )
    with st.expander("All parts in numbers"):
        st.dataframe(
            pd.DataFrame(
                {
                    "part": titles,
                    "in A": [t.a for t in terms],
                    "in B": [t.b for t in terms],
                    "difference": [t.change for t in terms],
                }
            ),
            hide_index=True,
            width="stretch",
            placeholder="",
            column_config={
                name: st.column_config.NumberColumn(format="%+.2f")
                for name in ("in A", "in B", "difference")
            },
        )
    st.caption(
        "Components are paired one to one by the correlation of their α on the class's shared "
        "training images (at least 0.5); parts of both models sum to their logits exactly."
    )
