"""The page Data: a module for each part of it."""
