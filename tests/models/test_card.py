import pytest

from course_utils.models.card import CARDS, EMBEDDED, ORIGINAL, ModelCard, from_config


@pytest.mark.parametrize("name", [EMBEDDED, ORIGINAL])
def test_the_count_is_the_one_that_the_shape_implies(name):
    assert CARDS[name].n_params == CARDS[name].parameters() == 134_515_008


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
    with pytest.raises(ValueError, match="num_attention_heads"):
        from_config({}, name="x", n_params=1, revision="", source="")
