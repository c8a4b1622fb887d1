import pytest
import torch

from course_utils.measure.choices import Choice, score_choices
from course_utils.measure.word_scores import last_logits_of, right, word_scores

QUESTIONS = [
    Choice("a b c", (" d", " e", " f"), answer=1),
    Choice("one", (" two", " three", " four"), answer=0),
    Choice("the longest prompt of all of them", (" x", " y", " z"), answer=2),
] * 15  # more than one batch


def test_scores_are_those_of_one_pass_for_each_option(tiny, words):
    got = word_scores(last_logits_of(tiny), words, QUESTIONS)
    expected = score_choices(tiny, words, QUESTIONS)
    assert got.shape == (45, 3)
    # Log-probabilities of size 30 in float32, the sums of 3 layers in another order.
    assert torch.allclose(got, expected.float(), atol=30 * 64 * 2**-24)


def test_a_prompt_is_scored_alike_alone_and_beside_longer_ones(tiny, words):
    alone = word_scores(last_logits_of(tiny), words, QUESTIONS[1:2])
    beside = word_scores(last_logits_of(tiny), words, QUESTIONS[:3])[1:2]
    assert torch.allclose(alone, beside, atol=30 * 64 * 2**-24)


def test_right_is_the_option_with_the_highest_score():
    scores = torch.tensor([[0.0, 1.0, -1.0], [0.0, 1.0, -1.0], [0.0, 1.0, 2.0]])
    assert right(scores, QUESTIONS[:3]).tolist() == [True, False, True]


def test_the_model_keeps_its_mode(tiny, words):
    tiny.train()
    word_scores(last_logits_of(tiny), words, QUESTIONS[:2])
    assert tiny.training
    tiny.eval()


def test_options_of_several_tokens_are_refused(tiny, words):
    questions = [Choice("a", (" b", " c d"), answer=0)]
    with pytest.raises(ValueError, match="one token"):
        word_scores(last_logits_of(tiny), words, questions)


@pytest.mark.parametrize(
    "questions",
    [[], [Choice("a", (" b", " c"), answer=0), Choice("a", (" b",) * 3, answer=0)]],
)
def test_questions_must_have_equal_numbers_of_options(tiny, words, questions):
    with pytest.raises(ValueError, match="same number"):
        word_scores(last_logits_of(tiny), words, questions)
