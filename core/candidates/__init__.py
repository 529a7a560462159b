"""What can be tagged, in kinds: components and neurons of a class, and what others add."""
