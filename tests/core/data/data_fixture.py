"""Small files to be listed as data."""

from PIL import Image


def save(path, size=(4, 3), color=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def touch(root, *names):
    """Listing never decodes, so empty files will do."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def rows(table, *columns):
    return list(table.frame[list(columns)].itertuples(index=False, name=None))
