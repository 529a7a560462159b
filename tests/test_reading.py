"""The table "What is read how": every row is a test, and every option in it is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.audits.audit_requests import AuditRequest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| what there is")
]
"""Cells of every row of every table."""

MODELS, DATA = "core/models/test_checkpoint_heads.py", "core/data/test_folder.py"
LOADED, TABLES = "core/models/test_load_checkpoints.py", "core/data/test_manifest.py"
FOLDED = "core/models/test_folded_weights.py"
OPTIONAL = "core/data/test_optional_formats.py"
HEADS, MASKS = "core/audits/test_head_outputs.py", "core/data/test_mask_values.py"

TESTED: dict[str, tuple[str, str]] = {
    "outputs with names": (HEADS, "test_what_a_class_of_that_name_means_is_said"),
    "`class_to_idx`, `classes`": (LOADED, "test_the_classes_of_a_checkpoint_name_its_outputs"),
    "`class_to_idx.json`": (HEADS, "test_a_file_beside_the_images_says_it_too"),
    "labels `0`": (HEADS, "test_an_order_that_fits_better_is_told_and_can_be_asked_for"),
    "any other labels": (HEADS, "test_the_model_is_as_good_as_it_is"),
    "one logit": (MODELS, "test_one_logit_becomes_two_whose_softmax_is_its_sigmoid"),
    "sigmoid outputs": (HEADS, "test_one_output_of_many_against_its_rest"),
    "`module.`": (MODELS, "test_a_head_of_several_layers_gives_its_own_logits"),
    "names that say nothing": (MODELS, "test_tensors_in_order_are_taken_where_names_say_nothing"),
    "`Sequential(Dropout": (LOADED, "test_a_sequential_head_of_torchvision"),
    "a head of several": (MODELS, "test_a_head_of_several_layers_gives_its_own_logits"),
    "two heads that the": (LOADED, "test_the_mean_of_two_heads_is_one_head"),
    "two heads that fit": (MODELS, "test_heads_that_cannot_be_told_apart_are_refused"),
    "raw and averaged": (MODELS, "test_one_of_several_sets_of_weights_can_be_chosen"),
    "a `Namespace`": (MODELS, "test_records_beside_the_weights_are_read"),
    "weights in parts": (FOLDED, "test_they_are_put_together"),
    "`mean` and `std`": (FOLDED, "test_a_plain_mean_and_std_are_a_normalisation"),
    "quantised": (FOLDED, "test_what_has_no_weights_is_refused"),
    "any other Python": (
        "core/models/test_checkpoint.py",
        "test_plain_pickle_with_code_is_refused",
    ),
    "a first layer": (LOADED, "test_a_network_for_grey_images"),
    "positions of": (LOADED, "test_a_transformer_at_another_size"),
    "weights of a Swin": (LOADED, "test_windows_of_attention_at_another_size"),
    "auxiliary heads": (LOADED, "test_auxiliary_heads_of_another_size_are_not_read"),
    "an encoder": (LOADED, "test_an_encoder_without_a_classifier_gets_a_head_to_fit"),
    "a folder that": ("core/models/test_hugging_face.py", "test_it_is_audited_end_to_end"),
    "the file that a": (
        "core/corrections/test_package.py",
        "test_how_images_are_read_survives_the_file",
    ),
    "a pointer": (MODELS, "test_what_only_stands_for_a_checkpoint_is_named"),
    "nothing said": (LOADED, "test_what_is_said_of_preprocessing_is_done"),
    "`transform_input`": (LOADED, "test_preprocessing_inside_the_network_is_done_once"),
    "a mean or std": ("pages/test_new_audit.py", "test_what_an_audit_assumes_is_shown"),
    "`Training`": (DATA, "test_splits_under_other_names"),
    "`0`, `1`, `2` with": (DATA, "test_numbers_that_hold_the_same_classes_are_splits"),
    "`images/`": (DATA, "test_masks_beside_images_are_masks"),
    "two levels": (DATA, "test_two_folders_deep_is_told_and_can_be_chosen"),
    "names that differ in their": (DATA, "test_unicode_forms_are_one_and_spellings_are_told"),
    "names that differ in letter": (DATA, "test_unicode_forms_are_one_and_spellings_are_told"),
    "any ending": (DATA, "test_every_ending_that_the_decoder_reads_is_listed"),
    "`.dcm`": (OPTIONAL, "test_without_the_package_it_is_named"),
    "any other file": (DATA, "test_every_ending_that_the_decoder_reads_is_listed"),
    "`img_filename`": (TABLES, "test_what_was_understood_of_a_table_is_said"),
    "`split` of": (TABLES, "test_tables_as_people_write_them"),
    "semicolons": (TABLES, "test_tables_as_people_write_them"),
    "pictures inside": ("core/data/test_parquet_pictures.py", "test_pictures_inside"),
    "a folder of Parquet": ("core/data/test_parquet_pictures.py", "test_a_folder_of_files"),
    "a DataFrame": ("core/data/test_parquet_pictures.py", "test_a_frame_is_a_manifest"),
    "a column of 0": (
        "core/data/test_several_labels.py",
        "test_one_1_a_row_is_a_label",
    ),
    "several labels an": (
        "core/data/test_several_labels.py",
        "test_one_class_against_its_rest",
    ),
    "one image with": (TABLES, "test_two_labels_of_one_image_are_said"),
    "more than 8": ("core/data/test_levels.py", "test_a_ramp_stays_a_ramp"),
    "a TIFF of colours": (
        "core/data/test_levels.py",
        "test_a_tiff_that_nothing_decodes_is_named",
    ),
    "16-bit colours": (
        "core/data/test_levels.py",
        "test_every_bit_of_a_colour_tiff_counts",
    ),
    "DICOM": (OPTIONAL, "test_rescaled_values_and_their_window"),
    "an image that EXIF": (
        "core/report/test_formats.py",
        "test_a_box_lies_on_its_object_whoever_reads_the_copy",
    ),
    "masks of 1": (MASKS, "test_conventions"),
    "masks of 0": (MASKS, "test_conventions"),
    "masks of class": (MASKS, "test_conventions"),
    "soft or": (MASKS, "test_what_compression_leaves_behind_is_outside"),
    "masks of other": (MASKS, "test_a_mask_of_something_else_is_refused"),
    "boxes none": (MASKS, "test_boxes_as_shares_become_pixels"),
    "boxes by": (TABLES, "test_boxes_of_other_conventions"),
    "masks and boxes": (MASKS, "test_boxes_that_cannot_be_are_told"),
}
"""How a row begins: the file of its test, and the test."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:30])
def test_every_row_is_a_test(row: list[str]) -> None:
    (place,) = (place for start, place in TESTED.items() if row[0].startswith(start))
    file, name = place
    assert f"def {name}" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_no_test_stands_for_a_row_that_is_not_there() -> None:
    assert len(ROWS) == len(TESTED)
    assert [start for start in TESTED if not any(r[0].startswith(start) for r in ROWS)] == []


def test_every_option_is_one() -> None:
    known = set(AuditRequest("d", "m").__dataclass_fields__)
    named = set(re.findall(r"(?<=[ `])--([a-z][a-z-]+)", TEXT))
    assert named
    assert {name.replace("-", "_") for name in named} <= known
