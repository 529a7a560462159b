"""The model card: what was done to a model, what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core.audits.audit import Audit
from core.audits.export import ELSEWHERE
from core.candidates.key import CandidateKey
from core.corrections.corrected import (
    ADVICE,
    advised_against,
    effect_table,
    facts_of,
    is_derived,
    judgement,
)
from core.corrections.methods import cited
from core.markdown import escaped
from core.measures.decimals import figure, interval
from core.measures.measure import EFFECT
from core.measures.registry import MEASURES
from core.models.precision import in_words
from core.storage.audit_manifest import Provenance
from core.storage.files import replacing
from core.tags.called import NAMELESS, Names
from core.types import Preprocess


def write_card(audit: Audit, out: Path, names: Names = NAMELESS) -> Path:
    """Write the card beside an exported model, ``NAME.card.md``; returns its path."""
    path = out.with_name(f"{out.stem}.card.md")
    with replacing(path, ELSEWHERE) as temporary:
        temporary.write_text(card(audit, names), encoding="utf-8")
    return path


def card(audit: Audit, names: Names = NAMELESS) -> str:
    """The card as Markdown; texts from data and people are shown as they are written.

    Parameters
    ----------
    names : what people call the candidates of the audit that this one was made from.
    """
    manifest, summary = audit.manifest, audit.summary
    lines = [
        f"# {escaped(audit.name)}",
        "",
        f"- Model: {escaped(manifest.model.name)}, {audit.head.weight.shape[0]} outputs: "
        + ", ".join(escaped(name) for name in audit.head.outputs[:12])
        + (" …" if len(audit.head.outputs) > 12 else ""),
        f"- Images: {_prepared(audit.preprocess)}; mean "
        f"{_numbers(audit.preprocess.mean)}, std {_numbers(audit.preprocess.std)}. The `.pt2` and "
        "`.onnx` files take RGB values in [0, 1] and normalise them themselves.",
        f"- Data: {escaped(manifest.data.source)}, {summary.readable} images",
        f"- Accuracy: {_share(summary.accuracy)} on {escaped(summary.held_out)}",
    ]
    compute = manifest.compute
    lines.append(f"- Computed on {compute.device} in {escaped(in_words(compute))}.")
    if (precision := compute.precision) != "fp32":
        lines.append(
            f"- The figures were computed in {precision}; the exported files compute in fp32, so "
            "that logits differ by that rounding."
        )
    lines += _done(audit, names) if is_derived(audit) else ["", "Nothing was corrected."]
    return "\n".join([*lines, ""])


def _done(audit: Audit, names: Names) -> list[str]:
    done = facts_of(audit)
    keys = [CandidateKey.parse(cue) for cue in done.cues]
    cues = [f"{key} ({names.of(key)})" if names.of(key) else str(key) for key in keys]
    lines = [
        "",
        "## What was done",
        "",
        f"- Method: {escaped(cited(done.method))}, strength {done.strength:g}"
        + f" ({how_chosen(done)})",
        f"- Made from: {escaped(done.parent_name)} ({done.parent})",
        f"- Cues acted on, tagged spurious by people: {', '.join(map(escaped, cues))}",
        f"- Learnt from {done.learnt_from} training images; with and without the cue told "
        f"apart by {escaped(done.told_apart_by)}",
        f"- The encoder was {'changed' if done.encoder_changed else 'left as it is'}; the "
        f"correction is {'no plain weight' if audit.head.correction else 'in the weights'}",
    ]
    if done.options:
        options = ", ".join(f"{k} = {v}" for k, v in done.options.items())
        lines.append(f"- Options: {escaped(options)}")
    if done.chosen_on and is_given(done):
        lines.append(f"- For the trade-off others were tried by {escaped(done.chosen_on)}")
    elif done.chosen_on:
        lines.append(f"- Strength chosen by {escaped(done.chosen_on)}")
    lines += [f"- {escaped(said)}" for said in (*done.lacking, judgement(done)) if said]
    if advised_against(done):
        lines.append(f"- {ADVICE}")
    table = effect_table(audit)
    there = table["before"].notna() | table["after"].notna()
    lines += [
        "",
        "## What was measured",
        "",
        f"On {escaped(audit.summary.held_out)}; 95 % intervals, each by itself.",
        "",
    ]
    lines += ["| class | measure | before | after | change | n |", "|---|---|---|---|---|---|"]
    lines += [_cells(row) for _, row in table[there].iterrows()]
    lines += ["", *(f"- {m.name}: {m.meaning}" for m in MEASURES.seen_in(EFFECT))]
    lines += ["", "## What was not measured", ""]
    lines += [
        f"- {escaped(row['class_name'] or 'all classes')}, {row['measure']}: {escaped(row['note'])}"
        for _, row in table[~there].iterrows()
    ] or ["- Everything that this card lists was measured."]
    lines.append("- Other data than these images, and cues that nobody tagged.")
    return lines


def how_chosen(done: Provenance) -> str:
    """Where the strength comes from, in a word."""
    if is_given(done):
        return "given"
    return "chosen" if done.chosen_on else "the method's default, not swept"


def is_given(done: Provenance) -> bool:
    """Whether people gave the strength as a number; it may have been tried with others."""
    return not isinstance(done.asked_strength, str)


def _cells(row: pd.Series) -> str:
    name = row["class_name"] or "all classes"
    cells = [escaped(name), row["measure"]]
    for which in ("before", "after", "change"):
        low, high, unit = row[f"{which}_low"], row[f"{which}_high"], row["unit"]
        shown = figure(row[which], unit, low, high), interval(low, high, unit)
        cells.append(" ".join(shown).strip())
    return f"| {' | '.join([*cells, str(row['n'])])} |"


def _prepared(p: Preprocess) -> str:
    """Order of the channels, size, and how images are brought to it."""
    height, width = p.input_size
    cut = f"shorter side to input / {p.crop_pct:g}, cut centrally"
    shape = "both sides to input" if p.crop_mode == "squash" else cut
    words = f"{p.colours.upper()}, {height} x {width}, {p.interpolation}, {shape}"
    if p.levels:
        words += ", more than 8 bits: {:g} is black, {:.7g} white".format(*p.levels)
    return words


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
