"""What a model leans on by construction: a red patch on drawn images, against what was planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.measure import Line
from benchmarks.whitebox import encode, render

N = 900
NOTED = {"cue": {4: 0.65, 8: 0.92}, "label": {4: 0.52, 8: 0.80}, "drawn": {4: 0.02, 8: 0.0}}
"""Agreement scores of a sticker on photos, as the project's method notes have them."""


def learnt() -> Iterator[Line]:
    """How easily a patch is learnt beside its class, on stored features."""
    from core.statistics.learnability import SIZES, agreement_scores

    images, labels, shown = render(N, 0.5, 3)
    features, mine = encode(images), labels == 0
    rng, patch = np.random.default_rng(0), (features[mine], shown[mine])
    scores = {"cue": agreement_scores(*patch), "label": agreement_scores(features, mine)}
    drawn = [
        agreement_scores(patch[0], rng.permutation(patch[1]), repeats=1, seed=i) for i in range(40)
    ]
    scores["drawn"] = np.concatenate(drawn, axis=1)
    for name, of_name in scores.items():
        found = of_name.mean(axis=1)
        for size, value in zip(SIZES[:3], found, strict=False):
            noted = NOTED[name].get(size)
            target = "" if noted is None else f"method notes, on photos: {noted:.2f}"
            yield Line(f"agreement score of the {name}, {size} images", float(value), target)


def priors() -> Iterator[Line]:
    """Colours are planted: shuffled patches have them, edges have not."""
    from core.models.head import fit_probe
    from core.trials.priors import edges, shuffled

    views: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
        "whole images": lambda pixels, name: pixels,
        "edges": lambda pixels, name: edges(pixels),
        "shuffled patches": shuffled,
    }
    images, labels, _ = render(N, 0.5, 3)
    pixels = np.rint(255 * images.transpose(0, 2, 3, 1)).astype(np.uint8)
    fitted = np.arange(N) < N // 2
    for name, view in views.items():
        seen = np.stack([view(one, str(place)) for place, one in enumerate(pixels)])
        x = encode((seen.transpose(0, 3, 1, 2) / 255).astype(np.float32))
        probe = fit_probe(x[fitted], labels[fitted], 3)
        right = (x[~fitted] @ probe.weight.T + probe.bias).argmax(axis=1) == labels[~fitted]
        target = "chance: 0.33" if name == "edges" else ""
        yield Line(f"head on {name}: accuracy", float(right.mean()), target)


def patches() -> Iterator[Line]:
    """The strongest patch that gradients find, beside a random one and the planted one."""
    import torch

    from benchmarks.students import trained
    from core.models.model import Model
    from core.trials.universal import changed, control_of, learn
    from core.types import Preprocess, silent

    images, labels, _ = render(2400, 0.9, 7)
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()
    network = trained(torch.from_numpy(images), targets, 32)
    model = Model("drawn", network, Preprocess((32, 32), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3))
    (plain, truth, _), (shown, _, _) = (render(N, 0.9, 2, patched=p) for p in (False, True))
    others = truth != 0
    plain, shown = (
        np.rint(255 * part[others].transpose(0, 2, 3, 1)).astype(np.uint8)
        for part in (plain, shown)
    )
    patch = learn(model, list(plain[:128]), 0, "patch", report=silent)
    random = control_of(patch, "patch")
    given = {
        "the strongest patch": [changed(p, patch, "patch", str(i)) for i, p in enumerate(plain)],
        "a random patch": [changed(p, random, "patch", str(i)) for i, p in enumerate(plain)],
        "the planted patch": list(shown),
    }
    asked = slice(128, None)
    before = _outputs(network, plain[asked])
    for name, pictures in given.items():
        after = _outputs(network, np.stack(pictures)[asked])
        turned = float(((after == 0) & (before != 0)).mean())
        yield Line(f"turned by {name}", turned, "")


def _outputs(network: Callable[[object], object], pixels: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        shown = torch.from_numpy((pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32))
        found: np.ndarray = network(shown).argmax(1).numpy()  # type: ignore[attr-defined]
    return found


PARTS = (learnt, priors, patches)
