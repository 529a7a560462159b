"""Figures with their intervals: what the tagged cues cost, in one model and in several."""
