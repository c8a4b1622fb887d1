"""Cloze questions: which of the given endings does the model find most likely?

    score(option) = sum over the option's tokens of log p(token | prompt, tokens so far)

Divided by the number of tokens when `per_token` is set, which takes away the
advantage of short options. No text is generated, so the score is the same on every
run, and it moves when the answer does not: a finer ruler than right or wrong.

Prompt and option are tokenized apart and joined, so all options of a question share
the prompt's tokens. An option that begins a new word begins with a space (" blue"),
and the prompt then ends without one.

Left out: chat templates and few-shot examples; both are text, put them in the prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from course_utils.measure.inference import MAX_ROWS, device_of
from course_utils.models.evaluating import evaluating


class Tokenizer(Protocol):
    """What this module needs of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the token ids of `text`."""


@dataclass(frozen=True)
class Choice:
    """A prompt, its possible endings, and the index of the right one."""

    prompt: str
    options: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        """Refuse questions that cannot be scored."""
        if len(self.options) < 2 or not all(self.options):
            raise ValueError(f"Give at least 2 options with text: {self.options}.")
        if not 0 <= self.answer < len(self.options):
            raise ValueError(
                f"answer is {self.answer}, but the options count "
                f"from 0 to {len(self.options) - 1}."
            )
        if not self.prompt or self.prompt[-1] == " ":
            raise ValueError(
                f"The prompt {self.prompt!r} must hold text and end without a space; "
                'put the space at the front of each option: " blue".'
            )


@dataclass(frozen=True)
class _Row:
    """One prompt joined with one option, as token ids."""

    place: tuple[int, int]
    ids: tuple[int, ...]
    n_option: int


def _rows(tokenizer: Tokenizer, questions: Sequence[Choice]) -> list[_Row]:
    """Tokenize every (question, option) pair."""
    rows = []
    for i, question in enumerate(questions):
        prompt = tokenizer.encode(question.prompt, add_special_tokens=False)
        for j, text in enumerate(question.options):
            option = tokenizer.encode(text, add_special_tokens=False)
            rows.append(_Row((i, j), (*prompt, *option), len(option)))
            if len(rows[-1].ids) > MAX_ROWS:
                raise ValueError(
                    f"Question {i} has {len(rows[-1].ids)} tokens with option {j}; "
                    f"shorten it to {MAX_ROWS}."
                )
    return rows


def _batches(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Group rows so that a padded batch has at most MAX_ROWS positions."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and (len(batch) + 1) * len(row.ids) > MAX_ROWS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _batch_scores(model: nn.Module, batch: Sequence[_Row]) -> list[float]:
    """Return the summed log-likelihood of the option of each row."""
    width = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, row in enumerate(batch):
        ids[k, : len(row.ids)] = torch.tensor(row.ids)
        mask[k, : len(row.ids)] = 1
    device = device_of(model)
    out = model(input_ids=ids.to(device), attention_mask=mask.to(device))
    scores = []
    for k, row in enumerate(batch):
        # Position p predicts token p + 1, so an option's rows start one before it.
        stop = len(row.ids)
        logits = out.logits[k, stop - row.n_option - 1 : stop - 1].float()
        targets = ids[k, stop - row.n_option : stop].to(device)
        picked = logits.gather(1, targets[:, None]).squeeze(1)
        scores.append((picked - logits.logsumexp(dim=1)).double().sum().item())
    return scores


def score_choices(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Choice],
    *,
    per_token: bool = False,
) -> Tensor:
    """Return the log-likelihood of every option of every question.

    Shapes: (n_questions, most options of a question), float32; -inf where a question
        has fewer options.
    Units: nats, or nats per token of the option where `per_token` is set.
    Errors: padding moves a score by float32 rounding only.
    Raises: ValueError if there is no question or one is longer than 512 tokens.
    """
    if not questions:
        raise ValueError("There is no question to score.")
    n_options = max(len(question.options) for question in questions)
    scores = torch.full((len(questions), n_options), -torch.inf)
    with evaluating(model):
        for batch in _batches(_rows(tokenizer, questions)):
            for row, score in zip(batch, _batch_scores(model, batch), strict=True):
                scores[row.place] = score / row.n_option if per_token else score
    return scores


def accuracy(scores: Tensor, questions: Sequence[Choice]) -> float:
    """Return the fraction of questions whose right option has the highest score.

    Shapes: scores (n_questions, n_options), as `score_choices` returns them.
    Raises: ValueError if scores and questions differ in number.
    """
    if len(scores) != len(questions):
        raise ValueError(f"{len(scores)} scores, but {len(questions)} questions.")
    answers = torch.tensor([q.answer for q in questions], device=scores.device)
    return (scores.argmax(dim=1) == answers).double().mean().item()
