"""Every attribution as a method of the command ``explain``."""

from __future__ import annotations

from core.explain.attribution import ATTRIBUTIONS, as_explainer
from core.explain.explainer import Explainer


def _own(name: str) -> Explainer:
    return as_explainer(ATTRIBUTIONS[name])


EXACT, GRAD_CAM, IG, OCCLUSION, LRP = map(
    _own, ("exact", "grad_cam", "integrated_gradients", "occlusion", "lrp")
)
INPUT_X_GRADIENT, GRADIENT_SHAP, SALIENCY = map(
    _own, ("input_x_gradient", "gradient_shap", "saliency")
)
GUIDED, MASK = map(_own, ("guided_backpropagation", "learned_mask"))
