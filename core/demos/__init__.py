"""Data sets that come with the tool, each with a planted or chosen shortcut."""

from core.demos.catalogue import DEMOS, prepare

__all__ = ["DEMOS", "prepare"]
