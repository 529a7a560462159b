from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InputError, ModelError
from core.models.text_image import TextImageModel, require_complete
from core.storage.guard import CONFINED
from tests.core.text_model import save_text_model, write_config


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (50, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_vectors_are_of_length_one_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model = TextImageModel(save_text_model(tmp_path))
    images = [picture((10 * i, 0, 255 - 10 * i), (30 + i, 40)) for i in range(19)]
    found = model.images(images)
    assert found.shape == (19, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.images(images[17:]), found[17:], atol=1e-5)
    words = model.texts(["snow", "a beach ball", ""])
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, rtol=1e-5)
    assert model.texts([]).size == 0


def test_it_is_what_open_clip_says(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path)
    import open_clip

    model = TextImageModel(folder)
    network, _, see = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.no_grad():
        whole = network.eval().encode_image(see(picture((200, 30, 30)))[None])[0]
        said = network.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["snow"]))[0]
    (mine,), (words,) = model.images([picture((200, 30, 30))]), model.texts(["snow"])
    np.testing.assert_allclose(mine, whole / whole.norm(), atol=1e-5)
    np.testing.assert_allclose(words, said / said.norm(), atol=1e-5)


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_text_model(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    TextImageModel(folder).texts(["snow"])


def test_the_key_changes_with_the_weights(tmp_path: Path) -> None:
    one, other = (TextImageModel(save_text_model(tmp_path / str(i), i)) for i in (0, 1))
    assert one.key == TextImageModel(tmp_path / "0").key != other.key


def test_incomplete_folders_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder; give a folder as open_clip"):
        require_complete(tmp_path / "none")
    with pytest.raises(ModelError, match=r"has no open_clip_config\.json"):
        require_complete(tmp_path)
    config = write_config(tmp_path)
    with pytest.raises(ModelError, match="holds no weights"):
        require_complete(tmp_path)
    (tmp_path / "open_clip_model.safetensors").touch()
    for odd in ("no json", "[]", "{}", json.dumps({"model_cfg": {"text_cfg": 1}})):
        config.write_text(odd)
        with pytest.raises(ModelError, match="names no architecture of open_clip"):
            require_complete(tmp_path)
    odd = json.dumps({"model_cfg": {"text_cfg": 1, "vision_cfg": 2}})
    config.write_text(odd)
    with pytest.raises(ModelError, match="names no architecture of open_clip"):
        require_complete(tmp_path)


def test_a_folder_that_wants_something_from_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open_clip_model.safetensors").touch()
    write_config(tmp_path, text_cfg={"hf_model_name": "roberta-base"})
    with pytest.raises(ModelError, match="builds its text part from a model that the folder"):
        require_complete(tmp_path)
    write_config(tmp_path, vision_cfg={"timm_model_name": "hf-hub:timm/x"})
    with pytest.raises(ModelError, match="builds its image part .* nothing is fetched"):
        require_complete(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "other", "pickle", "odd"])
def test_weights_that_do_not_fit_are_a_sentence(tmp_path: Path, damage: str) -> None:
    folder = save_text_model(tmp_path)
    weights = folder / "open_clip_model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "other":
        write_config(folder, embed_dim=24)
    elif damage == "pickle":
        import pickle

        weights.unlink()
        (folder / "model.pth").write_bytes(pickle.dumps({"a": Path}))
    else:
        write_config(folder, vision_cfg={"image_size": 32, "depth": 1})
    with pytest.raises(ModelError, match="is not the model that its open_clip_config.json desc"):
        TextImageModel(folder)


def test_a_missing_library_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    write_config(tmp_path)
    (tmp_path / "open_clip_model.safetensors").touch()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModelError, match="not installed: pip install open_clip_torch"):
        TextImageModel(tmp_path)


def test_a_confined_process_reads_only_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFINED, str(tmp_path / "data"))
    with pytest.raises(InputError, match="reads only below the folders named at its start"):
        TextImageModel(tmp_path)
