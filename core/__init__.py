"""Spurioscope: find out which cues an image classifier uses, and which of them are spurious.

One folder per noun; imports go down this list and never up. The ground (``types``, ``errors``,
``config``, ``glossary``, ``markdown``), ``statistics`` and ``storage``; ``data``, ``models`` and
``jobs``; ``demos`` and ``features``; ``candidates``; ``explain``; ``audits``; ``tags``; ``trials``;
``measures``; ``corrections``; ``report``; ``commands``; and ``ui``, the only one that knows
Streamlit.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any other package imports ONNX Runtime

__version__ = "0.1.0"
