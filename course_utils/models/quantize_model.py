"""One driver for every method: the whole model, layer by layer.

    found = quantize_model(model, tokens, partial(gptq.quantize, spec=spec))
    with layers.swapped(model, {name: t.dequantize() for name, t in found.items()}):
        ...

Each layer reads the outputs of the layers that are quantized already, so that it can
make up for their errors. The model has its own weights again when the driver returns.

With a `folder` each finished layer is kept there, and a run that was interrupted goes
on after the last one; the result has the same bytes as that of a run in one go.

Left out: windows of different lengths.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from course_utils.formats.qtensor import QTensor
from course_utils.models import kept_layers, layers
from course_utils.models.cache import Progress
from course_utils.models.quantize_block import (
    Quantize,
    grouped_by_input,
    quantize_block,
)
from course_utils.models.walk import check_tokens, walk

BATCH = 4  # windows at a time, of two passes


def quantize_model(  # noqa: PLR0913 -- settings of one run, each by its name
    model: PreTrainedModel,
    tokens: Tensor,
    quantize: Quantize,
    *,
    names: Collection[str] | None = None,
    folder: Path | None = None,
    stacked: bool = False,
    one_pass: bool = False,
    progress: Progress = print,
) -> dict[str, QTensor]:
    """Return every linear layer of the decoder, quantized.

    Args:
        model: The model; it has its own weights when this returns or raises.
        tokens: Calibration tokens.
        quantize: Called with the weight (out, in) and the statistics of its inputs.
        names: Layers to quantize, as `layers.linear_layers` calls them; None is all.
        folder: Where finished layers are kept, to resume; None keeps none.
        stacked: Hand layers that read the same input over as one matrix, their rows
            on top of each other. Faster, for methods that treat each row alone.
        one_pass: Quantize each matrix when the tokens reach it, in one pass of all of
            them: half the work, more memory. See `quantize_block`.
        progress: Is told one line a layer.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError for unknown names, tokens that are not calibration tokens, a
        folder of another run, or as `quantize` does, with the layer's name.
    """
    chosen = _chosen(model, names)
    check_tokens(tokens, vocab=model.config.vocab_size)
    kept = kept_layers.open_folder(
        folder, model, tokens, quantize, [*sorted(chosen), f"one_pass={one_pass}"]
    )
    groups = _groups(model, tokens, stacked=stacked)
    found: dict[str, QTensor] = {}
    with ExitStack() as changed:

        def put(done: Mapping[str, QTensor]) -> None:
            weights = {name: t.dequantize() for name, t in done.items()}
            changed.enter_context(layers.swapped(model, weights))

        for block in walk(model, tokens, batch=len(tokens) if one_pass else BATCH):
            changed.close()  # the walk has the outputs of the layer before
            todo = [[n for n in group if block.name(n) in chosen] for group in groups]
            todo = [group for group in todo if group]
            done = kept.read(block.index)
            if done is None:
                done = quantize_block(block, todo, quantize, put, one_pass=one_pass)
                kept.write(block.index, done)
            else:
                put(done)
            found |= done
            progress(f"Layer {block.index + 1}: {len(done)} matrices quantized.")
    return found


def _chosen(model: PreTrainedModel, names: Collection[str] | None) -> set[str]:
    """Return the names of the layers to quantize.

    Raises: ValueError for a name that the model does not have, or if there is none.
    """
    known = layers.linear_layers(model)
    chosen = set(known) if names is None else set(names)
    for name in sorted(chosen - set(known)):
        raise ValueError(f"The model has no linear layer {name!r}.")
    if not chosen:
        raise ValueError(
            "names is empty; name the layers to quantize, or leave it out."
        )
    return chosen


def _groups(
    model: PreTrainedModel, tokens: Tensor, *, stacked: bool
) -> list[list[str]]:
    """Return names in a layer; those that read one input together if `stacked`."""
    first = next(walk(model, tokens[:1]))
    if not stacked:
        return [[name] for name in first.linear]
    return grouped_by_input(first.statistics())
