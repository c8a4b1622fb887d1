"""Additive codebooks: eight weights become the sum of a few stored vectors.

A row of W is cut into groups of g weights. A group is a point in g dimensions, and it
is stored as M codes of B bits, each the number of a vector in one of M codebooks:

    W_hat[r, i] = s[r] * sum_m C_m[b[r, i, m]]                                   (1)

Codebooks and codes are chosen for the layer's output on the calibration tokens:

    minimise |(W - W_hat) X|^2 = trace(E H E^T),  E = W - W_hat,  H = X X^T       (2)

1. start: residual k-means. Codebook m holds the centres of what m - 1 codebooks left.
2. codebooks: for fixed codes (1) is linear in C, so (2) is a least-squares problem.
   Conjugate gradients solve it; the best s of a row has a formula.
3. codes: for fixed codebooks a beam search goes through the groups of a row and keeps
   the `beam` best ways to write it so far. Rows are independent.

Steps 2 and 3 take turns. None of them can raise (2).

Source: egiazarian2024aqlm. Differs from it in: step 2 is least squares instead of
Adam; codes are visited in order instead of at random; a little damping is added to H,
as GPTQ does. Left out: the fine-tuning of whole blocks that follows in the paper, and
groups that span several rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.methods.kmeans import residual_kmeans
from course_utils.methods.statistics import LayerStats

ROWS = 128  # searched at once: their beams stay in a processor's cache
Search = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class AdditiveTensor:
    """A matrix as codes, codebooks and one scale a row.

    Attributes:
        codes: Numbers of vectors, (rows, n_groups, n_codebooks), integers.
        codebooks: The vectors, (n_codebooks, 2**bits, group_size).
        scale: (rows, 1).
    """

    codes: Tensor
    codebooks: Tensor
    scale: Tensor

    def dequantize(self) -> Tensor:
        """Return the weights that the codes stand for.

        Shapes: (rows, n_groups * group_size).
        """
        return decode(self.codes, self.codebooks, self.scale)

    def bits_per_weight(self, *, number_bits: int = 16) -> float:
        """Return the stored bits of codes, codebooks and scales over the weights.

        A number in a codebook or a scale takes `number_bits`.
        """
        n_codebooks, size, g = self.codebooks.shape
        code_bits = self.codes.numel() * (size - 1).bit_length()
        numbers = self.codebooks.numel() + self.scale.numel()
        weights = self.codes.numel() // n_codebooks * g
        return (code_bits + number_bits * numbers) / weights


def decode(codes: Tensor, codebooks: Tensor, scale: Tensor) -> Tensor:
    """Return (1): the scaled sum of the vectors that the codes name.

    Shapes: codes (rows, n_groups, M), codebooks (M, 2**bits, g), scale (rows, 1)
        -> (rows, n_groups * g).
    """
    total = sum(C[codes[..., m].long()] for m, C in enumerate(codebooks))
    return scale * total.flatten(1)


def quantize(  # noqa: PLR0913 -- the paper's options, each by its name
    w: Tensor,
    stats: LayerStats,
    *,
    group_size: int = 8,
    n_codebooks: int = 2,
    bits: int = 8,
    beam: int = 4,
    turns: int = 4,
    percdamp: float = 0.01,
    seed: int = 0,
    search: Search | None = None,
) -> AdditiveTensor:
    """Return `w` as sums of codebook vectors that keep the layer's output.

    Args:
        w: The weights.
        stats: Of the inputs that these weights meet.
        group_size: Weights that a vector stands for.
        n_codebooks: Vectors that are added up.
        bits: Width of a code; a codebook has 2**bits vectors.
        beam: Ways to write a row that the search keeps.
        turns: Of steps 2 and 3; 0 leaves the start.
        percdamp: Part of the mean diagonal of H that is added to its diagonal.
        seed: Of the points that k-means starts from.
        search: Step 3; None is `beam_search`.

    Shapes: w (rows, cols), stats of cols inputs.
    Errors: each turn leaves (2), with damped H, no larger.
    Raises: ValueError if weights, statistics and codebooks do not fit together.
    Source: egiazarian2024aqlm, algorithm 1.
    """
    numbers = {"bits": bits, "beam": beam, "turns": turns, "n_codebooks": n_codebooks}
    _check(w, stats, group_size=group_size, **numbers)
    search = search or beam_search
    W, H = w.detach().float(), stats.second_moment.clone()
    H.diagonal().add_(percdamp * H.diagonal().mean())
    s = W.square().mean(dim=1, keepdim=True).sqrt()
    s = torch.where(s > 0, s, torch.ones_like(s))
    points = affine.grouped(W / s, group_size)  # (rows, n_groups, g)
    b, C = residual_kmeans(points, n_codebooks, bits=bits, seed=seed)
    for _ in range(turns):
        C = fit_codebooks(W, H, b, C, scale=s)
        s = fit_scale(W, H, b, C, scale=s)
        b = by_rows(partial(search, beam=beam), W, H, b, C, scale=s)
    return AdditiveTensor(b.to(torch.uint8 if bits <= 8 else torch.int32), C, s)


def fit_codebooks(  # noqa: PLR0913 -- what (1) and (2) consist of
    W: Tensor, H: Tensor, b: Tensor, C: Tensor, *, scale: Tensor, iters: int = 20
) -> Tensor:
    """Return the codebooks after some steps towards the least squares of (2).

    Conjugate gradients, preconditioned by the diagonal of the normal equations.

    Shapes: W (rows, cols), H (cols, cols), b (rows, n_groups, M), C (M, 2**bits, g).
    Errors: (2) never rises.
    """
    number = (b.long() + len(C[0]) * torch.arange(len(C))).reshape(-1, len(C))

    def collect(x: Tensor) -> Tensor:
        """Return for each vector the sum of x over the groups that use it."""
        x = x.reshape(-1, 1, C.shape[-1]).expand(-1, len(C), -1).flatten(0, 1)
        return x.new_zeros(C.flatten(0, 1).shape).index_add_(0, number.flatten(), x)

    diagonal = collect((scale**2 * H.diagonal()).expand_as(W)).view_as(C)
    diagonal = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
    r = collect(scale * ((W - decode(b, C, scale)) @ H)).view_as(C)
    p = z = r / diagonal
    rz = (r * z).sum()
    # Below this the gradient is made of float32's rounding errors.
    least = 1e-9 * rz
    for _ in range(iters):
        if not rz > least:
            break
        Np = collect(scale * (decode(b, p, scale) @ H)).view_as(C)
        alpha = rz / (p * Np).sum()
        C, r = C + alpha * p, r - alpha * Np
        z = r / diagonal
        before, rz = rz, (r * z).sum()
        p = z + rz / before * p
    return C


def fit_scale(W: Tensor, H: Tensor, b: Tensor, C: Tensor, *, scale: Tensor) -> Tensor:
    """Return the scale of each row that makes (2) smallest, or the old one if any does.

    Shapes: as `fit_codebooks`; (rows, 1).
    Errors: (2) never rises.
    """
    V = decode(b, C, torch.ones_like(scale))
    VH = V @ H
    power = (VH * V).sum(dim=1, keepdim=True)
    return torch.where(power > 0, (VH * W).sum(1, keepdim=True) / power, scale)


def beam_search(  # noqa: PLR0913 -- what (1) and (2) consist of
    W: Tensor, H: Tensor, b: Tensor, C: Tensor, *, scale: Tensor, beam: int = 4
) -> Tensor:
    """Return new codes for the same codebooks, found row by row.

    One code after the other is replaced by every vector of its codebook, in each of
    the rows kept so far, and the `beam` best of all these are kept. The rows kept
    differ in codes that have been visited, so no two are ever the same.

    Shapes: as `fit_codebooks`; (rows, n_groups, M), int64.
    Errors: (2) never rises.
    """
    g, size = C.shape[-1], C.shape[1]
    E = (W - decode(b, C, scale))[:, None]  # (rows, kept, cols); one kept at first
    b, s, row = b.long()[:, None], scale[:, :, None], torch.arange(len(W))[:, None]
    loss = E.new_zeros(len(W), 1)  # (2) of a row, less what it was before
    for i in range(b.shape[2]):
        here = slice(i * g, (i + 1) * g)
        Hi = H[here, here]
        for m, Cm in enumerate(C):
            old = s * Cm[b[:, :, i, m]]  # (rows, kept, g)
            EH = E @ H[:, here]
            # Vector k instead of the old one adds d = old - s C_k to E at i, and so
            # 2 d.EH + d Hi d to the loss; with t = EH + old Hi these are
            t = EH + old @ Hi
            new = s**2 * ((Cm @ Hi) * Cm).sum(dim=1) - 2 * s * (t @ Cm.T)
            new += loss[..., None] + ((EH + t) * old).sum(dim=-1, keepdim=True)
            n = min(beam, new[0].numel())
            loss, best = new.flatten(1).topk(n, largest=False)
            kept, k = best // size, best % size
            E, b = E[row, kept], b[row, kept]
            E[:, :, here] += old[row, kept] - s * Cm[k]
            b[:, :, i, m] = k
    return b[:, 0]


def by_rows(  # noqa: PLR0913 -- what (1) and (2) consist of
    search: Search, W: Tensor, H: Tensor, b: Tensor, C: Tensor, *, scale: Tensor
) -> Tensor:
    """Return the codes that `search` finds for some rows after the other.

    Shapes: as `beam_search`.
    """
    parts = zip(W.split(ROWS), b.split(ROWS), scale.split(ROWS), strict=True)
    return torch.cat([search(x, H, y, C, scale=s) for x, y, s in parts])


def _check(w: Tensor, stats: LayerStats, **options: int) -> None:
    """Refuse what cannot be searched."""
    affine.grouped(w, options["group_size"])  # refuses shapes and group sizes
    if not isinstance(stats, LayerStats):
        raise ValueError(
            "Codebooks are fitted to the layer's inputs; use `Statistics`."
        )
    if len(stats.second_moment) != w.shape[1]:
        raise ValueError(
            f"The weights have {w.shape[1]} columns and the statistics "
            f"{len(stats.second_moment)}; they must be of the same layer."
        )
    if not torch.isfinite(w).all():
        raise ValueError("The weights hold NaN or infinity; no codebook covers them.")
    lowest = {"bits": 1, "beam": 1, "turns": 0, "n_codebooks": 1}
    for name, least in lowest.items():
        if options[name] < least:
            raise ValueError(f"{name} must be {least} or more, got {options[name]}.")
    if options["bits"] > 16:
        raise ValueError(
            f"bits must be at most 16, got {options['bits']}: a codebook has 2**bits "
            "vectors."
        )
