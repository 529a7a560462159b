from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.errors import InputError
from core.models.model import Model
from core.trials import crop_words
from core.trials.crop_words import (
    CONFUSED,
    FIRST,
    ask_network,
    confused,
    counted,
    named,
    own_outputs,
    probabilities,
)
from core.trials.crops import box, crops_of, ends, enlarged
from tests.core.conftest import unmeasured
from tests.tiny import SIZE, TinyNet, load_tiny

WORDS = ("red", "tabby", "n02110185", "n02106550", "fence", "grass", "sky", "hand", "snow", "ball")


@pytest.fixture
def own(tiny_audit: Audit, tmp_path: Path) -> Audit:
    return unmeasured(tiny_audit, tmp_path / "workspace")


def strongest(audit: Audit) -> Candidate:
    return audit.candidate(CandidateKey("red", "pca", 0))


def network(outputs: tuple[str, ...] = WORDS) -> Model:
    plain = load_tiny("tiny")
    torch.manual_seed(3)
    return Model("tiny", TinyNet(len(outputs)), plain.preprocess, outputs=outputs)


def test_a_box_holds_the_peak_and_what_hangs_together_with_it() -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[1, 1:4], heat[6, 6] = (1, 2, 1), 1.5
    rows, columns = box(heat, (70, 70))
    assert rows.start <= 15 < rows.stop
    assert columns.start <= 25 < columns.stop
    assert columns.stop <= 60  # the other corner is not in it
    assert rows.stop - rows.start == columns.stop - columns.start


def test_a_box_of_a_small_place_is_a_third_of_the_view_and_inside_it() -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[0, 6] = 1
    rows, columns = box(heat, (66, 66))
    assert (rows.start, columns.stop) == (0, 66)
    assert rows.stop - rows.start == columns.stop - columns.start == 22


def test_a_box_of_a_constant_map_is_the_view() -> None:
    assert box(np.ones((3, 3), np.float32), (30, 40)) == (slice(0, 30), slice(0, 40))


def test_crops_are_cut_at_the_same_places_of_the_other_end(own: Audit) -> None:
    candidate = strongest(own)
    most, least = ends(own, candidate)
    arrays = own.arrays_of("red")
    alpha = dict(zip(arrays.image_ids, arrays.alpha_of(candidate.key), strict=True))
    assert min(alpha[i] for i in most) >= max(alpha[i] for i in least)
    assert not set(most) & set(least)
    crops = crops_of(own, candidate)
    assert len(crops.shown) == len(crops.least) == len(crops.whole) / 2
    assert [a.shape for a in crops.shown] == [b.shape for b in crops.least]
    assert enlarged(crops.shown, (20, 30)).shape == (len(crops.shown), 20, 30, 3)


def test_few_images_have_no_crops(own: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.trials.crops.IMAGES", 3)
    with pytest.raises(InputError, match=r"component 1 of class 'red' has no crops .* 4 are neede"):
        crops_of(own, strongest(own))


def test_images_that_are_gone_are_left_out(own: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import UnreadableImageError
    from core.trials.encoder import Seen

    picture, gone = Seen.picture, ends(own, strongest(own))[0][0]

    def read(self: Seen, image_id: str) -> np.ndarray:
        if image_id == gone:
            raise UnreadableImageError("gone")
        return picture(self, image_id)

    before = len(crops_of(own, strongest(own)).shown)
    monkeypatch.setattr(Seen, "picture", read)
    assert len(crops_of(own, strongest(own)).shown) == before - 1


def test_a_class_and_words_that_share_a_lemma_word_with_it_are_left_out() -> None:
    husky, malamute = "n02110185", "n02110063"
    found = own_outputs([husky, malamute, "n02109961", "fence"], ["husky"])
    assert found.tolist() == [True, False, True, False]  # "Eskimo dog, husky" has the word, too
    assert own_outputs([husky, "fence"], [husky]).tolist() == [True, False]
    assert not own_outputs(["fence"], ["an unknown class"]).any()


def test_the_three_that_it_is_most_confused_with_are_left_out() -> None:
    whole = np.tile([0.4, 0.2, 0.15, 0.14, 0.11], (3, 1))
    found = confused(whole, np.array([1, 0, 0, 0, 0], bool))
    assert found.tolist() == [False, True, True, True, False]
    assert found.sum() == CONFUSED


def test_the_five_most_probable_words_count() -> None:
    scores = np.arange(8.0)[None]
    assert counted(scores, np.arange(8) == 7).tolist() == [[False] * 2 + [True] * 5 + [False]]
    assert counted(np.zeros((2, 3)), np.array([1, 1, 0], bool)).sum() == 2


def test_a_word_is_given_only_where_its_control_does_not_do_as_well() -> None:
    n = 16
    shown, least = np.zeros((n, 3), bool), np.zeros((n, 3), bool)
    shown[:12, 0] = shown[:12, 1] = shown[:2, 2] = True
    least[:11, 1] = True
    assert [
        (one.word, one.figure, one.control) for one in named("network", "abc", shown, least)
    ] == [("a", 0.75, 0.0)]
    assert named("network", "abc", least, least) == ()
    assert len(named("network", "abcdefgh", np.ones((n, 8), bool), np.zeros((n, 8), bool))) == FIRST


def test_probabilities_do_not_depend_on_how_many_crops_there_are(rng: np.random.Generator) -> None:
    crops = list(rng.integers(0, 256, (19, SIZE, SIZE, 3), dtype=np.uint8))
    asked = network()
    whole = probabilities(asked, crops)
    np.testing.assert_allclose(whole.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities(asked, crops[17:]), whole[17:], atol=1e-6)


def test_what_was_asked_is_kept_even_where_it_is_nothing(own: Audit) -> None:
    candidate = strongest(own)
    assert crop_words.crop_words(own, candidate) is None
    first = ask_network(own, candidate, network())
    assert crop_words.crop_words(own, candidate) == first
    assert all(one.word not in ("red",) and one.route == "network" for one in first)
    assert ask_network(own, candidate, network=None) == first  # nobody is asked again
