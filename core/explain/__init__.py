"""Where a candidate is in an image: exact heatmaps, gradient methods, pictures."""
