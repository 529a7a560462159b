"""Spurioscope: find out which cues an image classifier uses, and which of them are spurious.

The folders are the stations an image passes, in order: ``data``, ``models``, ``features``,
``discover``, ``explain``, ``annotate``. ``audit`` runs them end to end, ``store`` lies underneath
all of them, and ``ui`` is the only one that knows Streamlit.
"""

__version__ = "0.1.0"
