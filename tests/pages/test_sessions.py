"""Many sessions at once on one network: everybody gets what is theirs, byte for byte."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.audits.audit import Audit
from core.audits.explained import explain
from core.candidates.linear_kinds import PCA
from core.errors import UnreadableImageError, WorkspaceError
from core.explain.attribution import ATTRIBUTIONS, attribute, method_of
from core.explain.explainer import Explanation
from core.models.load import load_model
from core.models.model import Model
from core.storage.files import read_array, read_json, write_json
from core.trials.encoder import features_of
from core.ui.frame import drawn, opened, pictures
from tests.pages.conftest import SIDE

THREADS = 8
Request = Callable[[Model], np.ndarray]


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def slopes(model: Model, pixels: np.ndarray) -> np.ndarray:
    images = model.normalise(torch.from_numpy(pixels)[None]).requires_grad_()
    (found,) = torch.autograd.grad(model.features_of(images).sum(), images)
    return found.numpy()


def gradient_layer(model: Model, pixels: np.ndarray) -> np.ndarray:
    seen = model.cam_tensor(model.normalise(torch.from_numpy(pixels)[None]))
    return seen.tensor.detach().numpy()


def requests(audit: Audit) -> list[Request]:
    """Every way to run the network, each for pictures of its own."""
    direction = opened.class_arrays(audit, 0).candidate(PCA, 0).direction
    found: list[Request] = []
    for seed in range(THREADS):
        pixels = picture(seed)
        batch = torch.from_numpy(pixels)[None]
        found += [
            lambda model, b=batch: model.encode(b).features.numpy(),
            lambda model, b=batch: model.encode(b).maps.numpy(),
            lambda model, p=pixels: slopes(model, p),
            lambda model, p=pixels: gradient_layer(model, p),
            lambda model, p=pixels: features_of(audit, model, [p]),
        ]
        found += [
            lambda model, p=pixels, m=method: attribute(model, p, direction, m)
            for method in ATTRIBUTIONS
        ]
    return found


def test_eight_threads_get_what_each_gets_alone(workspace: object, audit: Audit) -> None:
    model = load_model("tiny:page-0")
    asked = requests(audit)
    alone = [request(model).tobytes() for request in asked]
    starting = threading.Barrier(THREADS)

    def session(number: int) -> list[tuple[int, bytes]]:
        starting.wait()
        order = np.random.default_rng(number).permutation(len(asked))
        return [(int(i), asked[i](model).tobytes()) for i in order]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for part in pool.map(session, range(THREADS)) for answer in part]
    assert len(answers) == THREADS * len(asked)
    assert [i for i, content in answers if content != alone[i]] == []


def test_pictures_uploaded_at_once_keep_their_own_features(audit: Audit) -> None:
    contents = [png(picture(seed)) for seed in range(24)]
    shared = opened.open_audit(audit.id)
    with ThreadPoolExecutor(THREADS) as pool:
        ids = list(pool.map(lambda c: shared.upload(c, opened.model_of(shared)), contents * 2))
    model = audit.load_model()
    for image_id, content in zip(ids, contents * 2, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        features = model.encode(torch.from_numpy(pixels.copy())[None]).features.numpy()
        np.testing.assert_array_equal(shared.features([image_id]), features)


@pytest.mark.parametrize("method", list(ATTRIBUTIONS))
def test_maps_asked_for_at_once_are_those_drawn_alone(audit: Audit, method: str) -> None:
    shared, model = opened.open_audit(audit.id), load_model("tiny:page-0")
    key = opened.class_arrays(shared, 0).candidate(PCA, 0).key
    ids = list(shared.images.index[:16])
    question = pictures.method_asked(method_of(method), key.label, key)
    params, name = {"v": "1"}, f"{audit.id}/0/pca/{key.number}/{method}"

    def asked(image_id: str) -> bytes | None:
        ((_, said),) = explain(shared, question, [image_id], model)
        assert isinstance(said, Explanation)
        return pictures.render("attribution", f"{name}/{image_id}.png", params)

    assert pictures.render("attribution", f"{name}/{ids[0]}.png", params) is None  # not explained
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(asked, ids))
    shutil.rmtree(audit.files.pictures)
    shutil.rmtree(audit.files.explained)
    assert all(together)
    assert together == [asked(image_id) for image_id in ids]


def test_approximate_maps_asked_for_at_once(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Audit, "exact_maps", False)
    candidate = audit.class_arrays(0).candidate(PCA, 0)
    ids, model = list(audit.images.index[:16]), audit.load_model()
    alone = audit.heatmaps(candidate, ids, model)
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda i: audit.heatmaps(candidate, [i], model)[0], ids))
    np.testing.assert_array_equal(np.stack(together), alone)


def test_an_upload_of_an_earlier_version_is_computed_anew(audit: Audit) -> None:
    content = png(picture(1))
    image_id = audit.upload(content, audit.load_model())
    right = audit.features([image_id])
    folder = audit.folder / "uploads" / image_id
    np.save(folder / "features.npy", right + 1)  # somebody else's
    (folder / "upload.json").unlink()
    np.testing.assert_array_equal(audit.features([image_id]), right)
    np.testing.assert_array_equal(read_array(folder / "features.npy"), right)
    assert read_json(folder / "upload.json")["version"] == 2


def test_a_presentation_does_not_believe_an_old_upload(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = audit.upload(png(picture(1)), audit.load_model())
    write_json(audit.folder / "uploads" / image_id / "upload.json", {"version": 1})
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    with pytest.raises(WorkspaceError, match="lacks 1 image;"):
        audit.features([image_id])


def test_an_upload_without_finite_features_is_refused(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = audit.load_model()
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(UnreadableImageError, match="features are not finite"):
        audit.upload(png(picture(1)), model)
    assert not list((audit.folder / "uploads").glob("up*"))


def test_pictures_of_an_earlier_version_are_drawn_anew(audit: Audit) -> None:
    url = pictures.attribution_url(
        opened.open_audit(audit.id), audit.class_arrays(0).candidate(PCA, 0), "x", "occlusion"
    )
    assert url.endswith(f"-{pictures.DRAWN}")


def test_drawn_pictures_keep_below_their_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "PICTURE_BUDGET", 10_000)
    for number in range(100):
        key = f"{number:016x}"
        assert drawn.drawn(tmp_path, key, lambda: b"x" * 500) == b"x" * 500
        drawn.drawn(tmp_path, f"{0:016x}", lambda: b"x" * 500)  # looked at all the time
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= 10_500
    assert f"{0:016x}" in {path.name for path in kept}


def test_a_picture_is_shown_where_none_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert drawn.drawn(tmp_path / "file", "0" * 16, lambda: b"drawn") == b"drawn"
