"""What is chosen in a view stands in its address, and is chosen again where that is opened."""

from __future__ import annotations

import pytest

from core.audits.audit import Audit
from core.storage.workspace import Workspace
from tests.pages.conftest import Open, address, healthy

VIEWS = {
    "pictures": ("components", "Components of a class", {"looks": "1", "drawn_by": "fourier"}),
    "ensemble": ("measures", "Measures", {"view": "calibration", "with": "second"}),
    "anomaly": ("measures", "Measures", {"view": "ood", "set": "snow=1"}),
}


@pytest.mark.parametrize("view", VIEWS)
def test_an_address_restores_a_view(
    view: str, audit: Audit, workspace: Workspace, opened: Open
) -> None:
    page, title, chosen = VIEWS[view]
    if "with" in chosen:
        chosen = {**chosen, "with": Audit.open(workspace, chosen["with"]).id}
    app = healthy(opened(page, audit=audit.id, **chosen), title)
    assert chosen.items() <= address(app).items()
    shown = {w.key: w.value for w in (*app.get("button_group"), *app.multiselect, *app.selectbox)}
    for name in set(chosen) - {"looks"}:
        value = shown[f"w_{name}"]
        assert (value if isinstance(value, str) else ",".join(value)) == chosen[name]
