import pytest

from course_utils.authoring.numbers import typed_numbers

TYPED = [
    "It takes 4 GB of memory.",
    "It is 3.2\u00d7 smaller.",
    "A 4x gain.",
    "It keeps 97 % of the answers.",
    "It keeps 97% of the answers.",
    "12.5 ms per token",
    "It answers in 3 s.",
    "1,234 MB on disk",
    "about 30 tok/s",
    "SQNR of 24.1 dB",
    "4.5 bits per weight",
    "a 4.25-bit format",
    "40 bits in all",
    "perplexity 31 ppl",
    "1e9 bytes",
    "a 16-GB card",
    "| 8 | 538 MiB |",
]
FREE = [
    "at 8, 4, 3 and 2 bits",
    "a 4-bit model",
    "a float32 takes 4 bytes",
    "a 16 \u00d7 16 tile, a 2 \u00d7 4 tensor",
    "`4 GB` and ``7 ms`` in code",
    "$2^{30}$ bytes, $4\\,\\text{GB}$",
    "$$\nx = 4 MB\n$$",
    "```\n4 GB\n```",
    "[a card](https://x.org/16GB) <img width='50%'>",
    "FP16 and INT8 with 128 groups",
    "two halves of 25 minutes",
    "SmolLM2-135M has 30 layers",
    "in the 1990s",
    "the code 0x7f",
    "It takes 4 GB [@someone2020] they say.",
]


@pytest.mark.parametrize("text", TYPED)
def test_a_measurement_without_a_source_is_found(text):
    assert len(typed_numbers(text)) == 1


@pytest.mark.parametrize("text", FREE)
def test_what_is_no_measurement_passes(text):
    assert typed_numbers(text) == []


def test_the_citation_must_stand_on_the_same_line():
    text = "It takes 4 GB.\nThat is what [@someone2020] says.\nAnd 7 ms."
    assert typed_numbers(text) == [(0, "4 GB"), (2, "7 ms")]
