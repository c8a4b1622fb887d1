"""The measurements `awq` and `awq-library`: parts of a model, and their arithmetic."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.formats.affine import QuantSpec
from course_utils.measure import (
    awq_library,
    awq_quality,
    awq_speed,
    awq_values,
    tasks,
)
from course_utils.methods import awq
from course_utils.models import awq_model

SPEC = QuantSpec(3, group_size=8)
TOKENS = torch.randint(0, 20, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data *= 10
    return model


def test_a_part_is_searched_as_in_the_whole_model(tiny):
    whole = awq_model.search_model(tiny, TOKENS, spec=SPEC, progress=lambda _: None)
    part = awq_library.part_of(tiny, TOKENS, first=1, last=3)
    found = awq_model.search_model(
        part.model, part.ids, spec=SPEC, progress=lambda _: None
    )
    names = [name.replace(".1.", ".0.") for name in whole if ".1." in name]
    names += [name.replace(".2.", ".1.") for name in whole if ".2." in name]
    assert list(found) == names
    wanted = [one for name, one in whole.items() if ".1." in name or ".2." in name]
    for one, other in zip(found.values(), wanted, strict=True):
        assert one.losses == other.losses
    assert awq_quality.places_of(found) == {
        name: round(one.alpha * 19) for name, one in found.items()
    }


def test_a_ratio_of_times_is_ours_over_theirs_within_a_turn():
    turns = [{"ours": 2.0, "library": 8.0}, {"ours": 3.0, "library": 6.0}]
    turns.append({"ours": 4.0, "library": 4.0})
    results = dict(zip((f"layers {n}" for n in awq_speed.FIRST), turns, strict=True))
    ratio = awq_speed.Measurement().values(results)["ratio"]
    assert ratio["value"] == 0.5
    assert (ratio["spread"]["low"], ratio["spread"]["high"]) == (0.25, 1.0)


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (2, 2), (3, 5)])
def test_layers_that_a_model_does_not_have_are_refused(tiny, first, last):
    with pytest.raises(ValueError, match="The model has 4 layers"):
        awq_library.part_of(tiny, TOKENS, first=first, last=last)


def test_the_exponent_is_read_off_the_factors():
    s_X = torch.tensor([0.3, 2.0, 11.0])
    for i in range(20):
        found = awq_library.alpha_of(7 * awq.scales(s_X, i / 19), s_X)
        assert found == pytest.approx(i / 19, abs=1e-6)


def numbers(offset):
    """Log-likelihoods of four blocks, lowered by `offset`."""
    base = torch.linspace(-3, -1, 4 * awq_values.BLOCK).tolist()
    return {"scores": [x - offset for x in base], "kl": offset, "top1": 1 - offset}


def test_ratios_are_of_perplexities():
    results = {"itself": numbers(0.0)}
    for bits, offset in ((4, 0.1), (3, 0.3)):
        results[f"rtn{bits}"] = numbers(offset)
        results[f"awq{bits}"] = numbers(offset / 2) | {"alphas": [0.2, 0.4, 0.9]}
    results["keep inputs"] = numbers(0.2)
    values = awq_values.quality(results, bits=(4, 3), kept=("inputs",))
    # The same offset for every token: the ratio is exp(offset) and nothing varies.
    assert values["rtn3_over_base"]["value"] == pytest.approx(math.exp(0.3))
    assert values["awq3_over_rtn3"]["value"] == pytest.approx(math.exp(-0.15))
    assert values["kept_inputs_over_rtn3"]["value"] == pytest.approx(math.exp(-0.1))
    assert values["awq4_kl"]["value"] == 0.05
    assert values["awq4_alpha"]["value"] == 0.4
    assert values["awq4_alpha"]["spread"]["high"] == 0.9
    assert values["base_ppl"]["n"] == 4 * awq_values.BLOCK


def part(ours, theirs):
    names = ["model.layers.0.input_layernorm", "model.layers.0.mlp.up_proj"]
    return {
        "ours": dict(zip(names, ours, strict=True)),
        "theirs": dict(zip(names, theirs, strict=True)),
        "largest": 1e-7 * ours[0],
        "codes": 100,
        "different": 1,
        "seconds": 1.0,
        "library_seconds": 4.0,
    }


def test_the_comparison_counts_places_and_codes():
    results = {
        "draw 0 layers 0": part([3, 7], [4, 7]),
        "draw 0 layers 5": part([5, 8], [5, 8]),
        "draw 0 ours": numbers(0.2),
        "draw 0 theirs": numbers(0.1),
    }
    assert awq_values.exponents(results, "draw 0", "theirs") == [4, 7, 5, 8]
    values = awq_values.against_library(results, draws=1)
    assert (values["same_alpha"]["value"], values["same_alpha"]["n"]) == (3, 4)
    down = values["same_alpha_down"]
    assert (down["value"], down["n"]) == (2, 2)
    assert values["library_codes_different"]["value"] == 2
    assert values["library_codes_different"]["n"] == 200
    assert values["speed_ratio"]["value"] == 0.25
    assert values["largest_factor_difference"]["value"] == pytest.approx(5e-7)
    # Ours has the lower likelihood: the log of its perplexity over theirs is positive.
    assert values["draw0_difference"]["value"] == pytest.approx(0.1)


def test_the_slice_of_the_record_is_repeated():
    assert tasks.check_slice("awq") == []
