"""Overlays of a finished audit: from stored maps, without a model, against captum's Grad-CAM."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import MODEL, Line, fastest, photos

IMAGES = 128
BY_CAPTUM = 8
"""Images that Grad-CAM explains; it takes each alone."""


def run() -> list[Line]:
    """Seconds of a map of the same direction on the same images, both ways."""
    import numpy as np
    import torch

    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.candidates.key import CandidateKey
    from core.candidates.linear_kinds import PCA
    from core.data.preprocess import apply
    from core.explain.attribution import attribute
    from core.explain.grad_cam import grad_cam
    from core.models.trace import exclusive
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        data = photos(Path(folder) / "photos", IMAGES)
        request = AuditRequest(str(data), MODEL, head="fit", precision="fp32")
        audit = run_audit(request, Workspace(Path(folder) / "workspace"))
        ids = audit.images.index.tolist()
        model = audit.load_model()
        seen = [apply(audit.preprocess, audit.image(i)) for i in ids[:BY_CAPTUM]]
        candidate = audit.candidate(CandidateKey(audit.classes[0].label, PCA, 0))
        direction = candidate.slope(audit.features(ids[:1]))[0]

        def by_captum() -> None:
            for one in seen:
                image = model.normalise(torch.from_numpy(np.ascontiguousarray(one))[None])
                with exclusive(model.network):
                    grad_cam(model, image, direction)

        ours = fastest(lambda: audit.heatmaps(candidate, ids), 50) / len(ids)
        theirs = fastest(by_captum, 5) / len(seen)
        maps = np.array(audit.maps(ids))
        flat, weight = maps.reshape(*maps.shape[:2], -1), np.float32(direction)
        product = fastest(lambda: weight @ flat, 50) / len(ids)
        exact = audit.heatmaps(candidate, ids[:BY_CAPTUM])
        approximate = np.stack([attribute(model, one, direction, "grad_cam") for one in seen])
        mean = float(exact.mean()), float(approximate.mean())
    ratio = theirs / ours
    return [
        Line("an overlay from stored maps", 1e3 * ours, "", "ms"),
        Line("the same by captum's Grad-CAM", 1e3 * theirs, "", "ms"),
        Line("stored maps over Grad-CAM", ratio, ">= 100", "x", ratio >= 100),
        Line("a product of as many maps over an overlay", product / ours, "", "x"),
        Line("mean of the maps, ours less Grad-CAM's", mean[0] - mean[1], ""),
    ]
