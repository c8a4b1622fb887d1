"""Which module feeds which linear layers, and moving channel factors between them.

A factor s > 0 for each channel can pass from the module that makes the channel to
the layers that read it:

    weight (and bias) of the source / s
    columns of every reader         * s

What the readers compute stays the same up to rounding, so the model does. Method
papers that scale channels (AWQ, SmoothQuant) quantize the readers after that; the
division costs nothing when the model runs.

Sources are norms, whose gain is divided, and projections, whose last rows are. A
projection counts where nothing but a product stands between it and its reader:

    v_proj  -> o_proj       attention averages values, channel by channel
    up_proj -> down_proj    the gate multiplies, channel by channel
    fc1     -> fc2          ReLU passes positive factors on

With grouped heads, one channel of `v_proj` feeds that channel of several query heads,
so these columns of `o_proj` share their factor.

Left out: what an activation that does not pass factors on stands between (`c_fc`
of GPT-2), and models whose norms come after the layer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from course_utils.models.families import family


@dataclass(frozen=True)
class Fold:
    """One place of a decoder layer where factors can pass.

    Attributes:
        source: Name in a layer of the norm or projection that is divided.
        readers: Names in a layer of the linear layers that are multiplied.
        channels: "hidden", "inner" or "value": which channels have a factor each.
        norm: True if the source is a norm.
    """

    source: str
    readers: tuple[str, ...]
    channels: str = "hidden"
    norm: bool = True


def _projection(source: str, reader: str, channels: str) -> Fold:
    return Fold(source, (reader,), channels, norm=False)


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LLAMA = (
    Fold("input_layernorm", _QKV),
    _projection("self_attn.v_proj", "self_attn.o_proj", "value"),
    Fold("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    _projection("mlp.up_proj", "mlp.down_proj", "inner"),
)
_PHI3 = (
    Fold("input_layernorm", ("self_attn.qkv_proj",)),
    _projection("self_attn.qkv_proj", "self_attn.o_proj", "value"),
    Fold("post_attention_layernorm", ("mlp.gate_up_proj",)),
    _projection("mlp.gate_up_proj", "mlp.down_proj", "inner"),
)
_OPT = (
    Fold("self_attn_layer_norm", _QKV),
    _projection("self_attn.v_proj", "self_attn.out_proj", "value"),
    Fold("final_layer_norm", ("fc1",)),
    _projection("fc1", "fc2", "inner"),
)
_GPT2 = (
    Fold("ln_1", ("attn.c_attn",)),
    _projection("attn.c_attn", "attn.c_proj", "value"),
    Fold("ln_2", ("mlp.c_fc",)),
)

# Model type in the configuration -> the folds of a layer, in the order of a token.
FOLDS: dict[str, tuple[Fold, ...]] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _PHI3,
    "opt": _OPT,
    "gpt2": _GPT2,
}


def layer_folds(config: PretrainedConfig) -> tuple[Fold, ...]:
    """Return the folds of every decoder layer of a model.

    Raises: ValueError for a model type that FOLDS does not list, or whose norms come
        after the layer.
    """
    kind = config.model_type
    if kind not in FOLDS:
        raise ValueError(
            f"No folds for model type {kind!r}; known are {', '.join(FOLDS)}. "
            "Add a row to FOLDS."
        )
    if not getattr(config, "do_layer_norm_before", True):
        raise ValueError(
            "The norms of this model come after its layers, so the residual reads "
            "them too and no factor can pass through them."
        )
    return FOLDS[kind]


def full_name(config: PretrainedConfig, layer: int, name: str) -> str:
    """Return the name in the model of a part of one decoder layer."""
    return f"{family(config.model_type).path}.{layer}.{name}"


def reader_factors(fold: Fold, s: Tensor, *, cols: int, head_dim: int) -> Tensor:
    """Return the factor of each column of the readers.

    Args:
        fold: Where the factors pass.
        s: A factor for each channel of the source.
        cols: Columns of a reader.
        head_dim: Channels of a head, for a value projection.

    Shapes: s (n,) -> (cols,).
    """
    if fold.channels != "value":
        return s
    # Query head h reads key-value head h // (cols // n).
    return s.reshape(-1, head_dim).repeat_interleave(cols // len(s), dim=0).flatten()


def n_channels(config: PretrainedConfig, fold: Fold, *, cols: int) -> int:
    """Return how many factors a fold takes; `cols` are the columns of its readers."""
    if fold.channels != "value":
        return cols
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return cols * kv_heads // heads


@contextmanager
def folded(
    model: PreTrainedModel, factors: Mapping[str, Tensor]
) -> Iterator[PreTrainedModel]:
    """Fold factors into a model for the length of a `with` block.

    The model computes the same function. The originals come back at its end, also
    after an error, bit for bit.

    Args:
        model: The model; it is changed in place and restored.
        factors: Full name of a source (`full_name`) -> (n,), all positive.

    Raises: ValueError for a name that is no source, a wrong number of factors or one
        that is not positive and finite, before any change.
    """
    places = _places(model)
    for name, s in factors.items():
        _check(model, places, name, s)
    originals: dict[nn.Parameter, Tensor] = {}
    try:
        with torch.no_grad():
            for name, s in factors.items():
                for parameter, new in _folded(model, *places[name], s):
                    originals.setdefault(parameter, parameter.data)
                    parameter.data = new
        yield model
    finally:
        for parameter, original in originals.items():
            parameter.data = original


def _places(model: PreTrainedModel) -> dict[str, tuple[int, Fold]]:
    """Return layer and fold of each source by its full name."""
    config = model.config
    return {
        full_name(config, i, fold.source): (i, fold)
        for i in range(config.num_hidden_layers)
        for fold in layer_folds(config)
    }


def _check(
    model: PreTrainedModel,
    places: Mapping[str, tuple[int, Fold]],
    name: str,
    s: Tensor,
) -> None:
    """Refuse a name that is no source, and factors that do not fit it."""
    if name not in places:
        raise ValueError(f"Nothing called {name!r} can pass factors on in this model.")
    layer, fold = places[name]
    reader = model.get_submodule(full_name(model.config, layer, fold.readers[0]))
    n = n_channels(model.config, fold, cols=_cols_first(reader).shape[0])
    if s.shape != (n,):
        raise ValueError(f"{name} takes {n} factors, got shape {tuple(s.shape)}.")
    if not (torch.isfinite(s) & (s > 0)).all():
        raise ValueError(f"The factors of {name} must be positive and finite.")


def _cols_first(module: nn.Module) -> Tensor:
    """Return a linear layer's weight with its input channels first."""
    return module.weight if isinstance(module, Conv1D) else module.weight.T


def _folded(
    model: PreTrainedModel, layer: int, fold: Fold, s: Tensor
) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield the parameters that a fold changes, with their new values."""
    config = model.config
    source = model.get_submodule(full_name(config, layer, fold.source))
    s = s.detach().to(source.weight.device, torch.float32)
    for parameter in (source.weight, getattr(source, "bias", None)):
        if parameter is not None:
            yield parameter, _divided(parameter, s, conv=isinstance(source, Conv1D))
    for name in fold.readers:
        reader = model.get_submodule(full_name(config, layer, name))
        cols = _cols_first(reader).shape[0]
        by_col = reader_factors(fold, s, cols=cols, head_dim=_head_dim(config))
        conv = isinstance(reader, Conv1D)
        new = reader.weight * (by_col[:, None] if conv else by_col)
        yield reader.weight, new.to(reader.weight.dtype)


def _head_dim(config: PretrainedConfig) -> int:
    """Return the channels of a head."""
    found = getattr(config, "head_dim", None)
    return found or config.hidden_size // config.num_attention_heads


def _divided(parameter: Tensor, s: Tensor, *, conv: bool) -> Tensor:
    """Return a source's weight or bias with its last channels divided by s."""
    new = parameter.detach().clone()
    if conv and new.ndim == 2:
        new[:, -len(s) :] /= s
    else:
        tail = new[-len(s) :]
        tail /= s.reshape(-1, *[1] * (new.ndim - 1))
    return new
