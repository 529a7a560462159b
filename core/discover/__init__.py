"""Candidate features of a class: neural PCA components and single neurons."""
