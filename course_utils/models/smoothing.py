"""SmoothQuant on a whole model: maxima, factors, and running it in 8 bits.

    maxima = input_maxima(model, tokens)            largest |X_j| of every linear layer
    s = factors(model, maxima, alpha=0.5)           one set for each place of `folds`
    with folded(model, s), in_int8(model):          the smoothed model in W8A8
        ...

The paper smooths what a norm feeds. A llama layer has two more places through which
factors pass, v_proj -> o_proj and up_proj -> down_proj; `norms_only=False` takes them
too. Every factor is computed from the weights as they are, before any folding.

Left out: the output matrix, which stays in float32, as in the paper; the products of
queries with keys and of probabilities with values, which the paper does in 8 bits.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.methods.smoothquant import smoothing_factors
from course_utils.methods.w8a8 import QMAX, W8A8Linear
from course_utils.models import folds
from course_utils.models.layers import linear_layers, swap, weight_of

STATIC = "static"
Rule = Callable[..., Tensor]  # as `smoothing_factors`


def input_maxima(model: PreTrainedModel, tokens: Tensor) -> dict[str, Tensor]:
    """Return the largest |X_j| of each input channel of each linear layer.

    Shapes: tokens (n_windows, seq_len) -> name from `linear_layers`: (cols,).
    Raises: ValueError if there is no token or an input holds NaN or infinity.
    """
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(
            f"Give tokens as (n_windows, seq_len), got shape {tuple(tokens.shape)}."
        )
    found: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor) -> None:
        amax = x.detach().flatten(0, -2).abs().amax(dim=0).float()
        found[name] = torch.maximum(found[name], amax) if name in found else amax

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
        for name, layer in linear_layers(model).items()
    ]
    try:
        with torch.no_grad():
            for window in tokens:
                # The last position alone gets logits, which nobody reads.
                model(input_ids=window[None].to(model.device), logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    for name, amax in found.items():
        if not torch.isfinite(amax).all():
            raise ValueError(f"The inputs of {name} hold NaN or infinity.")
    return found


def factors(
    model: PreTrainedModel,
    maxima: Mapping[str, Tensor],
    *,
    alpha: float,
    norms_only: bool = True,
    rule: Rule = smoothing_factors,
) -> dict[str, Tensor]:
    """Return the smoothing factors of each place, for `folds.folded`.

    Args:
        model: The model, as it was when the maxima were taken.
        maxima: From `input_maxima`.
        alpha: Migration strength, 0 to 1.
        norms_only: Leave out the places behind a projection.
        rule: What makes factors of maxima, weights and alpha.

    Raises: ValueError as `smoothing_factors` does, or for a family without folds.
    """
    by_alpha = partial(rule, alpha=alpha)
    return {
        source: _of_channels(model, place, maxima, by_alpha)
        for source, place in _places(model).items()
        if place[1].norm or not norms_only
    }


def reader_factors(
    model: PreTrainedModel, s: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the factor of each column of the layers that read a folded channel.

    Shapes: s as from `factors` -> name from `linear_layers`: (cols,).
    """
    config, places = model.config, _places(model)
    layers = linear_layers(model)
    found = {}
    for source, of_channel in s.items():
        i, fold = places[source]
        for reader in fold.readers:
            name = folds.full_name(config, i, reader)
            found[name] = folds.reader_factors(
                fold,
                of_channel,
                cols=weight_of(layers[name]).shape[1],
                head_dim=_head_dim(model),
            )
    return found


@contextmanager
def in_int8(
    model: PreTrainedModel,
    *,
    per: str = "token",
    maxima: Mapping[str, Tensor] | None = None,
    per_row: bool = True,
) -> Iterator[PreTrainedModel]:
    """Run every linear layer of the decoder in W8A8 for the length of a `with` block.

    Args:
        model: The model; the layers come back at the end, also after an error.
        per: Scale of the inputs: "token", "tensor" or "static".
        maxima: For "static": the maxima of the inputs as they are now, so divided by
            the factors of `reader_factors` if the model is smoothed.
        per_row: A scale for each row of the weights; False gives one for the matrix.

    Raises: ValueError if "static" has no maxima, or as `W8A8Linear` does.
    """
    if per == STATIC and maxima is None:
        raise ValueError('per="static" needs maxima; take them by input_maxima.')
    modules: dict[str, nn.Module] = {}
    for name, layer in linear_layers(model).items():
        scale = maxima[name].max().item() / QMAX if per == STATIC else per
        w, bias = weight_of(layer), getattr(layer, "bias", None)
        # A layer whose inputs were all zero gets any positive scale.
        modules[name] = W8A8Linear(w, bias, per=scale or 1.0, per_row=per_row)
    originals = swap(model, modules)
    try:
        yield model
    finally:
        swap(model, originals)


def divided(
    maxima: Mapping[str, Tensor], by_reader: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the maxima of the inputs after smoothing.

    Shapes: name: (cols,) -> the same.
    """
    return {
        name: amax / by_reader[name] if name in by_reader else amax
        for name, amax in maxima.items()
    }


def _places(model: PreTrainedModel) -> dict[str, tuple[int, folds.Fold]]:
    """Return layer and fold of each source by its full name."""
    config = model.config
    return {
        folds.full_name(config, i, fold.source): (i, fold)
        for i in range(config.num_hidden_layers)
        for fold in folds.layer_folds(config)
    }


def _of_channels(
    model: PreTrainedModel,
    place: tuple[int, folds.Fold],
    maxima: Mapping[str, Tensor],
    rule: Rule,
) -> Tensor:
    """Return the factors of one place, one for each channel of its source."""
    i, fold = place
    names = [folds.full_name(model.config, i, reader) for reader in fold.readers]
    layers = linear_layers(model)
    w = torch.cat([weight_of(layers[name]).detach().float() for name in names])
    amax = maxima[names[0]]
    n = folds.n_channels(model.config, fold, cols=w.shape[1])
    if n < w.shape[1]:
        # One channel of v_proj feeds several columns: all of them share a factor.
        amax = _shared(amax[None], n, _head_dim(model))[0]
        w = _shared(w.abs(), n, _head_dim(model))
    return rule(amax, w)


def _shared(x: Tensor, n: int, head_dim: int) -> Tensor:
    """Return the largest value over the query heads that share a key-value head.

    Shapes: x (rows, query heads * head_dim) -> (rows, n), n = kv heads * head_dim.
    """
    heads = x.reshape(len(x), n // head_dim, -1, head_dim)  # (rows, kv, shared, dim)
    return heads.amax(dim=2).reshape(len(x), n)


def _head_dim(model: PreTrainedModel) -> int:
    """Return the channels of a head."""
    config = model.config
    found = getattr(config, "head_dim", None)
    return found or config.hidden_size // config.num_attention_heads
