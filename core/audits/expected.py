"""What an audit will assume of a network, said before it is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.audits.head_outputs import narrowed
from core.audits.run import choose_head
from core.models.overrides import in_words

if TYPE_CHECKING:
    from core.audits.audit_requests import AuditRequest
    from core.types import ImageTable


def is_at_hand(request: AuditRequest) -> bool:
    """Whether the network can be loaded without a download."""
    return request.checkpoint is not None or request.model.startswith("packaged:")


def assumptions(request: AuditRequest, table: ImageTable) -> Iterator[str]:
    """Head, preprocessing and what loading the network had to assume, a sentence each.

    Raises
    ------
    SpurioscopeError
        If the audit could not be started: the network cannot be loaded, or has no such head.
    """
    from core.models.load import load_model

    reading = request.reading
    model = load_model(request.model, checkpoint=request.checkpoint, reading=reading)
    said = narrowed(table, model, reading)
    head, reason = choose_head(request.head, table, model, reading, said)
    kept = {"keep": "The network's own head is kept", "fit": "A linear probe is fitted"}[head]
    yield f"{kept}: {reason.rstrip('.')}."
    yield f"The network sees every image as {in_words(model.preprocess)}."
    yield from model.notes
