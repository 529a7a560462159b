"""Plain arrays to numbers with intervals; no file, no model."""
