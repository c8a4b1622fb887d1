"""Importance matrices: what is measured, what is handed over, and that it matters."""

import pytest
import torch
from small_models import small
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.methods.statistics import Statistics
from course_utils.models import (
    fetch,
    gguf_file,
    gguf_header,
    gguf_tensors,
    llama_cpp,
    llama_imatrix,
)
from course_utils.models.cache import ModelError
from course_utils.models.layers import linear_layers

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)
LAYER, NAME = "model.layers.1.mlp.down_proj", "blk.1.ffn_down.weight"


@pytest.fixture
def tokens():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(97, (3, 16), generator=generator)


def test_it_is_the_diagonal_of_the_second_moment(tokens):
    model = small()
    statistics = Statistics()
    layer = linear_layers(model)[LAYER]
    hook = layer.register_forward_pre_hook(lambda _, args: statistics.add(args[0]))
    with torch.no_grad():
        model(tokens)
    hook.remove()
    found = llama_imatrix.mean_squares(model, tokens)
    assert set(found) == {llama_imatrix.file_name(n) for n in linear_layers(model)}
    # Sums of 48 squares in float32, in two orders: each is off by 48 * 2**-24 at most.
    wanted = statistics.result().second_moment.diagonal()
    assert torch.allclose(found[NAME], wanted, rtol=2 * 48 * 2**-24, atol=0)


def test_it_is_a_mean_and_leaves_no_hook(tokens):
    model = small()
    once = llama_imatrix.mean_squares(model, tokens)
    twice = llama_imatrix.mean_squares(model, torch.cat([tokens, tokens]))
    assert torch.allclose(once[NAME], twice[NAME], rtol=2 * 96 * 2**-24, atol=0)
    assert not any(layer._forward_pre_hooks for layer in model.modules())


@pytest.mark.parametrize(
    "name", ["lm_head", "model.layers.x.mlp.down_proj", "model.layers.0.mlp.c_fc"]
)
def test_a_name_that_is_no_layer_of_a_llama_is_refused(name):
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp\.down_proj"):
        llama_imatrix.file_name(name)


def test_no_text_and_broken_numbers_are_refused(tokens):
    with pytest.raises(ValueError, match="no token"):
        llama_imatrix.mean_squares(small(), tokens[:0])
    broken = small()
    linear_layers(broken)[LAYER].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        llama_imatrix.mean_squares(broken, tokens)
    with pytest.raises(ValueError, match="negative"):
        llama_imatrix.check({NAME: torch.tensor([1.0, -1.0])})


def test_the_weighted_error_is_the_sum_of_its_definition():
    w = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    w_hat = torch.tensor([[1.5, 2.0], [3.0, 3.0]])
    importance = torch.tensor([10.0, 100.0])
    assert llama_imatrix.weighted_error(w, w_hat, importance) == 0.25 * 10 + 1 * 100
    with pytest.raises(ValueError, match="one importance for each column"):
        llama_imatrix.weighted_error(w, w_hat, torch.ones(3))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A float32 file of a random llama whose rows are one block of 256."""
    n_tokens = gguf_header.read_header(fetch.gguf_file()).count(gguf_file.TOKENS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    path = tmp_path_factory.mktemp("imatrix") / "f32.gguf"
    yield gguf_file.write(LlamaForCausalLM(config), fetch.gguf_file(), path)
    path.unlink()


def loud_columns(source, size=1000.0):
    """Return an importance that makes every fifth column of each matrix count.

    Columns of one part of a block that count alike would change nothing.
    """
    found = {}
    for name, tensor in gguf_file.tensors(source).items():
        if len(tensor.shape) == 2 and name.startswith("blk."):
            found[name] = torch.ones(tensor.shape[-1])
            found[name][::5] = size
    return found


@built
@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K_M", "Q2_K"])
def test_llama_cpp_reads_it_and_the_weighted_error_falls(kind, source, tmp_path):
    importance = loud_columns(source)
    plain = llama_cpp.quantize(source, tmp_path / "plain.gguf", kind)
    equal = {name: torch.ones_like(x) for name, x in importance.items()}
    even = llama_cpp.quantize(source, tmp_path / "even.gguf", kind, importance=equal)
    with_it = llama_cpp.quantize(
        source, tmp_path / "with.gguf", kind, importance=importance
    )
    assert gguf_file.tensor_types(plain) == gguf_file.tensor_types(with_it)
    w = gguf_tensors.read(source, NAME)
    errors = [
        llama_imatrix.weighted_error(w, gguf_tensors.read(path, NAME), importance[NAME])
        for path in (plain, even, with_it)
    ]
    # The search is the same in the last two: only what counts differs.
    assert errors[2] < errors[1]
    assert errors[2] < errors[0]


@built
def test_types_that_need_one_are_refused_without_and_made_with(source, tmp_path):
    target = tmp_path / "low.gguf"
    with pytest.raises(ModelError, match="importance matrix"):
        llama_cpp.quantize(source, target, "IQ2_XS")
    assert not target.exists()
    llama_cpp.quantize(source, target, "IQ2_XS", importance=loud_columns(source))
    assert "IQ2_XS" in gguf_file.tensor_types(target).values()


@built
def test_an_importance_of_another_model_is_refused(source, tmp_path):
    importance = loud_columns(source)
    wrong = importance | {NAME: torch.ones(255)}
    with pytest.raises(ModelError, match=r"ffn_down.*255"):
        llama_cpp.quantize(source, tmp_path / "a.gguf", "Q4_0", importance=wrong)
    unknown = importance | {"blk.9.ffn_down.weight": torch.ones(256)}
    with pytest.raises(ModelError, match=r"blk\.9"):
        llama_cpp.quantize(source, tmp_path / "a.gguf", "Q4_0", importance=unknown)
    broken = importance | {NAME: torch.full((256,), float("inf"))}
    with pytest.raises(ValueError, match="infinity"):
        llama_cpp.quantize(source, tmp_path / "a.gguf", "Q4_0", importance=broken)
    assert not (tmp_path / "a.gguf").exists()
