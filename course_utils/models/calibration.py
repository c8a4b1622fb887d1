"""Calibration windows from texts of one's own."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def windows(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_samples: int | None = None,
    seq_len: int = 256,
) -> Tensor:
    """Return the texts as windows of tokens: joined, then cut.

    The end token stands between texts. What does not fill a window is left out.

    Args:
        texts: The texts.
        tokenizer: Of the model.
        n_samples: Windows wanted; None is all that the texts fill.
        seq_len: Tokens of a window.

    Shapes: (n_samples, seq_len), int64.
    Raises: ValueError if a text is no text, or they do not fill the windows.
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError("Give a list of calibration texts with at least one in it.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            what = "the placeholder ..." if text is ... else f"a {type(text).__name__}"
            raise ValueError(
                f"Calibration text {i + 1} is {what}, not text; put real text there."
            )
    ids: list[int] = []
    for text in texts:
        found = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        ids += [*found, tokenizer.eos_token_id]
    wanted = len(ids) // seq_len if n_samples is None else n_samples
    if wanted < 1 or wanted * seq_len > len(ids):
        raise ValueError(
            f"The texts hold {len(ids)} tokens and {max(1, wanted)} windows of "
            f"{seq_len} need {max(1, wanted) * seq_len}; give more text or ask for "
            "less."
        )
    return torch.tensor(ids[: wanted * seq_len]).reshape(wanted, seq_len)
