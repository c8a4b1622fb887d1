"""How likely a model finds each of a few next words.

A prompt is read once, and the logits of its last position score every option: one
forward pass for a question, where `choices.score_choices` needs one for each option.
Every option must therefore be a single token.

Prompts go through a torch model in padded batches, each read at its own last token.
llama.cpp reads them one by one (`LlamaFile.last_logits`).

Left out: options of several tokens.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_utils.measure.choices import Choice, Tokenizer
from course_utils.measure.inference import device_of
from course_utils.models.evaluating import evaluating

# Prompts, each (n,) -> logits of each one's last position, (prompts, vocab).
LastLogits = Callable[[Sequence[Tensor]], Tensor]
BATCH = 32


def last_logits_of(model: nn.Module) -> LastLogits:
    """Return the function prompts -> logits of `model` at each prompt's last token."""

    def last_logits(prompts: Sequence[Tensor]) -> Tensor:
        with evaluating(model):
            batches = range(0, len(prompts), BATCH)
            return torch.cat([_batch(model, prompts[i : i + BATCH]) for i in batches])

    return last_logits


def _batch(model: nn.Module, prompts: Sequence[Tensor]) -> Tensor:
    """Return the last logits of one padded batch, float32 on the CPU."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    # On the right, so that a prompt's positions do not depend on its neighbours.
    ids = nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
    mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
    device = device_of(model)
    last, kept = (lengths - 1).to(device).unique(return_inverse=True)
    out = model(
        input_ids=ids.to(device),
        attention_mask=mask.long().to(device),
        logits_to_keep=last,  # a row of the vocabulary costs as much as a layer
    )
    rows = torch.arange(len(prompts), device=device)
    return out.logits[rows, kept].float().cpu()


def word_scores(
    last_logits: LastLogits, tokenizer: Tokenizer, questions: Sequence[Choice]
) -> Tensor:
    """Return log p of every option after its prompt.

    Shapes: (questions, options), float32.
    Units: nats.
    Raises: ValueError if an option is not one token, or questions differ in options.
    """
    prompts = [_ids(tokenizer, question.prompt) for question in questions]
    words = [[_ids(tokenizer, w) for w in q.options] for q in questions]
    if len({len(row) for row in words}) != 1 or not questions:
        raise ValueError("Give questions, all with the same number of options.")
    for question, row in zip(questions, words, strict=True):
        if any(len(ids) != 1 for ids in row):
            raise ValueError(
                f"Every option must be one token: {question.options}; "
                "score_choices takes longer ones."
            )
    targets = torch.tensor([[ids.item() for ids in row] for row in words])
    return last_logits(prompts).log_softmax(dim=-1).gather(1, targets)


def right(scores: Tensor, questions: Sequence[Choice]) -> Tensor:
    """Return for each question whether the right option scored highest.

    Shapes: scores (questions, options) -> (questions,), bool.
    """
    return scores.argmax(dim=1) == torch.tensor([q.answer for q in questions])


def _ids(tokenizer: Tokenizer, text: str) -> Tensor:
    return torch.tensor(tokenizer.encode(text, add_special_tokens=False))
