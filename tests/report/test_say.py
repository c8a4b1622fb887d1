"""Sentences take their numbers from values, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.report.facts import Fact
from course_utils.report.publish import publish
from course_utils.report.say import claim, fields, say
from course_utils.report.units import typed_number


def test_say_shows_the_formatted_sentence(shown):
    say("**{ppl:.2f}** after {n:,d} tokens, {share:.1%}", ppl=14.704, n=2048, share=0.3)
    sentence = "**14.70** after 2,048 tokens, 30.0%"
    assert shown == [({"text/markdown": sentence, "text/plain": sentence}, {})]


def test_say_takes_arrays_of_one_number_and_nested_formats(shown):
    say(
        "{a:.{digits}f} {b:.1f} {c}",
        a=np.float32(0.5),
        b=torch.tensor(2.0),
        c=3,
        digits=3,
    )
    assert shown[0][0]["text/plain"] == "0.500 2.0 3"


@pytest.mark.parametrize(
    ("template", "values", "complaint"),
    [
        ("{ppl:.2f}", {}, "{ppl} has no value"),
        ("{ppl:.2f}", {"ppl": 1.0, "n": 3}, "n is passed but never shown"),
        ("{:.2f}", {}, "has no name"),
        ("{0:.2f}", {}, "has no name"),
        ("{ppl}", {"ppl": 1.0}, "has no format"),
        ("{ppl}", {"ppl": np.float32(1)}, "has no format"),
        ("takes 4.5 GB, not {x:.1f}", {"x": 1.0}, "'4.5 GB' is typed"),
        ("a third, 33%, of {x:.1f}", {"x": 1.0}, "'33%' is typed"),
    ],
)
def test_say_refuses(shown, template, values, complaint):
    with pytest.raises(ValueError, match=complaint):
        say(template, **values)
    assert shown == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "4 GB",
            "4GiB",
            "1,024 MB",
            "12 ms",
            "3.5 tok/s",
            "8.5 bits",
            "2\u00d7",
            "40 dB",
        ),
        *("14.7 ppl", "7 %", "30 s.", "a 5 W board", "16\u00a0kB", "900 GB/s"),
    ],
)
def test_a_number_with_a_unit_is_found(text):
    assert typed_number(f"It takes {text} here") is not None


@pytest.mark.parametrize(
    "text",
    [
        "a 4-bit model",
        "Llama 2 7B and 3 models",
        "`4 bits` and $2 \\times 4 \\% bits$",
        "chapter 3, section 2",
        "the 1980s",
        "4 bitsandbytes layers",
        "at 4 bits, or 2 bytes",
        "GB means 1e9 of them",
    ],
)
def test_other_numbers_are_left_alone(text):
    assert typed_number(text) is None


def test_a_unit_after_a_placeholder_is_no_typed_number(shown):
    say("layer 3: {size:.1f} GB", size=4.0)
    assert shown[0][0]["text/plain"] == "layer 3: 4.0 GB"


@given(st.text("abcx_", min_size=1, max_size=6))
def test_fields_finds_every_name(name):
    assert fields(f"a {{{name}:.2f}} b {{{name}_2.unit}}") == {name, f"{name}_2"}


@pytest.mark.parametrize(
    "holds", [True, np.bool_(True), torch.tensor(3) > 2, np.float32(3) > 2]
)
def test_a_claim_that_holds(shown, holds):
    claim("{a:.1f} is more.", holds, otherwise="{a:.1f} is less.", a=3.0)
    data, metadata = shown[0]
    assert data["text/markdown"] == data["text/plain"] == "3.0 is more."
    assert metadata == {"fewer_bits": {"claim": True}}
    assert metadata["fewer_bits"]["claim"] is True


def test_a_claim_that_fails_says_the_other_thing(shown):
    claim(
        "{a:.1f} is more.", np.less(4, 3), otherwise="Not more: {b:.1f}.", a=3.0, b=4.0
    )
    data, metadata = shown[0]
    assert data["text/markdown"] == "Not more: 4.0."
    assert metadata["fewer_bits"]["claim"] is False


@pytest.mark.parametrize("holds", [1, 0.5, "yes", None, np.array([True, True])])
def test_a_claim_needs_a_truth_value(holds):
    with pytest.raises(ValueError, match="one truth value"):
        claim("It holds.", holds, otherwise="It does not.")


def test_the_branch_not_taken_is_checked_too(shown):
    with pytest.raises(ValueError, match=r"\{b\} has no value"):
        claim("fine", True, otherwise="{b:.1f} is less")
    with pytest.raises(ValueError, match="'3 dB' is typed"):
        claim("fine", True, otherwise="3 dB is less")
    with pytest.raises(ValueError, match="never shown"):
        claim("fine", True, otherwise="not fine", b=1.0)
    assert shown == []


def test_an_unmeasured_fact_reads_as_a_sentence(shown):
    fact = Fact("t4-speed/decode")
    say("On a T4: {f:.1f} {f.unit}.", f=fact)
    say("{f:.1f} {f.unit} on a T4", f=fact)
    say("{f}, or so", f=fact)
    assert [data["text/plain"] for data, _ in shown] == [
        "On a T4: not yet measured.",
        "not yet measured on a T4",
        "not yet measured, or so",
    ]


def test_outside_a_notebook_the_sentence_is_printed(capsys):
    publish({"text/markdown": "**a**", "text/plain": "a"})
    assert capsys.readouterr().out == "a\n"
