"""llm-compressor's AWQ on a few layers of a model, beside ours on the same layers.

The layers in question become a small model of their own. What the layers before them
give stands in place of its embedding, so that both programs read the same numbers, and
a whole model can be done a few layers at a time.

llm-compressor 0.14.0.1 asks for pinned memory in AWQ, which needs an accelerator. On a
processor that one call is made to do nothing.
"""

import copy
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from course_utils.formats.affine import QuantSpec
from course_utils.measure.quantizer_pairs import library
from course_utils.methods import awq, rtn
from course_utils.models import awq_model, layers
from course_utils.models.folds import full_name, layer_folds
from course_utils.models.walk import walk


def version() -> str:
    """Return llm-compressor's version.

    Raises: ValueError if it is not installed.
    """
    folder = str(Path(sys.prefix) / "apart")
    for found in metadata.distributions(name="llmcompressor", path=[folder]):
        return found.version
    raise ValueError(
        "llmcompressor is not installed, so there is nothing to compare with; run "
        "`make test` once, which installs it."
    )


class _Stored(nn.Module):
    """Gives the hidden states of the window whose number is its first token."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.register_buffer("hidden", hidden)

    def forward(self, ids: Tensor) -> Tensor:
        return self.hidden[ids[:, 0]]


@dataclass(frozen=True, eq=False)
class Part:
    """A few layers of a model as a model.

    Attributes:
        model: The small model; its layers are copies.
        ids: What to call it with, (n_windows, seq_len): the first token of a window is
            its number.
    """

    model: PreTrainedModel
    ids: Tensor


def part_of(model: LlamaForCausalLM, tokens: Tensor, *, first: int, last: int) -> Part:
    """Return layers `first` to `last` - 1 with what they read on `tokens`.

    Raises: ValueError if the model has no such layers.
    """
    if not 0 <= first < last <= model.config.num_hidden_layers:
        raise ValueError(
            f"The model has {model.config.num_hidden_layers} layers; {first} to "
            f"{last - 1} are not all among them."
        )
    block = next(b for b in walk(model, tokens) if b.index == first)
    config = copy.deepcopy(model.config)
    config.num_hidden_layers, config.layer_types = last - first, None
    # Ids are numbers of windows; nothing is predicted.
    config.vocab_size, config.tie_word_embeddings = max(8, len(tokens)), False
    small = LlamaForCausalLM(config).float().eval()
    for i in range(first, last):
        original = model.model.layers[i].state_dict()
        small.model.layers[i - first].load_state_dict(original)
    small.model.embed_tokens = _Stored(torch.cat(block.inputs))
    ids = torch.zeros_like(tokens)
    ids[:, 0] = torch.arange(len(tokens))
    return Part(small, ids)


def compress(part: Part, *, bits: int, group_size: int) -> PreTrainedModel:
    """Return the part's model, scaled and given a grid by llm-compressor, in place."""
    library("llmcompressor.pipelines.cache").IntermediatesCache.pin_memory = _nothing
    n_windows, length = part.ids.shape
    weights = {"num_bits": bits, "type": "int", "symmetric": False}
    weights |= {"strategy": "group", "group_size": group_size}
    columns = {"input_ids": part.ids, "attention_mask": torch.ones_like(part.ids)}
    # The library insists on a tokenizer and a folder with the configuration.
    unused = Tokenizer(WordLevel({"unused": 0}, unk_token="unused"))
    with tempfile.TemporaryDirectory() as folder:
        part.model.config.save_pretrained(folder)
        part.model.config._name_or_path = folder
        return library("llmcompressor").oneshot(
            model=part.model,
            processor=PreTrainedTokenizerFast(
                tokenizer_object=unused, pad_token="unused"
            ),
            dataset=library("datasets").Dataset.from_dict(
                {name: value.tolist() for name, value in columns.items()}
            ),
            recipe=_recipe(weights),
            num_calibration_samples=n_windows,
            max_seq_length=length,
            pipeline="sequential",
            shuffle_calibration_samples=False,
        )


def _recipe(weights: Mapping[str, object]) -> list[object]:
    """Return the library's AWQ, then its rounding of every linear layer."""
    awq_module = library("llmcompressor.modifiers.transform.awq")
    grid_module = library("llmcompressor.modifiers.quantization")
    groups = {"group_0": {"targets": ["Linear"], "weights": dict(weights)}}
    return [
        awq_module.AWQModifier(duo_scaling=False),
        grid_module.QuantizationModifier(config_groups=groups, ignore=["lm_head"]),
    ]


def _nothing(*_args: object, **_named: object) -> None:
    """Stand in for `pin_memory`."""


def factors_of(
    changed: PreTrainedModel, original: PreTrainedModel
) -> dict[str, Tensor]:
    """Return the factors that a library folded in, by the full name of the source.

    Read off the columns of the first reader, new over old, by least squares.
    """
    found = {}
    for i in range(original.config.num_hidden_layers):
        for fold in layer_folds(original.config):
            reader = full_name(original.config, i, fold.readers[0])
            new, old = (m.get_submodule(reader).weight for m in (changed, original))
            s = (new * old).sum(dim=0) / (old * old).sum(dim=0)
            if not torch.equal(new, old):
                found[full_name(original.config, i, fold.source)] = s.detach()
    return found


def rounded_codes(module: nn.Module) -> Tensor:
    """Return the weights that llm-compressor's grid gives a linear layer."""
    forward = library("compressed_tensors.quantization.lifecycle.forward")
    scheme = module.quantization_scheme.weights
    return forward.fake_quantize(
        module.weight, module.weight_scale, module.weight_zero_point, scheme
    )


def alpha_of(s: Tensor, s_X: Tensor) -> float:
    """Return the exponent that makes s_X into s, up to a common factor."""
    widths = [(t.max() / t.min()).log() for t in (s.double(), s_X.double())]
    return (widths[0] / widths[1]).item()


def compare(
    model: LlamaForCausalLM,
    tokens: Tensor,
    *,
    layers_of: tuple[int, int],
    spec: QuantSpec,
    n_grid: int = 20,
) -> dict[str, object]:
    """Run both programs on some layers; return what they found and how long it took.

    Returns: "ours" and "theirs", alpha as a number of the grid for each source by its
        name in the part; "largest", the largest relative difference of the library's
        factors from s_X^alpha; "codes" and "different", of the rounded weights;
        "seconds" and "library_seconds".
    """
    part = part_of(model, tokens, first=layers_of[0], last=layers_of[1])
    start = time.perf_counter()
    found = awq_model.search_model(
        part.model, part.ids, spec=spec, n_grid=n_grid, progress=lambda _line: None
    )
    with awq_model.folded_rounding(part.model, found, spec=spec):
        seconds = time.perf_counter() - start
    magnitudes = awq_model.magnitudes(part.model, part.ids)
    original = copy.deepcopy(part.model)
    start = time.perf_counter()
    changed = compress(part, bits=spec.bits, group_size=spec.group_size)
    library_seconds = time.perf_counter() - start
    factors = factors_of(changed, original)
    if factors.keys() - magnitudes.keys():
        raise ValueError("The library folds factors in where this book does not.")
    return {
        "ours": {name: round(one.alpha * (n_grid - 1)) for name, one in found.items()},
        **_read_off(factors, magnitudes, n_grid=n_grid),
        **_codes(changed, spec=spec),
        "seconds": seconds,
        "library_seconds": library_seconds,
    }


def _read_off(
    factors: Mapping[str, Tensor], magnitudes: Mapping[str, Tensor], *, n_grid: int
) -> dict[str, object]:
    """Return the library's alphas, and how far its factors are from s_X^alpha."""
    theirs, largest = {}, 0.0
    for name, s_X in magnitudes.items():
        s = factors.get(name, torch.ones_like(s_X))  # alpha 0 leaves no trace
        theirs[name] = round(alpha_of(s, s_X) * (n_grid - 1))
        expected = awq.scales(s_X, theirs[name] / (n_grid - 1))
        largest = max(largest, (s / expected - 1).abs().max().item())
    return {"theirs": theirs, "largest": largest}


@torch.no_grad()
def _codes(changed: PreTrainedModel, *, spec: QuantSpec) -> dict[str, int]:
    """Count the weights that our rounding makes other than the library's."""
    n = different = 0
    for module in layers.linear_layers(changed).values():
        ours = rtn.quantize(module.weight, spec=spec)
        # A different code is a whole step away; the rest is float32 rounding.
        apart = (ours.dequantize() - rounded_codes(module)).abs()
        step = ours.scale.expand(-1, -1, spec.group_size).reshape(apart.shape)
        n, different = n + apart.numel(), different + int((apart > step / 2).sum())
    return {"codes": n, "different": different}
