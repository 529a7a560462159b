"""Station: encoder, linear head and preprocessing of a classifier, whatever its architecture."""
