"""Audits of the same images side by side: figures with differences, carried tags, one image."""
