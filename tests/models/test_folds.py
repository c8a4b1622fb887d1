"""Folding factors: every family keeps its function, and gets its weights back."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.models import folds
from course_utils.models.families import FAMILIES

LLAMA = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
SIZES = {
    "opt": {
        "vocab_size": 20,
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "ffn_dim": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "pad_token_id": 0,
    },
    "gpt2": {"vocab_size": 20, "n_embd": 16, "n_inner": 40, "n_layer": 2, "n_head": 4},
    # Heads wider than hidden_size / num_attention_heads, as in the real ones.
    "qwen3": {**LLAMA, "head_dim": 8},
}


def tiny(kind, **changes):
    """A random model of a family in float64, with uneven gains and biases."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES.get(kind, LLAMA), **changes)
    model = AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            parameter.data = torch.rand_like(parameter) + 0.5
        elif parameter.ndim == 1:
            parameter.data = torch.randn_like(parameter)
        else:
            parameter.data *= 10  # attention and MLP must matter beside the residual
    return model


def all_factors(model):
    """Factors from 1/4 to 4 for every source; powers of two divide without rounding."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for i in range(model.config.num_hidden_layers):
        for fold in folds.layer_folds(model.config):
            name = folds.full_name(model.config, i, fold.readers[0])
            cols = folds._cols_first(model.get_submodule(name)).shape[0]
            n = folds.n_channels(model.config, fold, cols=cols)
            source = folds.full_name(model.config, i, fold.source)
            found[source] = 2.0 ** torch.randint(-2, 3, (n,), generator=generator)
    return found


@torch.inference_mode()
def logits(model):
    return model(torch.arange(1, 15)[None]).logits


def test_every_family_has_folds():
    assert folds.FOLDS.keys() == FAMILIES.keys()
    for kind, rows in folds.FOLDS.items():
        readers = [name for fold in rows for name in fold.readers]
        assert set(readers) <= FAMILIES[kind].linear.keys()
        assert len(readers) == len(set(readers))


@pytest.mark.parametrize("kind", folds.FOLDS)
def test_the_function_is_the_same(kind):
    model = tiny(kind)
    before = logits(model)
    with folds.folded(model, all_factors(model)):
        after = logits(model)
    # Factors are powers of two, so dividing and multiplying by them is exact and every
    # term of a reader's sum is what it was. What is left is the order of sums and the
    # rounding of about 1000 float64 operations in a row.
    assert (before - after).abs().max() <= 2**-53 * 1000 * before.abs().max()


@pytest.mark.parametrize("kind", folds.FOLDS)
def test_each_fold_changes_source_and_readers(kind):
    model = tiny(kind)
    original = {name: p.detach().clone() for name, p in model.named_parameters()}
    for source, s in all_factors(model).items():
        with folds.folded(model, {source: s}):
            changed = {
                name.rpartition(".")[0]
                for name, p in model.named_parameters()
                if not torch.equal(p, original[name])
            }
        layer, fold = folds._places(model)[source]
        readers = {folds.full_name(model.config, layer, r) for r in fold.readers}
        assert changed == {source} | readers


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_originals_come_back_after_an_error(kind):
    model = tiny(kind)
    original = {name: p.detach().clone() for name, p in model.named_parameters()}
    addresses = {name: p.data_ptr() for name, p in model.named_parameters()}
    with (
        pytest.raises(RuntimeError, match="stop"),
        folds.folded(model, all_factors(model)),
    ):
        raise RuntimeError("stop")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, original[name])
        assert parameter.data_ptr() == addresses[name]


def test_grouped_heads_share_factors():
    fold = folds.FOLDS["llama"][1]
    s = torch.arange(1.0, 7)  # 2 key-value heads of 3 channels, for 4 query heads
    got = folds.reader_factors(fold, s, cols=12, head_dim=3)
    assert got.tolist() == [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]


SOURCE = "model.layers.0.input_layernorm"


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"model.layers.0.mlp": torch.ones(16)}, "can pass factors on"),
        ({"model.layers.2.input_layernorm": torch.ones(16)}, "can pass factors on"),
        ({SOURCE: torch.ones(15)}, r"takes 16 factors, got shape \(15,\)"),
        ({"model.layers.0.self_attn.v_proj": torch.ones(16)}, "takes 8 factors"),
        ({SOURCE: torch.zeros(16)}, "positive and finite"),
        ({SOURCE: torch.full((16,), torch.inf)}, "positive and finite"),
        ({SOURCE: torch.full((16,), torch.nan)}, "positive and finite"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_change(factors, message):
    model = tiny("llama")
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    good = {"model.layers.1.input_layernorm": torch.full((16,), 2.0)}
    with pytest.raises(ValueError, match=message), folds.folded(model, good | factors):
        pass
    assert before == {name: p.data_ptr() for name, p in model.named_parameters()}


def test_norms_after_the_layer_are_refused():
    model = tiny("opt", do_layer_norm_before=False)
    with pytest.raises(ValueError, match="come after its layers"):
        folds.layer_folds(model.config)


def test_an_unknown_model_type_is_refused():
    config = AutoConfig.for_model("bloom")
    with pytest.raises(ValueError, match="No folds for model type 'bloom'"):
        folds.layer_folds(config)
