"""K-means: a codebook of n vectors for points in g dimensions.

Lloyd's algorithm repeats two steps, and neither can raise the squared distance:

    b = number of the nearest centre of each point                               (1)
    C = mean of the points of each centre                                        (2)

Residual k-means adds codebooks: the next one holds the centres of what is left. M
codebooks of 2**B vectors name 2**(M B) sums and store M 2**B vectors.

Source: gersho1992vector. Left out: starts that spread the first centres.
"""

import torch
from torch import Tensor


def kmeans(
    points: Tensor, n: int, *, iters: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return n centres and the number of each point's nearest: Lloyd's algorithm.

    It starts from n of the points. A centre that no point is nearest to stays.

    Shapes: points (n_points, g) -> centres (n, g), codes (n_points,).
    Errors: the sum of squared distances is not above that of fewer iters.
    Raises: ValueError if there are fewer points than centres.
    """
    if not 1 <= n <= len(points):
        raise ValueError(
            f"{len(points)} groups cannot fill a codebook of {n} vectors; use fewer "
            "bits or smaller groups."
        )
    random = torch.Generator().manual_seed(seed)
    centres = points[torch.randperm(len(points), generator=random)[:n]]
    for _ in range(iters):
        b = nearest(points, centres)
        count = torch.bincount(b, minlength=n)[:, None]
        total = torch.zeros_like(centres).index_add_(0, b, points)
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return centres, nearest(points, centres)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Return the number of the centre nearest to each point.

    Shapes: points (n_points, g), centres (n, g) -> (n_points,).
    """
    # |p - c|^2 = |p|^2 - 2 p.c + |c|^2, and |p|^2 is the same for all centres.
    return (centres.square().sum(dim=1) - 2 * points @ centres.T).argmin(dim=1)


def residual_kmeans(
    points: Tensor, n_codebooks: int, *, bits: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return codes and codebooks, each the centres of what those before it left.

    Shapes: points (..., g) -> codes (..., n_codebooks), codebooks (M, 2**bits, g).
    Raises: ValueError as `kmeans` does.
    """
    rest, codes, codebooks = points.reshape(-1, points.shape[-1]), [], []
    for m in range(n_codebooks):
        C, b = kmeans(rest, 2**bits, seed=seed + m)
        rest = rest - C[b]
        codes.append(b)
        codebooks.append(C)
    codes = torch.stack(codes, dim=-1).reshape(*points.shape[:-1], n_codebooks)
    return codes, torch.stack(codebooks)
