"""What tagged cues cost: spuriosity, gaps, groups, scores; plain arrays in, plain arrays out."""
