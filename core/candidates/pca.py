"""Class-wise neural PCA: which directions make up the variance of a class's logit.

Neuhaus, Augustin, Boreiko, Hein: Spurious Features Everywhere (ICCV 2023), section 3. Plain
arrays in, plain arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.candidates.candidate import functional
from core.types import FloatArray

LARGE = 3072
"""Side of the smaller matrix above which only the leading eigenpairs are computed."""

BOUND = 1e-8
"""Largest error of an eigenpair, relative to the first eigenvalue, of what is not computed again by
the exact solver. It leaves seven digits of an alpha; the truncated one gives 1e-14."""


@dataclass(frozen=True)
class ClassPCA:
    """Principal components of one class's weighted activations psi = w * phi."""

    weight: FloatArray
    """(D,) the class's row of the head."""
    mean: FloatArray
    """(D,) mean of psi over the training images of the class, logit units."""
    basis: FloatArray
    """(D, r) orthonormal eigenvectors u_l as columns, each with sum >= 0, by descending
    eigenvalue."""
    eigenvalues: FloatArray
    """(r,) variances of psi along them, logit units squared, descending."""
    total_variance: float
    """Trace of the covariance: the sum of all eigenvalues, kept or not."""
    bound: float
    """Largest ||C u - lambda u|| / lambda_0: by Weyl's inequality no eigenvalue is further than
    this (relative to the largest) from a true one. About 1e-15 for the exact routes."""

    @property
    def directions(self) -> FloatArray:
        """(r, D) vectors q_l with alpha_l = q_l . phi - offset_l."""
        return functional(self.basis.T, self.weight, self.mean)[0]

    @property
    def offsets(self) -> FloatArray:
        """(r,) the constants of the same identity."""
        return functional(self.basis.T, self.weight, self.mean)[1]


def class_pca(
    features: FloatArray, weight: FloatArray, components: int, *, device: str = "cpu"
) -> ClassPCA:
    """Components of the weighted activations of one class's training images.

    The cheapest exact route by shape: the Gram matrix (n, n) when n < D, else the covariance
    (D, D), in float64, only the wanted eigenpairs; above ``LARGE`` a Lanczos solver converged to
    machine precision, whose error is bounded: beyond ``BOUND`` all is computed again by the exact
    solver. Directions without variance are left out: n images span at most n - 1.

    Parameters
    ----------
    features : (n, D) of the class's training images.
    weight : (D,) row of the head.
    components : largest number of components to keep.
    device : where the matrix products and dense eigenproblems run ("cuda" pays above n = 500).
    """
    centred = np.multiply(features, weight, dtype=np.float64)  # psi; centred in place below
    n, d = centred.shape
    mean = centred.mean(axis=0) if n else np.zeros(d)
    centred -= mean
    total = float(np.einsum("ij,ij->", centred, centred) / max(n - 1, 1))
    kept = min(components, n - 1, d)
    if kept < 1 or total <= 0:
        nothing = np.zeros((d, 0))
        return ClassPCA(np.asarray(weight, np.float64), mean, nothing, np.zeros(0), total, 0.0)
    squares = _squares(centred, device)
    found = _from(centred, *_leading(squares, kept, device), total)
    if found.bound > BOUND and _is_truncated(len(squares), kept, device):
        found = _from(centred, *_exact(squares, kept), total)
    return replace(found, weight=np.asarray(weight, np.float64), mean=mean)


def _from(centred: FloatArray, values: FloatArray, vectors: FloatArray, total: float) -> ClassPCA:
    """Components of centred psi (n, d) from eigenpairs of its squares, with their error."""
    n, d = centred.shape
    values = values / (n - 1)
    solid = values > total * 1e-13
    values, basis = values[solid], vectors[:, solid]
    if n <= d:
        basis = _times(centred, basis, transposed=True) / np.sqrt(values * (n - 1))
    basis = basis * np.where(basis.sum(axis=0) < 0, -1.0, 1.0)
    again = _times(centred, _times(centred, basis), transposed=True) / (n - 1)
    error = np.linalg.norm(again - basis * values, axis=0)
    bound = float(error.max() / values[0]) if len(values) else 0.0
    return ClassPCA(np.zeros(d), np.zeros(d), basis, values, total, bound)


def _squares(centred: FloatArray, device: str) -> FloatArray:
    """X X^T or X^T X, whichever is smaller; on the CPU only the upper triangle is filled.

    Products go through SciPy's BLAS, as the eigenproblem does: NumPy brings a second one, whose
    threads would wait in the way of the first's.
    """
    n, d = centred.shape
    if device.startswith("cuda"):
        import torch

        x = torch.from_numpy(centred).to(device)
        squares: FloatArray = (x @ x.T if n <= d else x.T @ x).cpu().numpy()
        return squares
    from scipy.linalg.blas import dsyrk

    upper: FloatArray = dsyrk(1.0, centred.T, trans=int(n <= d))
    return upper


def _times(x: FloatArray, y: FloatArray, *, transposed: bool = False) -> FloatArray:
    """X Y or X^T Y without a copy of X (n, d)."""
    from scipy.linalg.blas import dgemm

    product: FloatArray = dgemm(1.0, x.T, y, trans_a=int(not transposed))
    return product


def _leading(matrix: FloatArray, kept: int, device: str) -> tuple[FloatArray, FloatArray]:
    """Leading eigenpairs of a symmetric matrix given by its upper triangle, descending."""
    side = len(matrix)
    if device.startswith("cuda"):
        import torch

        values, vectors = torch.linalg.eigh(torch.from_numpy(matrix).to(device), UPLO="U")
        return values.flip(0)[:kept].cpu().numpy(), vectors.flip(1)[:, :kept].cpu().numpy()
    if _is_truncated(side, kept, device):
        return _lanczos(matrix, kept)
    return _exact(matrix, kept)


def _is_truncated(side: int, kept: int, device: str) -> bool:
    """Whether only the leading eigenpairs are looked for, from a start."""
    return side > LARGE and kept * 4 < side and not device.startswith("cuda")


def _exact(matrix: FloatArray, kept: int) -> tuple[FloatArray, FloatArray]:
    """Eigenpairs by LAPACK, which needs no start and always ends."""
    from scipy.linalg import eigh

    wanted = (len(matrix) - kept, len(matrix) - 1)
    values, vectors = eigh(matrix, lower=False, subset_by_index=wanted)
    return values[::-1], vectors[:, ::-1]


def _lanczos(matrix: FloatArray, kept: int) -> tuple[FloatArray, FloatArray]:
    """ARPACK from a fixed start; the exact solver where it does not converge."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    side = len(matrix)
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    start = np.random.default_rng(0).standard_normal(side)
    operator = LinearOperator((side, side), matvec=lambda v: matrix @ v, dtype=np.float64)
    wide = min(side, 3 * kept + 20)
    try:
        values, vectors = eigsh(operator, k=kept, which="LA", v0=start, tol=0, ncv=wide)
    except ArpackNoConvergence:
        return _exact(matrix, kept)
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def match_directions(alpha: FloatArray, psi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions of another model that vary most with the given alphas.

    v_l is proportional to sum_x alpha_l(x) (psi(x) - mean): the direction of largest covariance
    (SpuFix transfer, Neuhaus et al. 2023, section 5). On the source model itself it returns u_l.

    Parameters
    ----------
    alpha : (n, m) alphas of the source model on shared images.
    psi : (n, D) weighted activations of the other model on the same images.

    Returns
    -------
    directions : (m, D) unit vectors; zero where nothing covaries.
    matched : (n, m) alpha of those directions in the other model, its logit units.
    """
    centred = np.asarray(psi, np.float64) - psi.mean(axis=0)
    directions = (np.asarray(alpha, np.float64) - alpha.mean(axis=0)).T @ centred
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, norms, out=np.zeros_like(directions), where=norms > 0)
    return directions, (centred @ directions.T) * directions.sum(axis=1)
