"""Several models on the same images: their figures, where they agree, what sets them apart."""

import streamlit as st

from core.ui.compare import classes as compare_classes
from core.ui.compare import compare
from core.ui.compare import ensemble as compare_ensemble
from core.ui.compare import image as compare_image
from core.ui.compare import pair as compare_pair
from core.ui.compare import robustness as compare_robustness
from core.ui.compare import table as compare_table
from core.ui.compare import tags as compare_tags
from core.ui.frame import blocks, shell, state

PARAMETERS = {
    "table": ["class"],
    "classes": [*compare_classes.PARAMETERS, "class"],
    "robustness": compare_robustness.PARAMETERS,
    "ensemble": [],
    "tags": compare_tags.PARAMETERS,
    "pair": compare_pair.PARAMETERS,
    "image": compare_image.PARAMETERS,
}

st.title("Compare models")
audits = compare.choose_models(shell.current_audit())
if len(audits) < 2:
    if audits:
        st.info("Choose at least one other model.", icon=":material/info:")
    state.publish(["audit"])
    st.stop()
baseline = compare.choose_baseline(audits)


@blocks.part
def chosen() -> None:
    """One view of the models."""
    view = state.choose(
        st.segmented_control,
        "Look at",
        "view",
        list(compare.VIEWS),
        format_func=compare.VIEWS.__getitem__,
    )
    if view in ("pair", "image"):
        two(view)
    else:
        context = compare.context_of(audits)
        compare.summary(context)
        if view == "table":
            compare_table.show(context, compare.table_of(context, baseline), baseline)
        elif view == "ensemble":
            compare_ensemble.show(context, baseline)
        else:
            show = {
                "classes": compare_classes,
                "robustness": compare_robustness,
                "tags": compare_tags,
            }[view].show
            show(context)
    state.publish([*compare.FRAME, *PARAMETERS[view]])


def two(view: str) -> None:
    """The baseline against one of the others."""
    other = compare_pair.second_audit(audits, baseline)
    if view == "image":
        compare_image.show(baseline, other, compare_pair.both(baseline, other))
        return
    if clicked := compare_pair.show(baseline, other):
        state.publish([*compare.FRAME, *PARAMETERS[view]])
        state.put("image", clicked)
        state.put("view", "image")
        for name in ("explain", "against", "part"):
            state.put(name, "")
        st.rerun()


chosen()
