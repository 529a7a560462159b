"""An app that shows every name of :mod:`tests.hostile` in every kind of place."""

import plotly.graph_objects as go
import streamlit as st

from core.ui.kit.text import drawn, html, plain, visible
from tests.hostile import NAMES, UNSEEN

PLACES = {
    "title": lambda text, i: st.title(text),
    "subheader": lambda text, i: st.subheader(text),
    "caption": lambda text, i: st.caption(text),
    "markdown": lambda text, i: st.markdown(f"**{text}**: {text}, {text}."),
    "error": lambda text, i: st.error(text),
    "button": lambda text, i: st.button(text, key=f"button-{i}-x"),
    "radio": lambda text, i: st.radio("Radio", [text], key=f"radio-{i}-x"),
    "segmented": lambda text, i: st.segmented_control("Of", [text], key=f"segmented-{i}-x"),
    "label": lambda text, i: st.text_input(text, key=f"label-{i}-x"),
    "metric": lambda text, i: st.metric(text, text, text),
    "expander": lambda text, i: st.expander(text),
    "progress": lambda text, i: st.progress(0.5, text=text),
    "table": lambda text, i: st.table({text: [text]}),
    "html": lambda text, i: st.html(f"<p title='{text}'>{text}</p>"),
    "selectbox": lambda text, i: st.selectbox("Of", [text, "other"], key=f"selectbox-{i}-x"),
}
OTHERWISE = {"html": html, "selectbox": visible}


def draw(place: str) -> None:
    """Every name in one kind of place."""
    names = [*NAMES, UNSEEN]
    if place == "help":
        st.button("Help", help="\n\n".join(map(plain, names)))
    elif place == "plotly":
        shown = [drawn(name) for name in names]
        figure = go.Figure(go.Scatter(x=shown, y=list(range(len(shown))), text=shown, mode="text"))
        figure.update_layout(title=shown[0], height=900, width=1800)
        st.plotly_chart(figure)
    else:
        for number, name in enumerate(names):
            with st.container(key=f"{place}-{number}"):
                PLACES[place](OTHERWISE.get(place, plain)(name), number)


if __name__ == "__main__":  # as Streamlit runs it
    draw(st.query_params.get("place", "caption"))
