"""Where images come from: every kind of source becomes one table of images."""
