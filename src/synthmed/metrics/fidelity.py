"""How close a set of generated images lies to the real ones: Fréchet distance, kernel distance, inception score.

All take features (float, one row an image) of a fixed extractor; all are computed in float64.
"""

from collections.abc import Sequence

import numpy as np

from synthmed.core.errors import InputError


def _check_pair(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise InputError(f"features must be (N, D) with equal D, not {real.shape} and {fake.shape}; use one extractor")
    if min(len(real), len(fake)) < 2:
        raise InputError(f"a distance needs at least 2 images on each side; real has {len(real)}, fake {len(fake)}")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise InputError("the features contain NaN or infinity; compute them again")
    return real, fake


def _factors(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """K = L·Bᵀ whose singular values are those of Σ_r^½ Σ_f^½, with the smaller Gram matrix K Kᵀ; see frechet_distance.

    Σ_r = Lᵀ L with L the centred features A themselves when there are not more images than dimensions (the second value
    is None, for the identity), or else the triangle of their QR decomposition (the second value is Q); B = centred
    fakes. A, the third value, and B are divided by √(N − 1).
    """
    a = (real - real.mean(axis=0)) / np.sqrt(len(real) - 1)
    b = (fake - fake.mean(axis=0)) / np.sqrt(len(fake) - 1)
    if len(a) <= a.shape[1]:
        return a @ b.T, None, a
    q, triangle = np.linalg.qr(a)
    return triangle @ b.T, q, a


def _means_and_traces(real: np.ndarray, fake: np.ndarray) -> float:
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return float(shift @ shift + real.var(axis=0, ddof=1).sum() + fake.var(axis=0, ddof=1).sum())


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (FID when they are Inception's), ≥ 0.

    real (N, D), fake (M, D). |μr − μf|² + tr Σr + tr Σf − 2 tr (Σr Σf)^½ (Heusel et al. 2017, eq. 6; covariances with
    N − 1). With Σr = AᵀA and Σf = BᵀB the last trace is the sum of the singular values of A Bᵀ, which is taken from the
    symmetric eigenvalues of the smaller of (A Bᵀ)(A Bᵀ)ᵀ and its D × D counterpart: no matrix square root, nothing
    complex, nothing singular, however few images there are. Raises InputError below 2 images a side.
    """
    real, fake = _check_pair(real, fake)
    if len(fake) < len(real):  # symmetric in its arguments: the smaller set gives the smaller eigenproblem
        real, fake = fake, real
    k, _, _ = _factors(real, fake)
    eigenvalues = np.linalg.eigvalsh(k @ k.T)
    return max(0.0, _means_and_traces(real, fake) - 2 * float(np.sqrt(np.clip(eigenvalues, 0, None)).sum()))


def frechet_influence(real: np.ndarray, fake: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The Fréchet distance and the influence of every image on it: value, (N,), (M,).

    Influence i is the derivative by the weight of image i, times N (see resampling.linearised_deviations). The
    derivative of the sum of singular values of K = U S Vᵀ by a weight on row i is ½ (U S Uᵀ)ᵢᵢ, by one on column j
    ½ (V S Vᵀ)ⱼⱼ.
    """
    real, fake = _check_pair(real, fake)
    if len(fake) < len(real):
        value, influence_fake, influence_real = frechet_influence(fake, real)
        return value, influence_real, influence_fake
    k, q, a = _factors(real, fake)
    eigenvalues, u = np.linalg.eigh(k @ k.T)
    singular = np.sqrt(np.clip(eigenvalues, 0, None))
    left = u if q is None else q @ u
    rows = (left**2) @ singular
    kept = singular > 1e-7 * max(singular[-1], np.finfo(np.float64).tiny)  # below that, sqrt of rounding errors
    columns = ((k.T @ u[:, kept]) ** 2) @ (1 / singular[kept])
    shift = real.mean(axis=0) - fake.mean(axis=0)
    b = (fake - fake.mean(axis=0)) / np.sqrt(len(fake) - 1)
    n, m = len(real), len(fake)
    influence_real = 2 * np.sqrt(n - 1) * (a @ shift) + n * ((a**2).sum(axis=1) - rows)
    influence_fake = -2 * np.sqrt(m - 1) * (b @ shift) + m * ((b**2).sum(axis=1) - columns)
    value = max(0.0, _means_and_traces(real, fake) - 2 * float(singular.sum()))
    return value, influence_real - influence_real.mean(), influence_fake - influence_fake.mean()


def frechet_bias_curve(
    real: np.ndarray, fake: np.ndarray, sizes: Sequence[int], rng: np.random.Generator
) -> list[tuple[int, float]]:
    """Fréchet distance of random subsets of `n` real and `n` fake images for every n of `sizes`: [(n, distance), …].

    Subsets are drawn without replacement. Few images bias the distance upward by about a constant over n; the curve
    shows how far from its end this pair of sets is. Raises InputError when a size exceeds a set or is below 2.
    """
    real, fake = _check_pair(real, fake)
    if not sizes or min(sizes) < 2 or max(sizes) > min(len(real), len(fake)):
        raise InputError(
            f"subset sizes {list(sizes)} must lie between 2 and the smaller set, {min(len(real), len(fake))}"
        )
    curve = []
    for n in sizes:
        chosen = rng.permutation(len(real))[:n], rng.permutation(len(fake))[:n]
        curve.append((int(n), frechet_distance(real[chosen[0]], fake[chosen[1]])))
    return curve


def curve_sizes(count: int, points: int) -> list[int]:
    """`points` subset sizes, evenly spaced in n from a third of `count` to all of it."""
    return sorted({round(size) for size in np.linspace(max(2, count / 3), count, points)})


def frechet_infinity(curve: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Fréchet distance extrapolated to infinitely many images: intercept of a line in 1/n, and its standard error.

    Chong & Forsyth 2020 (FID∞), with both sets subsampled, since medical sets are small on the real side as well. The
    result can fall slightly below zero for equal distributions, as an unbiased estimate must. The line is a good
    description once n exceeds the effective dimension of the features; below it the extrapolation stays biased upward.
    curve: at least 3 different sizes, as from frechet_bias_curve. Raises InputError otherwise.
    """
    if len({n for n, _ in curve}) < 3:
        raise InputError(f"extrapolation needs at least 3 subset sizes, there are {len({n for n, _ in curve})}")
    x = 1 / np.array([n for n, _ in curve], dtype=np.float64)
    y = np.array([distance for _, distance in curve])
    design = np.stack([np.ones_like(x), x], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ coefficients
    variance = float(residual @ residual) / max(1, len(y) - 2)
    return float(coefficients[0]), float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))


# ------------------------------------------------------------------------------------------------- kernel distance
def polynomial_kernel(gram: np.ndarray, dimensions: int) -> np.ndarray:
    """(x·y / D + 1)³ for a matrix of inner products x·y (Bińkowski et al. 2018, eq. 5)."""
    return (gram / dimensions + 1) ** 3


def kernel_distance(k_rr: np.ndarray, k_rf: np.ndarray, k_ff: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy (KID) of kernel matrices (N, N), (N, M), (M, M); can be below zero.

    Gretton et al. 2012, eq. 3 with N ≠ M allowed: the full-sample estimate, without the noise that random subsets add.
    """
    n, m = k_rf.shape
    if min(n, m) < 2:
        raise InputError(f"a distance needs at least 2 images on each side; real has {n}, fake {m}")
    within_real = (k_rr.sum() - np.trace(k_rr)) / (n * (n - 1))
    within_fake = (k_ff.sum() - np.trace(k_ff)) / (m * (m - 1))
    return float(within_real + within_fake - 2 * k_rf.mean())


def kernel_distance_subsets(
    k_rr: np.ndarray, k_rf: np.ndarray, k_ff: np.ndarray, *, subsets: int, subset_size: int, seed: int
) -> float:
    """Mean of kernel_distance over random subsets, drawn as torch-fidelity draws them (fake images first).

    Raises InputError when a subset is larger than a set.
    """
    n, m = k_rf.shape
    if subset_size > min(n, m):
        raise InputError(f"KID subsets of {subset_size} exceed the sets ({n} real, {m} fake); lower the subset size")
    # The legacy generator, because the reference draws its subsets with it and the values must agree.
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        f = rng.choice(m, subset_size, replace=False)
        r = rng.choice(n, subset_size, replace=False)
        values.append(kernel_distance(k_rr[np.ix_(r, r)], k_rf[np.ix_(r, f)], k_ff[np.ix_(f, f)]))
    return float(np.mean(values))


def kernel_influence(k_rr: np.ndarray, k_rf: np.ndarray, k_ff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Influence of every real (N,) and fake (M,) image on kernel_distance (see resampling.linearised_deviations)."""
    n, m = k_rf.shape
    real = 2 * ((k_rr.sum(axis=1) - np.diagonal(k_rr)) / (n - 1) - k_rf.mean(axis=1))
    fake = 2 * ((k_ff.sum(axis=1) - np.diagonal(k_ff)) / (m - 1) - k_rf.mean(axis=0))
    return real - real.mean(), fake - fake.mean()


# ------------------------------------------------------------------------------------------------- inception score
def inception_score(probabilities: np.ndarray, *, splits: int, shuffle_seed: int | None) -> tuple[float, np.ndarray]:
    """Inception score (Salimans et al. 2016): mean over splits of exp(mean KL(p(y|x) ‖ p(y))), and its influence (N,).

    probabilities (N, K), rows sum to 1. splits: consecutive parts of the (shuffled) images. shuffle_seed: seed of the
    shuffling as torch-fidelity does it; None keeps the order. Range 1 … K. Raises InputError when there are fewer than
    2 images for each split or the rows are no probabilities.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    count = len(p)
    if count < 2 * splits:
        raise InputError(f"an inception score of {splits} splits needs at least {2 * splits} images, there are {count}")
    if not np.isfinite(p).all() or (p < 0).any() or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise InputError("class probabilities must be ≥ 0 and sum to 1 in every row; compute the features again")
    order = np.arange(count)
    if shuffle_seed is not None:
        order = np.random.RandomState(shuffle_seed).permutation(count)  # the legacy generator, as the reference
    log_p = np.log(np.where(p > 0, p, 1))  # p log p → 0 as p → 0
    scores, influence = [], np.zeros(count)
    for split in range(splits):
        part = order[split * count // splits : (split + 1) * count // splits]
        marginal = p[part].mean(axis=0)
        log_marginal = np.log(np.where(marginal > 0, marginal, 1))
        divergence = (p[part] * (log_p[part] - log_marginal)).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
        # A weight on image i moves log score by (KLᵢ − mean KL) / n: the marginal's own change cancels to first order.
        influence[part] = scores[-1] * (divergence - divergence.mean()) * count / (len(part) * splits)
    return float(np.mean(scores)), influence
