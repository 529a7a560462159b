"""What can be tagged: components and neurons of a class."""
