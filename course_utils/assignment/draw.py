"""Draw from a secret: what a student gets follows from the secret and their id.

Nothing else is needed to draw it again, and without the secret nobody can.
"""

import hashlib
import hmac
from pathlib import Path

import numpy as np

LEAST_BYTES, MOST_BYTES = 16, 4096
# For those who are not told apart.
CLASS = "class"


def read_secret(path: Path) -> bytes:
    """Return the secret of a file.

    Raises: ValueError if it is too short to be one, or too long.
    """
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1).strip()
    if not LEAST_BYTES <= len(data) <= MOST_BYTES:
        raise ValueError(
            f"{path} must hold {LEAST_BYTES} to {MOST_BYTES} bytes that nobody can "
            "guess; `openssl rand -hex 32 > FILE` makes such a file."
        )
    return data


def rng(secret: bytes, *labels: str) -> np.random.Generator:
    """Return the generator that belongs to these labels.

    Args:
        secret: What only the instructor has.
        labels: Such as chapter, student, question; in this order.
    """
    # Lengths keep ("a", "bc") apart from ("ab", "c").
    message = "".join(f"{len(label)}:{label}" for label in labels).encode()
    digest = hmac.digest(secret, message, hashlib.sha256)
    return np.random.default_rng(list(digest))
