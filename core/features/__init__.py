"""One pass over the images: features and maps, sharded and resumable."""
