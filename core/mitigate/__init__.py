"""Making a head right for the right reasons: array mathematics on features, head and tags."""
