import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.models import cards, embedded
from course_utils.models.card import (
    CARDS,
    EMBEDDED,
    ORIGINAL,
    ModelCard,
    from_config,
    similar,
)

# As the models' publishers count them; a mistyped row of the table changes these.
# (The file of Qwen3-0.6B holds the embedding a second time, as its output matrix.)
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320,
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
}


def config_of(card: ModelCard):
    """Return transformers' configuration of a card."""
    more = {"layer_types": ["full_attention"] * card.n_layers} if card.qk_norm else {}
    return AutoConfig.for_model(
        card.model_type,
        vocab_size=card.vocab_size,
        hidden_size=card.hidden_size,
        intermediate_size=card.intermediate_size,
        num_hidden_layers=card.n_layers,
        num_attention_heads=card.n_heads,
        num_key_value_heads=card.n_kv_heads,
        head_dim=card.head_dim,
        max_position_embeddings=card.max_context,
        tie_word_embeddings=card.tied,
        **more,
    )


@pytest.mark.parametrize("name", [EMBEDDED, *PUBLISHED])
def test_the_count_is_that_of_transformers_model(name):
    card = CARDS[name]
    with torch.device("meta"):  # shapes without numbers
        model = AutoModelForCausalLM.from_config(config_of(card))
    assert sum(p.numel() for p in model.parameters()) == card.n_params
    linear = [
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    ]
    assert sum(linear) == card.linear_parameters
    made = from_config(
        model.config.to_dict(),
        name=card.id,
        n_params=card.n_params,
        revision=card.revision,
        source=card.source,
    )
    assert made.parameters() == card.n_params
    for field in ("model_type", "tied", "qkv_bias", "qk_norm", "max_context"):
        assert getattr(made, field) == getattr(card, field)
    assert made.linear_shapes() == card.linear_shapes()


def test_the_count_is_the_published_one():
    assert set(CARDS) == {EMBEDDED, *PUBLISHED}
    counted = {name: card.n_params for name, card in CARDS.items() if name != EMBEDDED}
    assert counted == PUBLISHED
    assert CARDS[EMBEDDED].n_params == PUBLISHED[ORIGINAL]


def test_what_is_promised_of_the_table():
    ungated = [CARDS[name] for name in cards.UNGATED]
    assert len(ungated) >= 8
    assert not any(card.gated for card in ungated)
    assert min(card.n_params for card in ungated) < 140e6
    assert 8e9 < max(card.n_params for card in ungated) < 8.5e9
    assert all(CARDS[name].gated for name in cards.GATED)
    assert {card.licence for card in CARDS.values()}.isdisjoint({"", "unknown"})


def test_the_embedded_card_is_pinned_to_its_weights():
    revision = f"{embedded.FORMAT}-{cards.WEIGHTS_SHA256[:12]}"
    assert CARDS[EMBEDDED].revision == revision


def test_shapes_and_cache_of_a_model_by_hand():
    card = CARDS["meta-llama/Llama-3.1-8B"]
    assert card.linear_shapes() == {
        "self_attn.q_proj": (4096, 4096),
        "self_attn.k_proj": (1024, 4096),
        "self_attn.v_proj": (1024, 4096),
        "self_attn.o_proj": (4096, 4096),
        "mlp.gate_proj": (14336, 4096),
        "mlp.up_proj": (14336, 4096),
        "mlp.down_proj": (4096, 14336),
    }
    # 32 layers, a key and a value of 8 heads of 128 numbers, 2 bytes each.
    assert card.kv_bytes(1) == 2 * 32 * 8 * 128 * 2 == 131_072
    assert card.kv_bytes(8192, 4) == 4 * 8192 * 131_072
    assert card.kv_bytes(8192, 4, 8) == card.kv_bytes(8192, 4) / 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("context", (0,)), ("batch", (1, -1)), ("bits", (1, 1, 0)), ("bits", (1, 1, -8))],
)
def test_a_cache_of_nothing_is_refused(name, arguments):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        CARDS[EMBEDDED].kv_bytes(*arguments)


def test_the_nearest_ungated_model():
    assert similar(CARDS["meta-llama/Llama-2-70b-hf"].n_params) == "Qwen/Qwen3-8B"
    assert similar(CARDS["meta-llama/Llama-3.2-3B"].n_params).endswith(
        "2.5-3B-Instruct"
    )
    assert similar(1) == ORIGINAL
    with pytest.raises(ValueError, match="n_params must be positive"):
        similar(0)


def test_cards_cost_no_torch():
    code = (
        "import sys, course_utils.models.card; "
        "sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_card_is_that_of_the_loaded_model(loaded):
    model, _, card = loaded
    made = from_config(
        model.config.to_dict(),
        name=card.id,
        n_params=sum(p.numel() for p in model.parameters()),
        revision=card.revision,
        source=card.source,
    )
    facts = [name for name in ModelCard.__dataclass_fields__ if name != "licence"]
    assert {f: getattr(made, f) for f in facts} == {f: getattr(card, f) for f in facts}
    assert card.licence == "Apache-2.0"
    assert not card.gated


def test_memory_by_hand():
    card = CARDS[EMBEDDED]
    assert card.memory(16) == 269_030_016
    assert card.memory(8) == 134_515_008
    assert card.memory(4.5) == 134_515_008 * 4.5 / 8
    with pytest.raises(ValueError, match="must be positive"):
        card.memory(0)


def make(n_params: int) -> ModelCard:
    config = {
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "vocab_size": 32_000,
    }
    return from_config(config, name="x", n_params=n_params, revision="", source="")


def test_what_fits_a_t4():
    assert CARDS[EMBEDDED].fits_t4
    # 13 GiB of 16-bit weights and 2 GiB for the rest make exactly 15 GiB.
    exactly = 13 * 2**30 // 2
    assert make(exactly).fits_t4
    assert not make(exactly + 1).fits_t4


def test_missing_fields_of_a_configuration():
    card = make(1)
    assert (card.n_kv_heads, card.head_dim) == (32, 128)
    with pytest.raises(ValueError, match="num_hidden_layers"):
        from_config({}, name="x", n_params=1, revision="", source="")


def test_gpt2_leaves_its_usual_width_out():
    config = AutoConfig.for_model("gpt2").to_dict()
    card = from_config(config, name="x", n_params=1, revision="", source="")
    assert card.intermediate_size == 4 * 768
    assert card.max_context == 1024
    with pytest.raises(ValueError, match="count the loaded model's"):
        card.parameters()
