"""Log-likelihoods of a text, against lm-eval's rolling windows on the same model.

lm-eval predicts every token of a text: a prefix token stands before the first, and each
later window begins with the last token of the one before, which it has predicted
already. Ours predicts no first token. So its windows of n inputs are ours of n + 1
tokens, cut with one token in common, the prefix in front:

    prefix t0 ... t(n-1) | t(n-1) ... t(2n-1) | ...

What is left over at the end is predicted from a full window too, which reaches back
into tokens that are counted already and counts only the new ones.
"""

import pytest
import torch

from course_utils.measure.perplexity import log_likelihoods
from course_utils.models.texts import evaluation_text

WINDOW = 160
N_CHARACTERS = 1800


@pytest.fixture(scope="module")
def harness(apart, loaded):
    """lm-eval around the embedded model, with windows of its own length."""
    models = apart("lm_eval.models.huggingface")
    return models.HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        max_length=WINDOW,
        batch_size=1,  # no padding, so that both compute on the same positions
        logits_cache=False,
    )


@pytest.fixture(scope="module")
def text():
    return evaluation_text()[:N_CHARACTERS]


@pytest.fixture(scope="module")
def rolling(apart, harness, text):
    """The log-likelihood that lm-eval gives the text, in nats."""
    api = apart("lm_eval.api.instance")
    request = api.Instance("loglikelihood_rolling", {}, (text,), 0)
    (found,) = harness.loglikelihood_rolling([request], disable_tqdm=True)
    return found


@pytest.fixture(scope="module")
def tokens(loaded, text):
    return torch.tensor(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def ours(model, tokens, prefix):
    """Return the log-likelihood of every token by our code, lm-eval's windows."""
    whole = torch.cat([torch.tensor([prefix]), tokens])
    parts = []
    for start in range(0, len(tokens), WINDOW):
        stop = min(start + WINDOW, len(tokens))
        window = whole[max(0, stop - WINDOW) : stop + 1]
        found = log_likelihoods(model, window, context=WINDOW + 1)
        parts.append(found[start - stop :])
    return torch.cat(parts)


def tolerance(n):
    """Return how far two float32 computations of n log-likelihoods may differ.

    The two feed windows that differ by one position, so sums run in another order.
    About 300 operations follow one another (30 layers of 10), each within 2**-24 of
    what it adds to, up to logits of 32: 300 * 2**-24 * 32 = 6e-4 for each token, if no
    two errors ever cancel. lm-eval also sums a window in float32, at most WINDOW
    additions to less than 2**11 nats: WINDOW * 2**-13 for each window.
    """
    windows = -(-n // WINDOW)
    return n * 300 * 2**-24 * 32 + windows * WINDOW * 2**-13


def test_both_read_the_same_tokens(harness, text, tokens):
    assert harness.tok_encode(text) == tokens.tolist()
    # Two full windows and a part of one, so that every kind of cut is met.
    assert 2.2 * WINDOW < len(tokens) < 2.8 * WINDOW


def test_rolling_log_likelihood_is_ours(harness, loaded, tokens, rolling):
    got = ours(loaded.model, tokens, harness.prefix_token_id)
    assert len(got) == len(tokens)
    assert got.max() <= 0
    # So that the bound on lm-eval's sums holds.
    assert all(-part.sum() < 2**11 for part in got.split(WINDOW))
    assert abs(got.double().sum().item() - rolling) < tolerance(len(tokens))


def test_other_windows_would_be_noticed(harness, loaded, tokens, rolling):
    """The tolerance tells lm-eval's cut from one without prefix or overlap."""
    limit = 2 * tolerance(len(tokens))
    plain = log_likelihoods(loaded.model, tokens, context=WINDOW)
    assert abs(plain.double().sum().item() - rolling) > limit
    other = ours(loaded.model, tokens, int(tokens[0]))
    assert abs(other.double().sum().item() - rolling) > limit
