"""Every constant of a method, each with its source."""

FORMAT = 1
"""Version of the files of an audit; audits of another format are refused."""

SHARD_SIZE = 256
"""Images per shard: what a killed run repeats at most."""

SHARDS = 256
"""Shards of a plan beyond which they are made larger."""

LARGEST_SHARD = 4096
"""Images per shard at most: 1.28 million are 313 folders instead of 5,000, and what a lost worker
repeats is a minute of a processor, a second of a GPU."""

COMPONENTS = 64
"""Components kept per class. Of the 322 published spurious components, 31 % have index 10 or more
and the largest is 49 (Neuhaus et al. 2023, their released labels)."""

NEURONS = 24
"""Single-neuron candidates per class: the union of the best by mean contribution (Singla & Feizi
2022 show five; Moayeri et al. 2023 fifteen) and by the variance of the contribution."""

TOP_IMAGES = 12
"""Images per candidate whose maps are stored with the audit."""

GAP_SIDE = 100
"""Largest number of images on either side of an accuracy gap (k = 100, Moayeri et al. 2023)."""

GAP_SIDE_WANTED = 10
"""Images per side wanted before a third of the class is enough. Chosen by this project: middling
images say little about a cue, and of 50 images two sides of 25 hold all."""

CONFIDENCE = 0.95
"""Level of every interval; gaps are corrected for the number of candidates (Bonferroni)."""

MAP_BUDGET = 4 * 2**30
"""Bytes of pooled-layer maps an audit may keep on disk; beyond it those of a sample are kept, and
the others computed on demand."""

PASTED_BUDGET = 2**30
"""Bytes of features that pasted cues may keep on disk per audit and set of tags; beyond it a
correction encodes the images again."""

PICTURE_BUDGET = 2**29
"""Bytes of drawn pictures that the app may keep on disk per audit; more are drawn again."""

MIRROR_BUDGET = 50 * 2**30
"""Bytes of a workspace in a bucket that may lie in its local folder, unless
``$SPURIOSCOPE_LOCAL_BUDGET`` says how many; more are fetched again."""

GRAPH_BUDGET = 2**30
"""Bytes of exported networks that a user's cache may hold; more are exported again."""

MAX_PIXELS = 200_000_000
"""Images above this many pixels are listed as unreadable, not decoded."""
