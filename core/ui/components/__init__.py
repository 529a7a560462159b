"""The page Components, and what others show of it."""
