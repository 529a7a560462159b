"""Corrected models: the head on stored features, or the network by training."""
