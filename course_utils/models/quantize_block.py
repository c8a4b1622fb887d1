"""The linear layers of one decoder layer, quantized: in two passes or in one.

Two passes: statistics of all of them first, with the weights as they are; then the
walk runs the changed layer for the inputs of the next. A few windows at a time.

One pass: when the tokens reach a linear layer, it is quantized and the pass goes on
with its new weights. Half the work, and each one reads what those before it in the
same layer really give; the activations of all tokens are in memory at once.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from course_utils.formats.qtensor import QTensor
from course_utils.methods.statistics import LayerStats, Statistics
from course_utils.models import layers
from course_utils.models.walk import Block

Quantize = Callable[[Tensor, LayerStats], QTensor]
Put = Callable[[Mapping[str, QTensor]], object]
Groups = Sequence[Sequence[str]]  # names in the layer that are handed over together


def quantize_block(
    block: Block,
    groups: Groups,
    quantize: Quantize,
    put: Put,
    *,
    one_pass: bool,
) -> dict[str, QTensor]:
    """Return name in the model -> codes of a block, whose new weights are put in.

    Raises: ValueError as `quantize` does, with the layer's name.
    """
    if one_pass:
        return in_one_pass(block, groups, quantize, put)
    done = in_two_passes(block, groups, quantize)
    put(done)
    return done


def in_two_passes(
    block: Block, groups: Groups, quantize: Quantize
) -> dict[str, QTensor]:
    """Return name in the model -> codes of the linear layers of a block.

    Raises: ValueError as `quantize` does, with the layer's name.
    """
    names = [name for group in groups for name in group]
    weights = finite_weights(block, names)
    stats = block.statistics(names) if names else {}
    found: dict[str, QTensor] = {}
    for group in groups:
        found |= _together(block, group, weights, stats[group[0]], quantize)
    return found


def in_one_pass(
    block: Block,
    groups: Groups,
    quantize: Quantize,
    put: Put,
) -> dict[str, QTensor]:
    """Return the same, and leave the outputs of the changed layer in the block.

    Args:
        block: All windows in one batch.
        groups: Names that read the same input, in the order of the layer.
        quantize: The method.
        put: Puts new weights into the model at once.

    Raises: ValueError as `quantize` does, with the layer's name.
    """
    weights = finite_weights(block, [name for group in groups for name in group])
    found: dict[str, QTensor] = {}
    seen: list[tuple[Tensor, LayerStats]] = []

    def hook(group: Sequence[str]) -> Callable:
        def reached(module: nn.Module, args: tuple) -> None:
            del module
            if not (seen and seen[0][0] is args[0]):
                statistics = Statistics()
                statistics.add(args[0])
                seen[:] = [(args[0], statistics.result())]
            done = _together(block, group, weights, seen[0][1], quantize)
            put(done)
            found.update(done)

        return reached

    with ExitStack() as hooks:
        for group in groups:
            first = block.linear[group[0]]
            handle = first.register_forward_pre_hook(hook(group))
            hooks.callback(handle.remove)
        block.outputs = [block.run(x) for x in block.inputs]
    return found


def finite_weights(block: Block, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights of linear layers of a block.

    Raises: ValueError for one that holds NaN or infinity, before it spoils the inputs
        of those after it.
    """
    weights = {name: layers.weight_of(block.linear[name]).detach() for name in names}
    for name, w in weights.items():
        if not torch.isfinite(w).all():
            raise ValueError(
                f"{block.name(name)}: The weights hold NaN or infinity; load the model "
                "again."
            )
    return weights


def _together(
    block: Block,
    group: Sequence[str],
    weights: Mapping[str, Tensor],
    stats: LayerStats,
    quantize: Quantize,
) -> dict[str, QTensor]:
    """Return name in the model -> codes of matrices that are quantized as one."""
    w = torch.cat([weights[name].float() for name in group])
    try:
        result = quantize(w, stats)
    except ValueError as error:
        raise ValueError(f"{block.name(group[0])}: {error}") from error
    parts = split_rows(result, [len(weights[name]) for name in group])
    return dict(zip(map(block.name, group), parts, strict=True))


def grouped_by_input(stats: Mapping[str, LayerStats]) -> list[list[str]]:
    """Return the names, those with the same statistics object together."""
    groups: dict[int, list[str]] = {}
    for name, found in stats.items():
        groups.setdefault(id(found), []).append(name)
    return list(groups.values())


def split_rows(t: QTensor, sizes: Sequence[int]) -> list[QTensor]:
    """Return a matrix cut into parts of so many rows.

    Raises: ValueError if there are several parts and their rows share a scale.
    """
    if len(sizes) == 1:
        return [t]
    if t.scale.shape[0] != t.q.shape[0]:
        raise ValueError(
            "Rows that share one scale cannot be quantized together; use "
            "stacked=False, or a group size other than 0."
        )
    parts = (x.split(list(sizes)) for x in (t.q, t.scale, t.zero_point))
    # Copies: parts that share memory could not be written to one file.
    order = [None if t.group_of is None else t.group_of.clone() for _ in sizes]
    return [
        QTensor(q.clone(), scale.clone(), zero.clone(), t.spec, group_of)
        for q, scale, zero, group_of in zip(*parts, order, strict=True)
    ]
