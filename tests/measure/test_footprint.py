"""The footprint, against real models' bytes and files that others published."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import LlamaForCausalLM

from course_utils.measure.footprint import DEVICES, footprint, groups
from course_utils.measure.random_llama import config_of
from course_utils.measure.storage import stored_bytes
from course_utils.models.card import CARDS, EMBEDDED, from_config

EMBEDDED_CARD = CARDS[EMBEDDED]
LLAMA2 = CARDS["meta-llama/Llama-2-7b-hf"]


def on_meta(card):
    """Return the model of a llama card, without weights."""
    with torch.device("meta"):
        return LlamaForCausalLM(config_of(card))


@pytest.mark.parametrize("name", [EMBEDDED, "meta-llama/Llama-2-7b-hf"])
def test_parts_are_those_of_the_stored_model(name):
    """Oracle: the tensors of transformers' model, in float32."""
    stored = stored_bytes(on_meta(CARDS[name])).parts
    counted = footprint(CARDS[name], bits=32, keep_bits=32, context=0)
    assert counted.weights == stored["linear"]
    assert counted.kept == stored["embedding"] + stored["output"] + stored["rest"]
    assert (counted.scales, counted.kv_cache, counted.adapters) == (0, 0, 0)


def test_size_of_a_file_that_others_published():
    # The 4-bit AWQ file of Llama-2-7B has groups of 128 with 4-bit zero points and
    # 16-bit scales. Its repository lists 3.89 GB: within half of the last digit.
    counted = footprint(LLAMA2, bits=4, group_size=128, zero_bits=4, context=0)
    assert abs(counted.total - 3.89e9) < 0.005e9
    bits = 8 * (counted.weights + counted.scales) / LLAMA2.linear_parameters
    assert bits == 4.15625


def test_hand_count_of_every_part():
    card = replace(
        EMBEDDED_CARD,
        n_layers=3,
        hidden_size=8,
        intermediate_size=16,
        n_heads=2,
        n_kv_heads=1,
        head_dim=4,
        n_params=10_001,
    )
    # q and o 8 x 8, k and v 4 x 8, gate and up 16 x 8, down 8 x 16: 576 a layer.
    counted = footprint(
        card,
        bits=3,
        group_size=8,
        zero_bits=3,
        scale_bits=16,
        keep_bits=3,
        context=5,
        batch=2,
        kv_bits=4,
        rank=2,
    )
    assert counted.weights == 3 * 576 * 3 // 8
    assert counted.scales == math.ceil(3 * (576 // 8) * (16 + 3) / 8)
    assert counted.kept == 3103  # 8,273 * 3 / 8 = 3,102.4
    assert counted.kv_cache == 2 * 3 * 1 * 4 * 5 * 2 * 4 // 8
    # Sums of in and out: 16 + 12 + 12 + 16 + 24 + 24 + 24 = 128.
    assert counted.adapters == 3 * 128 * 2 * 2
    parts = (counted.weights, counted.scales, counted.kept, counted.kv_cache)
    assert counted.total == sum(parts) + counted.adapters


def test_adapters_of_a_published_run():
    # QLoRA's rank 64 on every linear layer of Llama-2-7B: 159,907,840 parameters.
    assert footprint(LLAMA2, rank=64).adapters == 2 * 159_907_840
    assert footprint(LLAMA2, rank=64, training=True).adapters == 16 * 159_907_840


def test_adapters_of_peft(tiny):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(LlamaForCausalLM(tiny.config), config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert footprint(card_of(tiny), group_size=32, rank=4).adapters == 2 * trained


def card_of(model):
    return from_config(
        model.config.to_dict(),
        name="tiny",
        n_params=model.num_parameters(),
        revision="local",
        source="test",
    )


def test_cache_of_a_running_model(tiny, tokens):
    with torch.no_grad():
        out = tiny(input_ids=tokens[:22].view(2, 11), use_cache=True)
    held = sum(
        layer.keys.nbytes + layer.values.nbytes for layer in out.past_key_values.layers
    )
    counted = footprint(
        card_of(tiny), group_size=32, context=11, batch=2, kv_bits=32
    ).kv_cache
    assert counted == held


def test_sixteen_bits_have_no_scales_and_any_group_size():
    counted = footprint(EMBEDDED_CARD, bits=16, group_size=1000, context=0)
    assert counted.scales == 0
    assert counted.total == EMBEDDED_CARD.memory(16)
    assert footprint(EMBEDDED_CARD, bits=15, group_size=64).scales > 0


def test_groups_of_the_three_granularities():
    shapes = {"up": (6, 16), "down": (4, 32)}
    assert groups(shapes, 0) == 2
    assert groups(shapes, None) == 10
    assert groups(shapes, 8) == 6 * 2 + 4 * 4


def test_smaller_groups_cost_what_the_formula_says():
    for size in (32, 64, 96, 192):
        counted = footprint(EMBEDDED_CARD, group_size=size)
        assert counted.scales / counted.weights == 16 / size / 4


def test_cache_grows_with_context_batch_and_bits():
    one = footprint(EMBEDDED_CARD, context=100).kv_cache
    assert footprint(EMBEDDED_CARD, context=300, batch=2).kv_cache == 6 * one
    assert footprint(EMBEDDED_CARD, context=100, kv_bits=4).kv_cache == one / 4


@pytest.mark.parametrize("name", CARDS)
def test_every_card_has_a_footprint_of_whole_bytes(name):
    counted = footprint(CARDS[name], group_size=None, bits=3, rank=1)
    parts = vars(counted).values()
    assert all(isinstance(part, int) and part > 0 for part in parts)
    assert counted.total < footprint(CARDS[name], bits=16, rank=1).total


def test_a_group_size_that_does_not_divide_names_those_that_do():
    with pytest.raises(ValueError) as caught:
        footprint(EMBEDDED_CARD, group_size=128)
    message = str(caught.value)
    assert "group_size 128 does not divide the 576 columns of self_attn.q_proj" in (
        message
    )
    offered = [int(n) for n in message.rpartition("one of ")[2].rstrip(".").split(",")]
    assert offered == [16, 24, 32, 48, 64, 96, 192]
    for size in offered:
        footprint(EMBEDDED_CARD, group_size=size)


def test_narrow_layers_are_offered_what_they_have():
    with pytest.raises(ValueError, match="choose one of 1, 2, 3, 6"):
        groups({"odd": (4, 18), "other": (4, 12)}, 5)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"bits": 0}, "bits must be at least 1, got 0"),
        ({"bits": math.nan}, "bits must be a finite number, got nan"),
        ({"bits": math.inf}, "bits must be a finite number, got inf"),
        ({"bits": None}, "bits must be a finite number, got None"),
        ({"bits": "4"}, "bits must be a finite number, got 4"),
        ({"keep_bits": 0.5}, "keep_bits must be at least 1"),
        ({"rank": 2.5}, "rank must be a whole number, got 2.5"),
        ({"batch": 1.5}, "batch must be a whole number, got 1.5"),
        ({"context": 3.3}, "context must be a whole number, got 3.3"),
        ({"context": None}, "context must be a whole number, got None"),
        ({"group_size": 64.0}, "group_size must be a whole number, got 64.0"),
        ({"kv_bits": 0}, "kv_bits must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"context": -1}, "context must be at least 0"),
        ({"group_size": -64}, "group_size must be at least 0"),
        ({"scale_bits": -1}, "scale_bits must be at least 0"),
        ({"zero_bits": -4}, "zero_bits must be at least 0"),
        ({"rank": -8}, "rank must be at least 0"),
        ({"training": True}, "give a rank above 0"),
    ],
)
def test_a_value_out_of_range_is_named(setting, words):
    with pytest.raises(ValueError, match=words):
        footprint(EMBEDDED_CARD, **setting)


def test_devices_are_in_order_of_size():
    assert list(DEVICES.values()) == sorted(DEVICES.values())
