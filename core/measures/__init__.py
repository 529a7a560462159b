"""What the tagged cues of an audit cost: one tidy table, and the images behind it."""
