"""Columns of tables whose figures have no more digits than may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns that say nothing in any row."""
    known = table.replace("", None).notna().any()
    return table.loc[:, known]


def percent(title: str | None = None, decimals: int = 0, **more: Any) -> Any:
    """A column of percent, of values from 0 to 100; whole ones where no interval says otherwise."""
    return st.column_config.NumberColumn(title, format=f"%.{decimals}f %%", **more)


def percent_bar() -> Any:
    """A column of bars from 0 to 100 %, in whole percent."""
    return st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)
