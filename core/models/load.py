"""Models by name: an architecture of a source, its weights, and its head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CheckpointError, ModelError
from core.models.architecture import Architecture, architecture_of
from core.models.device import reuse_memory
from core.models.input_size import at_size, size_of
from core.models.overrides import as_asked
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.models.checkpoint import CheckpointFit
    from core.models.linear import Correction
    from core.models.model import Model
    from core.models.weights import Facts
    from core.storage.audit_manifest import Reading


def load_model(
    name: str,
    *,
    checkpoint: Path | None = None,
    num_outputs: int | None = None,
    reading: Reading | None = None,
) -> Model:
    """Encoder, linear head and preprocessing of a classifier, on the CPU in fp32.

    Parameters
    ----------
    name : ``timm:NAME``, ``torchvision:NAME``, ``packaged:efficientnet-lite0|1|2`` or what another
        source of models knows (:data:`core.models.architecture.MODEL_SOURCES`). Without a
        checkpoint the first two mean pretrained weights, downloaded where they are not cached.
    checkpoint : weights for the architecture ``name``; then nothing is downloaded.
    num_outputs : K. Where the weights have another number the head is new and untrained
        (``head_trained`` is False).
    reading : what the user said of preprocessing, outputs, and which weights of the checkpoint.

    Raises
    ------
    ModelError
        If the name is unknown, its package is missing, it has no linear head, its weights cannot
        be downloaded, or ``num_outputs`` is below 1.
    CheckpointError
        If the checkpoint is unsafe, damaged, or belongs to another architecture.
    """
    if num_outputs is not None and num_outputs < 1:
        raise ModelError(f"{name} cannot have {num_outputs} outputs: give a number above 0.")
    reuse_memory()
    model = _loaded(name, checkpoint, num_outputs, reading)
    if reading is not None and reading.outputs:
        model.name_outputs(reading.outputs)
    return model


def _loaded(
    name: str, checkpoint: Path | None, num_outputs: int | None, reading: Reading | None
) -> Model:
    from core.models.trace import heads_of

    parts = architecture_of(name, pretrained=checkpoint is None, num_outputs=num_outputs)
    parts = replace(parts, reading=reading)
    if checkpoint is not None:
        return _from_checkpoint(name, parts, checkpoint, num_outputs)
    if reading is not None and reading.input_size not in ((), parts.preprocess.input_size):
        parts = at_size(
            name, parts, (reading.input_size[0], reading.input_size[1]), None, reading.windows
        )
    try:
        return _with_own_weights(name, parts, num_outputs)
    except ModelError:
        heads = heads_of(parts.network, parts.preprocess.input_size)
        return _with_own_weights(name, _joined(parts, heads), num_outputs)


def _with_own_weights(name: str, parts: Architecture, num_outputs: int | None) -> Model:
    if parts.headless or (num_outputs is not None and num_outputs != _rows(parts)):
        return _with_new_head(name, parts, num_outputs or 2)
    return _model(name, parts, parts.outputs)


def _joined(parts: Architecture, heads: tuple[str, ...]) -> Architecture:
    """With one head in place of several that the network averages."""
    from core.models.joined_heads import JoinedHeads

    if len(heads) < 2:
        return parts
    note = f"The mean of its heads ({', '.join(heads)}) is read as one head on the features of all."
    network = JoinedHeads(parts.network, heads).eval()
    return replace(parts, network=network, notes=(*parts.notes, note))


def _model(
    name: str,
    parts: Architecture,
    outputs: Sequence[str] | None,
    *,
    head_trained: bool = True,
    notes: Sequence[str] = (),
    correction: Correction | None = None,
) -> Model:
    from core.models.head import short_names
    from core.models.model import Model

    return Model(
        name,
        parts.network,
        as_asked(parts.preprocess, parts.reading),
        outputs=outputs,
        output_names=short_names(outputs) if outputs else None,
        head_trained=head_trained,
        notes=(*parts.notes, *notes),
        correction=correction,
    )


def _rows(parts: Architecture) -> int:
    from core.models.trace import find_head

    head = find_head(parts.network, parts.preprocess.input_size)
    return int(parts.network.state_dict()[f"{head}.weight"].shape[0])


def _with_new_head(name: str, parts: Architecture, rows: int) -> Model:
    from core.models.trace import find_head, resize_head

    resize_head(parts.network, find_head(parts.network, parts.preprocess.input_size), rows)
    note = f"The head has {rows} new outputs with random weights: fit it first."
    return _model(name, parts, None, head_trained=False, notes=(note,))


def _from_checkpoint(name: str, parts: Architecture, path: Path, num_outputs: int | None) -> Model:
    from core.models.checkpoint import check_correction, fit_checkpoint, take_correction
    from core.models.idle import idle_tensors
    from core.models.joined_heads import HEAD, fit_rows, own_head
    from core.models.trace import heads_of
    from core.models.weights import read_contents

    contents, source = read_contents(path, weights=_entry(parts.reading)), str(path)
    state, facts = dict(contents.tensors), contents.facts
    parts = _at_its_size(name, parts, state, contents.training)
    network, size = parts.network, parts.preprocess.input_size
    heads = heads_of(network, size)
    joined: dict[str, Tensor] = {}
    if len(heads) > 1:
        fit_rows(network, heads, state)
        joined = own_head(state, sum(_head_width(network, each) for each in heads))
    correction = take_correction(state, source, network.state_dict())
    fit = fit_checkpoint(
        state,
        network,
        head=heads[0],
        num_outputs=num_outputs,
        source=source,
        unused=lambda missing, wrong: idle_tensors(network, size),
        versions=contents.versions,
    )
    if not fit.head_loaded and (facts or correction):
        raise CheckpointError(
            f"{path} is a corrected model without its head: export the corrected model again."
        )
    if len(heads) > 1:
        parts = _joined(parts, heads)
        parts.network.load_state_dict(joined, strict=False)
        weight = parts.network.get_parameter(f"{HEAD}.weight")
    else:
        weight = network.get_submodule(fit.head).get_parameter("weight")
    check_correction(correction, facts, weight, source)
    notes = [*contents.notes, *fit.notes, *_header_notes(name, facts, correction)]
    outputs = facts.outputs if facts else _named(contents.outputs, fit)
    if outputs is None and (outputs := _checkpoint_outputs(parts, fit)):
        notes.append(f"The checkpoint's {len(outputs)} outputs are taken to be ImageNet's.")
    said = as_asked(parts.preprocess, contents.training)
    parts = replace(parts, preprocess=_normalising_as(facts or fit, said))
    try:
        return _model(
            name, parts, outputs, head_trained=fit.head_loaded, notes=notes, correction=correction
        )
    except ModelError as error:
        raise CheckpointError(f"{path} does not work as {name}: {error}") from error


def _head_width(network: nn.Module, head: str) -> int:
    return int(network.get_submodule(head).get_parameter("weight").shape[1])


def _entry(reading: Reading | None) -> str:
    """Which weights of a file the user asked for; empty for none in particular."""
    return reading.weights if reading else ""


def _at_its_size(
    name: str, parts: Architecture, state: Mapping[str, Tensor], training: Reading | None
) -> Architecture:
    """At the size of image that was asked for, or that a file's positions, or records, say."""
    asked = parts.reading.input_size if parts.reading else ()
    found = None if asked else size_of(parts.network, state)
    wanted = asked or found or (training.input_size if training else ())
    if not wanted or wanted == parts.preprocess.input_size:
        return parts
    height, width = wanted
    note = f"The checkpoint's positions are of images of {height} x {width} pixels."
    parts = replace(parts, notes=(*parts.notes, *((note,) if found else ())))
    said = [reading.windows for reading in (parts.reading, training) if reading]
    return at_size(name, parts, (height, width), state, next(filter(None, said), ""))


def _named(outputs: tuple[str, ...], fit: CheckpointFit) -> tuple[str, ...] | None:
    """What a file's own list of classes says, where it has as many as its head outputs."""
    return outputs if outputs and fit.head_loaded and len(outputs) == fit.n_outputs else None


def _normalising_as(source: Facts | CheckpointFit, preprocess: Preprocess) -> Preprocess:
    """With the mean and std of a file where it has them."""
    if source.mean is None or source.std is None:
        return preprocess
    return replace(preprocess, mean=source.mean, std=source.std)


def _header_notes(name: str, facts: Facts | None, correction: Correction | None) -> Iterator[str]:
    """What the header of a corrected model leaves open."""
    if facts is None and correction is not None:
        yield (
            f"The checkpoint has lost its header: its correction of {len(correction.read)} rows is "
            "applied, with the mean and std of the architecture; what its outputs mean is unknown."
        )
    if facts is not None and facts.model not in ("", name):
        yield f"The checkpoint was exported from {facts.model}."


def _checkpoint_outputs(parts: Architecture, fit: CheckpointFit) -> tuple[str, ...] | None:
    """The architecture's own classes, if the checkpoint's head has as many outputs."""
    known = parts.outputs
    return known if known and fit.head_loaded and len(known) == fit.n_outputs else None
