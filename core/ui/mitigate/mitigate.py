"""Blocks of the page Mitigate: what to act on, how, and the jobs that do it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, unquote

import streamlit as st

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.corrections.corrected import facts_of
from core.corrections.methods import DEFAULT, METHODS, Method
from core.corrections.mitigate_request import AUTO, SWEEP, MitigateRequest, read_strength
from core.errors import SpurioscopeError
from core.jobs import jobs
from core.storage.audit_manifest import Manifest
from core.ui.frame import blocks, opened, state, tagged
from core.ui.frame.tagged import decisions
from core.ui.new_audit import job_list

GIVEN = "given"
STRENGTHS = {AUTO: "chosen on held-out training images", GIVEN: "given"}
OF_NETWORKS = {
    AUTO: "its default",
    GIVEN: "given",
    SWEEP: "several tried on held-out training images",
}
OWN = ["cues", "method", "how", "strength", "shown_by", "masks", "name"]
"""Parameters of the form; those of the method's options come on top."""


def form(audit: Audit) -> MitigateRequest | None:
    """Choose cues, method and strength; what is asked for when Start is pressed."""
    found = decisions(audit)
    cues = {_quoted(key): key for keys in found.spurious.keys_of.values() for key in keys}
    if not cues:
        blocks.no_cue("A mitigation acts on")
        return None
    chosen = _cues(audit, cues)
    method = _method()
    st.caption(blocks.plain(f"{method.remark} Source: {method.source}."))
    with st.expander("Strength, options and the published setting", icon=":material/tune:"):
        _published(method)
        strength, options = _strength(method), _options(method)
        attribute, masks = _evidence(audit, method)
    name = state.text("Name of the new audit", "name", default=free_name(audit, method.name))
    pressed = st.button(
        "Start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=not chosen,
    )
    if not chosen:
        st.info("Choose at least one cue.", icon=":material/info:")
    if not (pressed and chosen):
        return None
    try:
        return MitigateRequest(
            audit.id,
            method.name,
            name.strip(),
            cues=tuple(chosen),
            strength=read_strength(strength),
            options=options,
            attribute=attribute,
            masks=masks,
        )
    except SpurioscopeError as error:
        blocks.say(error)
        return None


def _cues(audit: Audit, cues: dict[str, CandidateKey]) -> list[str]:
    """Which of the tagged cues to act on; all of them at first."""
    names, called = blocks.class_names(audit), tagged.names(audit)

    def shown(name: str) -> str:
        label = cues[name].label
        return f"{names.get(label, label)}: {called.written(cues[name])}"

    given = state.get("cues")
    wanted = ",".join(cues if given is None else [_text(audit, cue) for cue in given.split(",")])
    if given != wanted:
        state.put("cues", wanted)
    chosen = state.several("Cues to act on", "cues", list(cues), format_func=shown)
    return [str(cues[name]) for name in chosen]


def _text(audit: Audit, cue: str) -> str:
    """A cue of the address as it is written now; one that means nothing stays as it is."""
    key = opened.named(audit, unquote(cue))
    return _quoted(key) if key else cue


def _quoted(key: CandidateKey) -> str:
    return quote(str(key), safe=" /")  # the address joins them by commas


def _method() -> Method:
    name = state.choose(
        st.selectbox,
        "Method",
        "method",
        list(METHODS),
        default=DEFAULT,
        format_func=lambda n: METHODS[n].title,
        resets=["strength", "how", "name"],
    )
    return METHODS[name]


def _published(method: Method) -> None:
    """One click to what the paper did."""
    low, high = method.strengths[0], method.strengths[-1]
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Use the published setting", icon=":material/menu_book:", key="as-published"):
            for option in method.options:
                state.put(f"o_{option}", str(method.published_options.get(option, "")))
            state.put("how", GIVEN)
            state.put("strength", f"{method.published:g}")
            st.rerun()
        st.caption(f"Strengths from {low:g} to {high:g}; {method.published:g} is as published.")


def _strength(method: Method) -> str:
    """A number, ``auto`` or ``sweep``."""
    words = OF_NETWORKS if method.of_network else STRENGTHS
    how = state.choose(st.segmented_control, "Strength", "how", words)
    if how == SWEEP:
        st.caption(
            "Trains once per strength: several times as long. Judged by the worst group of class "
            "and cue on held-back images; cues are those drawn, else what overlays show."
        )
    if how != GIVEN:
        return how
    return state.text("Strength", "strength", default=f"{method.published:g}").strip()


def _options(method: Method) -> dict[str, str]:
    """One choice per option of the method, the default first; those that are not at theirs."""
    found = {}
    for option, values in method.options.items():
        texts = [str(value) for value in values]
        chosen = state.choose(
            st.selectbox, WORDS.get(option, blocks.plain(option.capitalize())), f"o_{option}", texts
        )
        if chosen != texts[0]:
            found[option] = chosen
    return found


WORDS = {
    "cav": "Concept vector",
    "bias": "Intercepts afterwards: refitted, or kept",
    "fit": "Head afterwards: kept, or refitted",
    "target": "Gradient of",
    "form": "Form of the penalty",
    "reference": "Taken off: what exceeds the mean of all of the class, or of its low images",
    "variant": "Images tuned on",
    "rate": "Learning rate",
    "read": "Direction read along",
    "write": "Direction taken away",
    "loss": "Localisation loss",
    "fraction": "Share of the masks that is used",
    "parts": "What is trained",
    "change": "Counterfactuals",
    "region": "In place of the region",
    "concept": "Cue told by",
    "penalty": "Penalty on leaving the head",
    "upweight": "Times that wrong images count",
}
"""Options for people; others by their own name."""

ALPHA = "high against low alpha of the tagged cue"


def _evidence(audit: Audit, method: Method) -> tuple[str | None, bool]:
    """Who shows the cue, and whether masks may be used."""
    choices = [ALPHA, *audit.summary.attributes]
    by = state.choose(st.selectbox, "Images with and without the cue by", "shown_by", choices)
    masks = False
    if "cue_mask" in audit.summary.masks and not method.of_network:
        help_text = "Pastes the drawn cues on training images of other classes; decodes these."
        masks = state.toggle("Use the cue masks of the data", "masks", help=help_text)
    return None if by == ALPHA else by, masks


def free_name(audit: Audit, method: str) -> str:
    """A name that no audit has yet."""
    taken = {m.name for m in opened.workspace().manifests()}
    stem = f"{audit.name[:90]}-{method}"
    return next(
        n for i in range(1, len(taken) + 2) if (n := stem if i == 1 else f"{stem}-{i}") not in taken
    )


def parameters() -> list[str]:
    """Every parameter of the page."""
    options = {option for method in METHODS.values() for option in method.options}
    return ["audit", *OWN, *(f"o_{option}" for option in sorted(options))]


def repeat(parent: Audit, audit: Audit, strength: float) -> None:
    """Start the same correction at another strength."""
    done = facts_of(audit)
    same = MitigateRequest.again(done, free_name(parent, done.method))
    start(replace(same, strength=strength))


def start(request: MitigateRequest) -> None:
    """Start the job."""
    try:
        jobs.start(opened.workspace(), request.arguments(), request.title)
        state.put("name", "")
        st.toast("Started; you may close the browser.", icon=":material/play_arrow:")
    except SpurioscopeError as error:
        blocks.say(error)


def watch() -> None:
    """The jobs of this kind."""

    def mine(job: jobs.Job) -> bool:
        return job.arguments[:1] == [MitigateRequest.command]

    if any(mine(job) for job in jobs.jobs(opened.workspace())):
        st.subheader("Jobs")
        job_list(mine, opens=("pages/mitigate.py", "result"))


def derived_from(audit: Audit) -> dict[str, Manifest]:
    """Finished corrected models to look at: this one if it is one, and those made from it."""
    found = {}
    for manifest in opened.finished_audits():
        done = manifest.mitigation
        if done and (manifest.id == audit.id or done.parent == audit.id):
            found[manifest.id] = manifest
    return found
