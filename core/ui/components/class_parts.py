"""What is said of the parts of a class beside their cards, and how many there are to be."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest, PartsRequest
from core.candidates.kinds import Found
from core.candidates.part_kind import PART, is_approximate, parts_of
from core.candidates.parts import FEWEST, MOST, rest_share
from core.tags.log import TagStore
from core.types import count_of
from core.ui.frame import blocks, opened, state, working

AGAIN = "run the same audit again, which keeps them where they fit"
RULE = "rule"
NUMBER = "parts_wanted"
"""Parameter of the address."""


def lacking(audit: Audit, class_idx: int) -> str:
    """Why a class has no parts and what to do about it; empty where it has some."""
    arrays = opened.class_arrays(audit, class_idx)
    if len(arrays.of_kind(PART).numbers):
        return ""
    if not audit.exact_maps:
        return (
            f"No parts: {audit.manifest.model.name} has no exact maps, which they are found in. "
            "Find approximate ones below, or audit a network that ends in average pooling and one "
            "linear layer."
        )
    trained = [i for i, fit in zip(arrays.image_ids, arrays.fitting, strict=True) if fit]
    if not audit.store.mapped(trained).any():
        return f"No parts: no maps of training images of this class are kept; {AGAIN}."
    return (
        "No parts: no place of the class's training images adds to its margin over the other "
        "classes. Look at its predictions, or choose another class."
    )


def not_summed(audit: Audit, class_idx: int) -> str:
    """Why the margin of a class is no sum of its parts; empty where it is."""
    if why := lacking(audit, class_idx):
        return why
    return "" if audit.exact_maps else "Approximate parts do not add up to the margin."


def explained(audit: Audit, class_idx: int) -> str:
    """How much the parts of a class explain, and what the rest holds; empty without any."""
    arrays = opened.class_arrays(audit, class_idx)
    found = arrays.of_kind(PART)
    if not (number := len(found.numbers)):
        return ""
    parts = parts_of(found)
    values = np.column_stack([found.alpha, found.arrays["rest"]]).astype(np.float64)
    rest = rest_share(values[np.isfinite(values).all(axis=1) & np.asarray(arrays.fitting, bool)])
    words = count_of(number, "part explains", "parts explain")
    said = [f"{words} {100 * parts.explained:.0f} % of what places give to the class's margin"]
    if np.isfinite(rest):
        said.append(f"the rest holds {round(100 * rest)} % of the margin")
    return ". ".join(filter(None, ["; ".join(said), _roughly(found), parts.note])) + "."


def _roughly(found: Found) -> str:
    """That parts are approximate, where they are."""
    if not is_approximate(found):
        return ""
    return (
        "Approximate: activation times gradient, which adds up to the margin only to first order; "
        "put in and taken away have no exact maps to be tried in, the trial in pixels does"
    )


def number_of_parts(audit: Audit, class_idx: int) -> None:
    """Say how good the parts of a class are, and offer to find another number of them."""
    if said := explained(audit, class_idx):
        st.caption(blocks.plain(said))
    if blocks.read_only() or audit.manifest.mitigation:
        return
    if not audit.exact_maps:
        _offer_approximate(audit, class_idx)
        return
    asked = (audit.manifest.counts or {}).get(PART)
    now = RULE if asked is None else str(asked)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = state.choose(
            st.selectbox, "Number of parts", NUMBER, _choices(audit, class_idx, asked), default=now
        )
        if chosen != now:
            _offer(audit, 0 if chosen == RULE else int(chosen))


def _offer_approximate(audit: Audit, class_idx: int) -> None:
    """A button that lets the network find parts of a class where no map is exact."""
    arrays = opened.class_arrays(audit, class_idx)
    if len(arrays.of_kind(PART).numbers):
        return
    working.offer(
        PartsRequest(audit.id, arrays.label),
        f"Approximate parts of {arrays.facts.name}",
        "Find approximate parts of this class",
        key=f"approximate-{class_idx}",
        help="Asks the network of 120 images of the class where its margin comes from",
    )


def _choices(audit: Audit, class_idx: int, asked: int | None) -> dict[str, str]:
    """The numbers that can be asked for, in words."""
    there = len(opened.class_arrays(audit, class_idx).of_kind(PART).numbers)
    rule = f"by the rule ({there})" if asked is None else "by the rule"
    numbers = sorted({*range(FEWEST, MOST + 1), *([] if asked is None else [asked])})
    return {RULE: rule, **{str(number): str(number) for number in numbers}}


def _offer(audit: Audit, number: int) -> None:
    """A button that finds so many parts of every class; 0: as many as the rule says."""
    request = AuditRequest.again(audit.manifest, parts=number)
    words = count_of(number, "part") if number else "parts by the rule"
    working.offer(
        request, f"{audit.name}: {words}", f"Find {blocks.plain(words)} of every class", key="find"
    )
    if _are_tagged(audit):
        st.caption("Tags stay with the numbers of parts, which may then be other parts.")


def _are_tagged(audit: Audit) -> bool:
    """Whether anybody tagged a part of the audit."""
    return any(event.kind == PART for event in TagStore.open(opened.workspace()).current(audit.id))
