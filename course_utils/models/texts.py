"""The frozen texts: what models are measured on, and what methods calibrate on.

The evaluation text is the book's own prose, dialogue and commented code. The
calibration tokens were drawn once from the embedded model itself, so no method
is tuned on text that it is measured on; no 13 tokens in a row are common to both.
Each file is checked against its sha256 in `manifest.json` when it is read.
"""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from course_utils.paths import book_dir

EVALUATION = "evaluation.md"
CALIBRATION = "calibration.json"
CALIBRATION_SHAPE = (32, 256)


def frozen(name: str) -> str:
    """Return a file of `book/texts` whose hash is the manifest's.

    Raises: ValueError if it is not.
    """
    folder = book_dir() / "texts"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if text_digest(folder / name) != manifest[name]:
        raise ValueError(
            f"{folder / name} is not the frozen text (its sha256 differs from "
            "manifest.json); restore the file."
        )
    return (folder / name).read_text(encoding="utf-8")


def evaluation_text() -> str:
    """Return the evaluation text.

    Raises: ValueError if the file is not the frozen one.
    """
    return frozen(EVALUATION)


def evaluation_tokens(
    tokenizer: PreTrainedTokenizerBase, n: int | None = 4 * 512
) -> Tensor:
    """Return the first `n` tokens of the evaluation text; all of them for None.

    No start token is put in front.

    Shapes: (n,) int64.
    Raises: ValueError if n is not positive or the text is shorter.
    """
    # `verbose` would warn that the text is longer than the model's context.
    found = tokenizer(evaluation_text(), add_special_tokens=False, verbose=False)
    tokens = torch.tensor(found["input_ids"])
    if n is None:
        return tokens
    if not 0 < n <= len(tokens):
        raise ValueError(
            f"n must be 1 to {len(tokens)}, the tokens of the evaluation text; got {n}."
        )
    return tokens[:n]


def calibration_tokens() -> Tensor:
    """Return the calibration tokens, for the tokenizer of the embedded model.

    Shapes: (32, 256) int64.
    Raises: ValueError if the file is not the frozen one.
    """
    tokens = torch.tensor(json.loads(frozen(CALIBRATION))["tokens"])
    if tuple(tokens.shape) != CALIBRATION_SHAPE:
        raise ValueError(
            f"{CALIBRATION} holds {tuple(tokens.shape)} tokens instead of "
            f"{CALIBRATION_SHAPE}."
        )
    return tokens


def text_digest(path: Path) -> str:
    """Return the sha256 of a text file, the same for either kind of line end."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def ngrams(tokens: list[int], n: int = 13) -> set[tuple[int, ...]]:
    """Return the runs of `n` tokens that occur in `tokens`."""
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
