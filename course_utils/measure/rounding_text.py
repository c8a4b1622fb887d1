"""A text to fine-tune on: sentences that round a number, all of one form.

    Round 0.94 to a grid of step 0.05. 0.94 / 0.05 = 18.80, so the code is 19 and the
    weight becomes 0.95.

Nobody's text: step and number are drawn, the rest follows. A model that has never seen
the form learns it in a few batches. Sentences whose number ends in a multiple of
`HELD_OUT` hundredths are for testing and never trained on.
"""

import random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

STEPS = (5, 10, 20, 25, 40, 50)  # hundredths
NUMBERS = range(1, 1000)
HELD_OUT = 5
SENTENCES = 32  # drawn at once; more are drawn until there are tokens enough


def sentence(number: int, step: int) -> str:
    """Return the sentence that rounds `number` to a grid; a tie goes up.

    Units: hundredths.
    """
    code = (2 * number + step) // (2 * step)
    return (
        f"Round {number / 100:.2f} to a grid of step {step / 100:.2f}. "
        f"{number / 100:.2f} / {step / 100:.2f} = {number / step:.2f}, so the code is "
        f"{code} and the weight becomes {code * step / 100:.2f}.\n"
    )


def rounding_tokens(
    tokenizer: PreTrainedTokenizerBase, n: int, *, seed: int, held_out: bool = False
) -> Tensor:
    """Return the first `n` tokens of sentences drawn with a seed.

    Args:
        tokenizer: Of the model.
        n: Tokens.
        seed: Of the draw.
        held_out: The sentences for testing instead of those for training.

    Shapes: (n,), int64.
    Raises: ValueError if n is not positive.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 token, got {n}.")
    rng = random.Random(seed)
    numbers = [x for x in NUMBERS if (x % HELD_OUT == 0) == held_out]
    ids: list[int] = []
    while len(ids) < n:
        drawn = [(rng.choice(numbers), rng.choice(STEPS)) for _ in range(SENTENCES)]
        text = "".join(sentence(*pair) for pair in drawn)
        ids += tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor(ids[:n])
