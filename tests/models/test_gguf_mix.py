"""The mixture rule: files that llama.cpp writes, and published sizes."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.models import fetch, gguf_file, gguf_header, gguf_mix, llama_cpp
from course_utils.models.card import CARDS

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)
SHAPES = {  # hidden size, layers, tied
    "divisible": (256, 17, False),
    "substituted": (192, 9, True),
    "seventy": (256, 80, True),
}


@pytest.fixture(scope="module", params=SHAPES)
def source(request, tmp_path_factory):
    """A float32 file of a random llama; vocabulary and tokenizer are real."""
    hidden, n_layers, tied = SHAPES[request.param]
    n_tokens = gguf_header.read_header(fetch.gguf_file()).count(gguf_file.TOKENS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=hidden,
        intermediate_size=256,
        num_hidden_layers=n_layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    path = tmp_path_factory.mktemp("mix") / "f32.gguf"
    yield gguf_file.write(LlamaForCausalLM(config), fetch.gguf_file(), path)
    path.unlink()


@built
@pytest.mark.parametrize("name", ["Q4_K_M", "Q5_K_M", "Q6_K", "Q4_0"])
def test_llama_cpp_writes_the_predicted_types_and_bytes(name, source, tmp_path):
    written = llama_cpp.quantize(source, tmp_path / "out.gguf", name)
    header = gguf_header.read_header(source)
    shapes = {n: tensor.shape for n, tensor in header.tensors.items()}
    predicted = gguf_mix.predict(shapes, name)
    assert gguf_file.tensor_types(written) == predicted.types
    stored = gguf_file.tensors(written).values()
    assert predicted.n_bytes == sum(tensor.n_bytes for tensor in stored)
    assert predicted.n_weights == sum(tensor.n_weights for tensor in stored)
    assert gguf_mix.file_bytes(header, name) == written.stat().st_size


# llama.cpp's own table for this model, in tools/quantize/README.md: bits per weight.
README_8B = {
    "Q4_K_M": 4.8944,
    "Q5_K_M": 5.7036,
    "Q6_K": 6.5633,
    "Q8_0": 8.5008,
    "F16": 16.0005,
}


@pytest.mark.parametrize("name", README_8B)
def test_llama_3_1_8b_has_the_published_bits_per_weight(name):
    shapes = gguf_mix.llama_shapes(CARDS["meta-llama/Llama-3.1-8B"])
    predicted = gguf_mix.predict(shapes, name)
    assert predicted.bits_per_weight == pytest.approx(README_8B[name], abs=5e-5)


@pytest.mark.parametrize(
    ("model", "bits", "gigabytes"),
    [
        ("meta-llama/Llama-2-7b-hf", 4.844, 4.080),
        ("meta-llama/Llama-2-13b-hf", 4.834, 7.865),
        ("meta-llama/Llama-2-70b-hf", None, 41.4),
    ],
)
def test_llama_2_has_the_published_file_sizes(model, bits, gigabytes):
    """Sizes of Q4_K_M files on the hub; metadata adds less than their last digit."""
    predicted = gguf_mix.predict(gguf_mix.llama_shapes(CARDS[model]), "Q4_K_M")
    last_digit = 0.05 if gigabytes > 10 else 0.0005
    assert predicted.n_bytes / 1e9 == pytest.approx(gigabytes, abs=last_digit)
    if bits:
        assert predicted.bits_per_weight == pytest.approx(bits, abs=5e-4)


@pytest.mark.parametrize("n_layers", [8, 16, 32, 40, 80])
def test_half_of_the_layers_get_the_larger_type(n_layers):
    larger = [i for i in range(n_layers) if gguf_mix.gets_larger(i, n_layers)]
    assert len(larger) == n_layers // 2
    eighth = n_layers // 8
    assert set(range(eighth)) <= set(larger)
    assert set(range(n_layers - eighth, n_layers)) <= set(larger)


def test_shapes_of_a_card_are_those_of_its_file():
    """The embedded model's own file names the same tensors."""
    card = CARDS[next(name for name in CARDS if "SmolLM2-135M" in CARDS[name].id)]
    header = gguf_header.read_header(fetch.gguf_file())
    expected = {name: tensor.shape for name, tensor in header.tensors.items()}
    assert gguf_mix.llama_shapes(card) == expected


def test_other_names_and_models_are_refused():
    with pytest.raises(ValueError, match=r"Unknown mixture 'Q3_K_M'.*Q4_K_M"):
        gguf_mix.predict({}, "Q3_K_M")
    with pytest.raises(ValueError, match="qwen3 model; only llama"):
        gguf_mix.llama_shapes(CARDS["Qwen/Qwen3-0.6B"])
