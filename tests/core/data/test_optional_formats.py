"""DICOM and HEIC: read rightly where their package is there, else counted and the package named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data import optional_formats as kinds
from core.data.decode import read_image, upright_size
from core.data.levels import levels_of
from core.data.open import open_data
from core.errors import UnreadableImageError

RAMP = np.repeat(np.linspace(0, 4095, 32).astype(np.uint16)[:, None], 48, axis=1)
"""(32, 48) of 12 bits, dark above."""


def dicom(path: Path, values: np.ndarray, **said: Any) -> Path:
    """A file of stored values (h, w) or (h, w, 3) and what it says of them."""
    pydicom = pytest.importorskip("pydicom", reason="pip install 'spurioscope[dicom]'")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    assert pydicom
    deep, colours = values.dtype.itemsize > 1, values.ndim == 3
    facts = {
        **{"SOPClassUID": SecondaryCaptureImageStorage, "Rows": len(values)},
        **{"Columns": values.shape[1], "SamplesPerPixel": 3 if colours else 1},
        **({"PlanarConfiguration": 0} if colours else {}),
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
        **{"BitsAllocated": 16 if deep else 8, "BitsStored": 12 if deep else 8},
        **{"HighBit": 11 if deep else 7, "PixelData": values.tobytes()},
        "PixelRepresentation": int(values.dtype.kind == "i"),
    }
    for name, value in {**facts, **said}.items():
        setattr(file, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def column(path: Path, levels: tuple[float, float] | None = None) -> np.ndarray:
    """Grey levels of the first column."""
    return np.asarray(read_image(path, levels=levels).image)[:, 0, 0].astype(float)


def test_values_without_a_window_get_the_scale_of_the_data_set(tmp_path: Path) -> None:
    path = dicom(tmp_path / "d" / "a" / "1.dcm", RAMP)
    dicom(tmp_path / "d" / "a" / "2.dcm", RAMP // 4)
    table = open_data(str(tmp_path / "d"), workspace=tmp_path)
    assert list(table.frame["path"]) == ["a/1.dcm", "a/2.dcm"]
    levels = levels_of(table)
    assert levels == (0, 4095)
    assert np.abs(column(path, levels) - RAMP[:, 0] / 4095 * 255).max() <= 0.5
    assert column(tmp_path / "d" / "a" / "2.dcm", levels).max() == round(1023 / 4095 * 255)
    assert upright_size(path) == (48, 32)


def test_the_lowest_value_of_monochrome1_is_white(tmp_path: Path) -> None:
    path = dicom(tmp_path / "1.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    shown = column(path, (0, 4095))
    assert shown[0] == 255
    assert shown[-1] == 0
    narrow = {"WindowCenter": 2048, "WindowWidth": 4096, "PhotometricInterpretation": "MONOCHROME1"}
    assert np.abs(column(dicom(tmp_path / "2.dcm", RAMP, **narrow)) - shown).max() <= 1


def test_rescaled_values_and_their_window(tmp_path: Path) -> None:
    """Hounsfield units: the window -100 to 300 is black to white, whatever else is there."""
    said = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    units = RAMP[:, 0].astype(float) - 1024
    path = dicom(tmp_path / "1.dcm", RAMP, WindowCenter=[100, 0], WindowWidth=[400, 1], **said)
    expected = np.clip((units - (100 - 0.5)) / 399 + 0.5, 0, 1) * 255
    assert np.abs(column(path) - expected).max() <= 0.5
    assert read_image(path, levels=(0, 4095)).image.tobytes() == read_image(path).image.tobytes()
    plain = dicom(tmp_path / "2.dcm", RAMP, **said)
    expected = np.clip((units + 1024) / 4095, 0, 1) * 255
    assert np.abs(column(plain, (-1024, 3071)) - expected).max() <= 0.5


def test_colours_and_what_is_no_picture(tmp_path: Path) -> None:
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, :3] = (200, 100, 50)
    found = np.asarray(read_image(dicom(tmp_path / "1.dcm", colours)).image)
    assert np.array_equal(found, colours)
    large = dicom(tmp_path / "2.dcm", RAMP, Rows=60_000, Columns=60_000)
    with pytest.raises(UnreadableImageError, match="3,600,000,000 pixels"):
        read_image(large)
    short = dicom(tmp_path / "3.dcm", RAMP, Rows=640)
    with pytest.raises(UnreadableImageError, match="damaged or of an unsupported kind"):
        read_image(short)


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_upright_once(tmp_path: Path, orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pip install 'spurioscope[heic]'")
    image = Image.new("RGB", (64, 32), "white")
    image.paste("black", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "d" / "a").mkdir(parents=True)
    heif.from_pillow(image).save(tmp_path / "d" / "a" / "1.HEIC", exif=exif.tobytes(), quality=95)
    table = open_data(str(tmp_path / "d"), workspace=tmp_path)
    path = table.root / table.frame["path"].iloc[0]
    found = read_image(path)
    size = (32, 64) if orientation == 6 else (64, 32)
    assert (found.width, found.height) == size == upright_size(path)
    grey = np.asarray(found.image.convert("L")).astype(float)
    dark = grey[:24] if orientation == 6 else grey[:, :24]
    assert dark.mean() < 20
    assert grey.mean() == pytest.approx(127.5, abs=8)


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "is_there", lambda kind: False)
    folder = tmp_path / "d" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    (folder / "2.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    table = open_data(str(tmp_path / "d"), workspace=tmp_path)
    assert "Left out, no image by its ending: 1 .dcm, 1 .heic." in table.notes
    assert any("pip install 'spurioscope[dicom]'. HEIC needs a" in note for note in table.notes)
    with pytest.raises(UnreadableImageError, match=r"it is DICOM: DICOM needs a package: pip"):
        read_image(folder / "2.dcm")
    with pytest.raises(UnreadableImageError, match=r"it is HEIC: HEIC needs a package: pip"):
        read_image(folder / "3.heic")
