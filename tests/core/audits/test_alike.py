from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.audits.alike import matching, more_like
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.errors import InputError
from core.features.embeddings import Embeddings, embed
from core.models.text_image import TextImageModel
from tests.core.conftest import unmeasured
from tests.core.text_model import save_text_model


@pytest.fixture
def own(tiny_audit: Audit, tmp_path: Path) -> Audit:
    return unmeasured(tiny_audit, tmp_path / "workspace")


def test_more_like_is_the_cosine_of_centred_features(tiny_audit: Audit) -> None:
    ids = tiny_audit.images.index.tolist()
    found = more_like(tiny_audit, ids[:1], 5)
    features = tiny_audit.features(ids).astype(float)
    centred = features - features[1:].mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    slow = unit @ unit[0]
    order = [ids[i] for i in np.argsort(-slow) if i][:5]
    assert found["image_id"].tolist() == order
    np.testing.assert_allclose(found["likeness"], np.sort(slow[1:])[::-1][:5], rtol=1e-6)


def test_images_of_a_class_are_most_like_its_own(tiny_audit: Audit) -> None:
    red = tiny_audit.images.index[tiny_audit.images["label"] == "red"]
    found = more_like(tiny_audit, red[:3].tolist(), 10)
    assert not set(red[:3]) & set(found["image_id"])
    assert (tiny_audit.images.loc[found["image_id"], "label"] == "red").mean() >= 0.8


def test_one_may_look_among_some_alone(tiny_audit: Audit) -> None:
    ids = tiny_audit.images.index.tolist()
    assert set(more_like(tiny_audit, ids[:1], 9, ids[:4])["image_id"]) == set(ids[1:4])
    assert more_like(tiny_audit, ids[:1], 9, ids[:1]).empty


def test_blocks_change_nothing(tiny_audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tiny_audit.images.index.tolist()
    whole = more_like(tiny_audit, ids[:1], 5)
    monkeypatch.setattr("core.audits.alike.BLOCK", 7)
    np.testing.assert_allclose(more_like(tiny_audit, ids[:1], 5)["likeness"], whole["likeness"])


def test_a_text_is_searched_in_embeddings_that_are_kept(
    own: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TextImageModel(save_text_model(tmp_path / "model"))
    found = matching(own, model, "something red", 4)
    ids = own.images.index.tolist()
    slow = model.images([own.image(i) for i in ids]) @ model.texts(["something red"])[0]
    assert found["image_id"].tolist() == [ids[i] for i in np.argsort(-slow)[:4]]
    monkeypatch.setattr(TextImageModel, "images", lambda *_: 1 / 0)
    again = matching(own, model, "something red", 4)
    assert again.equals(found)
    assert not verify(own.folder).damaged
    assert not Embeddings(own.store, model.key).missing
    assert Embeddings(own.store, "another").missing


def test_images_that_are_gone_match_nothing(own: Audit, tmp_path: Path) -> None:
    model = TextImageModel(save_text_model(tmp_path / "model"))
    gone = own.images.index[3]
    others = Path(shutil.copytree(own.root, tmp_path / "images"))
    (others / own.images.loc[gone, "path"]).unlink()
    known = embed(model, others, own.store)
    assert np.isnan(known.of([gone])).all()
    found = matching(own, model, "a text", 99)
    assert gone not in set(found["image_id"])
    assert len(found) == len(own.images) - 1


def test_an_empty_text_is_a_sentence(own: Audit, tmp_path: Path) -> None:
    model = TextImageModel(save_text_model(tmp_path / "model"))
    with pytest.raises(InputError, match="the text to search for is empty"):
        matching(own, model, "  ", 3)
