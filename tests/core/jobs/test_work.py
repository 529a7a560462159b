"""Orders: what a file in a folder of an audit may ask another process for."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.jobs.work import WORKS, Order


def test_a_file_never_says_what_code_is_run(tmp_path: Path) -> None:
    assert list(WORKS) == ["shards"]
    order = Order("os:system", {}, 1, "0")
    with pytest.raises(InputError, match="no work 'os:system'; choose shards"):
        order.work(tmp_path)
