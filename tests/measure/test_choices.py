"""Cloze questions, against one forward pass per option without any padding."""

import math

import pytest
import torch

from course_utils.measure.choices import Choice, accuracy, score_choices

QUESTIONS = [
    Choice("The sky is", (" blue", " a kind of cheese", " very wide"), 0),
    Choice("Two and two make a sum and that sum is", (" four", " five"), 0),
    Choice("A", (" b c d e f g", " h", " i j", " k l m"), 2),
]
# As in test_perplexity.py, times at most 6 tokens of an option.
ATOL = 1e-3


def alone(model, words, question, option):
    """Return the score of one option: the loss of transformers times its tokens."""
    prompt = words.encode(question.prompt, add_special_tokens=False)
    ending = words.encode(question.options[option], add_special_tokens=False)
    ids = torch.tensor([prompt + ending])
    labels = torch.tensor([[-100] * len(prompt) + ending])
    with torch.no_grad():
        return -model(input_ids=ids, labels=labels).loss.item() * len(ending), len(
            ending
        )


def test_scores_are_those_of_each_option_alone(tiny, words):
    scores = score_choices(tiny, words, QUESTIONS)
    per_token = score_choices(tiny, words, QUESTIONS, per_token=True)
    assert scores.shape == (3, 4)
    for i, question in enumerate(QUESTIONS):
        for j in range(len(question.options)):
            expected, n = alone(tiny, words, question, j)
            assert scores[i, j].item() == pytest.approx(expected, abs=ATOL)
            assert per_token[i, j].item() == pytest.approx(expected / n, abs=ATOL)


def test_missing_options_never_win(tiny, words):
    scores = score_choices(tiny, words, QUESTIONS)
    assert scores[1, 2] == scores[0, 3] == -math.inf


def test_batches_are_padded_on_the_right_and_stay_below_512_rows(tiny, words):
    seen = []

    def record(module, arguments, kwargs):
        seen.append((kwargs["input_ids"], kwargs["attention_mask"]))

    hook = tiny.register_forward_pre_hook(record, with_kwargs=True)
    many = [Choice("w " * k + "end", (" a", " b c"), 0) for k in range(1, 60)]
    scores = score_choices(tiny, words, many)
    hook.remove()
    assert 1 < len(seen) < 2 * len(many)  # batched, and not in one piece
    assert all(ids.numel() <= 512 for ids, _ in seen)
    for _, mask in seen:
        assert bool((mask.diff(dim=1) <= 0).all())  # ones, then zeros
    assert sum(int(mask.sum()) for _, mask in seen) == sum(
        2 * (k + 1) + 3 for k in range(1, 60)
    )
    assert scores[30, 1].item() == pytest.approx(
        alone(tiny, words, many[30], 1)[0], abs=ATOL
    )


def test_accuracy_counts_the_highest_scores():
    scores = torch.tensor([[-1.0, -2, -3, -9], [-5, -4, -9, -9], [-3, -2, -1, -9]])
    assert accuracy(scores, QUESTIONS) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="3 scores, but 2 questions"):
        accuracy(scores, QUESTIONS[:2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Sky", (" blue",), 0), "at least 2 options"),
        (("Sky", (" blue", ""), 0), "at least 2 options"),
        (("Sky", (" blue", " red"), 2), "from 0 to 1"),
        (("Sky ", (" blue", " red"), 0), "without a space"),
        (("", (" blue", " red"), 0), "hold text"),
    ],
)
def test_questions_that_cannot_be_scored_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Choice(*arguments)


def test_too_long_and_too_few(tiny, words):
    with pytest.raises(ValueError, match="Question 0 has 514 tokens with option 1"):
        score_choices(tiny, words, [Choice("w" + " w" * 510, (" a", " b c d"), 0)])
    with pytest.raises(ValueError, match="no question"):
        score_choices(tiny, words, [])
