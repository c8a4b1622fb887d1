"""Rotations: spread a vector's outliers over all its channels.

For an orthogonal Q, with Q Q^T = I, a linear layer computes

    W x = (W Q) (Q^T x)

so weights and inputs may both be rotated and the product stays. Lengths stay too:
|Q^T x| = |x|. What changes is how the length is shared out. A vector with one large
value has a large maximum for its length, and a grid over it has a wide step; rotated,
its values are about alike.

    random orthogonal    Q is uniform over all rotations; n^2 products a vector
    Hadamard             entries +-1 / sqrt(n): one spike becomes exactly flat, and the
                         product needs n log n additions
    randomized Hadamard  Q = diag(s) H / sqrt(n) with random signs s, so that no fixed
                         pattern of signs meets its own row of H

Hadamard matrices are made by Sylvester's doubling of one of Paley's, from squares
modulo a prime. Orders are 1, 2 and multiples of 4; this module knows those that are a
power of two times 1, q + 1 (prime q, 3 modulo 4) or 2 (q + 1) (prime q, 1 modulo 4).

Sources: ashkboos2024quarot; paley1933orthogonal for the matrices. Left out: learned
rotations (SpinQuant), and Paley's construction over powers of primes.
"""

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec, fake_quantize

SYLVESTER = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
DIAGONAL = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])  # in place of 0 in Paley's second


def random_orthogonal(n: int, seed: int) -> Tensor:
    """Return a rotation or reflection drawn uniformly from all of order n.

    Shapes: (n, n), float32.
    Errors: Q Q^T differs from I by float32 rounding; the factors are made in float64.
    Raises: ValueError if n is below 1.
    """
    if n < 1:
        raise ValueError(f"The order of a rotation must be at least 1, got {n}.")
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, n, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(normal)
    # Without the signs of R's diagonal, Q is not uniform: qr fixes them its own way.
    return (Q * R.diagonal().sign()).float()


def hadamard(n: int) -> Tensor:
    """Return a Hadamard matrix H of order n: entries 1 and -1, H H^T = n I.

    Shapes: (n, n), float32.
    Raises: ValueError for an order that this module cannot make.
    """
    doublings, core = factors(n)
    H = paley(core)
    for _ in range(doublings):
        H = torch.kron(SYLVESTER, H)
    return H


def randomized_hadamard(n: int, seed: int) -> Tensor:
    """Return diag(s) H / sqrt(n) with random signs s: an orthogonal matrix.

    Shapes: (n, n), float32.
    Raises: ValueError as `hadamard` does.
    """
    generator = torch.Generator().manual_seed(seed)
    s = 2.0 * torch.randint(0, 2, (n, 1), generator=generator) - 1
    return s * hadamard(n) / n**0.5


def transform(x: Tensor) -> Tensor:
    """Return x H^T / sqrt(n) for the H of `hadamard`, without making H.

    Each doubling takes n additions: sums and differences of halves. What is left is
    a product with a matrix of 36 columns at most in the models of this book.

    Shapes: x (..., n) -> (..., n), in the dtype of x.
    Raises: ValueError as `hadamard` does.
    """
    n = x.shape[-1]
    doublings, core = factors(n)
    y = x.reshape(-1, 2**doublings, core)
    if core > 1:
        y = y @ paley(core).to(y).T
    half = 1
    while half < 2**doublings:
        pairs = y.reshape(len(y), -1, 2, half, core)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        y = torch.stack((a + b, a - b), dim=2)
        half *= 2
    return y.reshape(x.shape) / n**0.5


def factors(n: int) -> tuple[int, int]:
    """Return k and core with n = 2**k * core, the core as small as Paley can make it.

    Raises: ValueError if there is none.
    """
    k = (n & -n).bit_length() - 1 if n > 0 else -1
    for doublings in range(k, -1, -1):
        core = n >> doublings
        if core == 1 or _paley_prime(core):
            return doublings, core
    raise ValueError(
        f"No Hadamard matrix of order {n} is known here; it must be 1, 2 or a multiple "
        "of 4 with a factor such as 12, 20, 28 or 36. Use random_orthogonal."
    )


def paley(order: int) -> Tensor:
    """Return Paley's Hadamard matrix of order q + 1 or 2 (q + 1), or the 1 of order 1.

    chi(a) is 1 if a is a square modulo q, -1 if not, and 0 for 0.

    Shapes: (order, order), float32.
    Raises: ValueError if no prime q gives this order.
    Source: paley1933orthogonal. Differs from it in: primes only.
    """
    if order == 1:
        return torch.ones(1, 1)
    q = _paley_prime(order)
    if not q:
        raise ValueError(f"Paley's construction from primes has no order {order}.")
    chi = -torch.ones(q)
    chi[[a * a % q for a in range(1, q)]] = 1
    chi[0] = 0
    place = torch.arange(q)
    S = torch.zeros(q + 1, q + 1)
    S[1:, 1:] = chi[(place[:, None] - place) % q]  # Jacobsthal's matrix
    S[0, 1:] = 1
    S[1:, 0] = 1 if q % 4 == 1 else -1  # S is symmetric or skew, as chi is
    eye = torch.eye(q + 1)
    if q % 4 == 3:
        return eye + S
    return torch.kron(S, SYLVESTER) + torch.kron(eye, DIAGONAL)


def _paley_prime(order: int) -> int:
    """Return the prime q that gives this order, or 0."""
    for q, rest in ((order - 1, 3), (order // 2 - 1, 1)):
        whole = order == q + 1 or order == 2 * (q + 1)
        if whole and q % 4 == rest and _is_prime(q):
            return q
    return 0


def _is_prime(q: int) -> bool:
    return q > 1 and all(q % d for d in range(2, int(q**0.5) + 1))


def peak(x: Tensor) -> Tensor:
    """Return max |x| over the root mean square of each row: 1 if flat, at most sqrt(n).

    A grid over the row has a step in proportion to it. A row of zeros gets 1.

    Shapes: x (..., n) -> (...).
    Raises: ValueError if a value is NaN or infinite.
    """
    if not torch.isfinite(x).all():
        raise ValueError("The values hold NaN or infinity; they have no peak.")
    x = x.float()
    rms = x.square().mean(dim=-1).sqrt()
    return torch.where(rms > 0, x.abs().amax(dim=-1) / rms, torch.ones_like(rms))


def kurtosis(x: Tensor) -> float:
    """Return mean((x - m)^4) over the squared variance: 3 for a normal distribution.

    Raises: ValueError if all values are equal or one is NaN or infinite.
    """
    # float64: fourth powers of outliers beside those of small values.
    d = x.double() - x.double().mean()
    variance = d.square().mean()
    if not (torch.isfinite(variance) and variance > 0):
        raise ValueError("Give values that are finite and not all equal.")
    return float(d.pow(4).mean() / variance.square())


def per_token(x: Tensor, *, bits: int = 4) -> Tensor:
    """Return inputs rounded to a symmetric grid for each token, as they come.

    Shapes: x (..., n) -> the same.
    Errors: at most half a step, which is peak * rms / (2**(bits - 1) - 1) a token.
    Raises: ValueError as `affine.choose_qparams` does.
    """
    rows = x.reshape(-1, x.shape[-1])
    return fake_quantize(rows, spec=QuantSpec(bits, symmetric=True)).reshape(x.shape)
