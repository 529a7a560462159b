"""What can be tagged, in kinds: components and neurons of a class, and what others add."""

from core.candidates import linear_kinds as linear_kinds
from core.candidates import part_kind as part_kind
