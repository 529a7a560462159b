"""The page Mitigate."""
