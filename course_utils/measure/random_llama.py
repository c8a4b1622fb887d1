"""A Llama of any shape with random weights, in 16 bits, NF4 or int8.

Speed and memory do not ask what a model has learned, so a shape that cannot be
downloaded freely, or at all, can be measured with weights drawn at random. Matrices
are drawn and quantized one by one on the device: the most memory in use is that of
the finished model and one matrix.

    half   the 16-bit type of the maker
    nf4    bitsandbytes NF4, blocks of 64, double quantization
    int8   bitsandbytes LLM.int8(), threshold 6

The embedding and the output matrix keep 16 bits in all three.
"""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from course_utils.models import layers
from course_utils.models.cache import ModelError
from course_utils.models.card import ModelCard

KINDS = ("half", "nf4", "int8")
DEVIATION = 0.02


def config_of(card: ModelCard) -> LlamaConfig:
    """Return the configuration that has the shape of a card.

    Raises: ValueError if the card is of another family.
    """
    if card.model_type != "llama":
        raise ValueError(f"{card.id} is of type {card.model_type}; choose a Llama.")
    return LlamaConfig(
        vocab_size=card.vocab_size,
        hidden_size=card.hidden_size,
        intermediate_size=card.intermediate_size,
        num_hidden_layers=card.n_layers,
        num_attention_heads=card.n_heads,
        num_key_value_heads=card.n_kv_heads,
        head_dim=card.head_dim,
        max_position_embeddings=card.max_context,
        tie_word_embeddings=card.tied,
    )


@dataclass(frozen=True)
class Maker:
    """Where and in which 16-bit type the random weights are made."""

    device: torch.device
    dtype: torch.dtype
    generator: torch.Generator

    def draw(self, *shape: int) -> Tensor:
        """Return normal random numbers."""
        found = torch.empty(shape, device=self.device, dtype=self.dtype)
        return found.normal_(0, DEVIATION, generator=self.generator)


def _bitsandbytes() -> ModuleType:
    """Import bitsandbytes.

    Raises: ModelError if it is not installed.
    """
    try:
        import bitsandbytes  # noqa: PLC0415 -- seconds, and only this needs it
    except ImportError as error:
        raise ModelError(
            "bitsandbytes is not installed; run `make book` once, which installs it."
        ) from error
    return bitsandbytes


def _nf4(linear: nn.Linear, make: Maker) -> nn.Module:
    """Return a layer of the same shape with random NF4 weights."""
    bnb = _bitsandbytes()
    new = bnb.nn.Linear4bit(
        *(linear.in_features, linear.out_features, False),
        compute_dtype=make.dtype,
        device="meta",
    )
    new.weight = bnb.nn.Params4bit(
        make.draw(linear.out_features, linear.in_features),
        requires_grad=False,
        blocksize=64,
        quant_type="nf4",
        compress_statistics=True,
        module=new,
    )
    return new.to(make.device)


def _int8(linear: nn.Linear, make: Maker) -> nn.Module:
    """Return a layer of the same shape with random LLM.int8() weights."""
    bnb = _bitsandbytes()
    new = bnb.nn.Linear8bitLt(
        *(linear.in_features, linear.out_features, False),
        has_fp16_weights=False,
        threshold=6.0,
        device="meta",
    )
    # It quantizes on the way from the processor to the device, and only then.
    weight = make.draw(linear.out_features, linear.in_features).cpu()
    new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    return new.to(make.device)


QUANTIZED = {"nf4": _nf4, "int8": _int8}


def build(config: LlamaConfig, kind: str, *, make: Maker) -> LlamaForCausalLM:
    """Return a model of random weights, its decoder's matrices stored as `kind`.

    Raises: ValueError for an unknown kind, ModelError without bitsandbytes.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no kind {kind!r}; choose from {', '.join(KINDS)}.")
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(make.dtype)
    if kind in QUANTIZED:
        for name, linear in layers.linear_layers(model).items():
            model.set_submodule(name, QUANTIZED[kind](linear, make))
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                module.register_parameter(name, _fresh(parameter, make))
    model.tie_weights()
    # The frequencies are computed, not drawn; on meta they have no values.
    model.model.rotary_emb = LlamaRotaryEmbedding(config).to(make.device)
    return model.eval()


def _fresh(parameter: Tensor, make: Maker) -> nn.Parameter:
    """Return random numbers for a matrix and ones for the weight of a norm."""
    if parameter.dim() == 1:
        ones = torch.ones(parameter.shape, device=make.device, dtype=make.dtype)
        return nn.Parameter(ones, requires_grad=False)
    return nn.Parameter(make.draw(*parameter.shape), requires_grad=False)
