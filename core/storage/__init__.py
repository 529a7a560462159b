"""Files of ours, complete or not at all, with digests; who may name and do what."""
