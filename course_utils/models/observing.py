"""Histograms of what every linear layer of a model reads: where static scales start.

found = histograms(model, tokens)           name -> Histogram, from one pass
T = observers.mse(found[name])
"""

from torch import Tensor
from transformers import PreTrainedModel

from course_utils.methods.observers import Histogram, Observer
from course_utils.models.walk import walk


def histograms(
    model: PreTrainedModel, tokens: Tensor, *, batch: int = 4
) -> dict[str, Histogram]:
    """Return the histogram of |x| over all inputs of each linear layer, by name.

    Args:
        model: The model; it is not changed.
        tokens: Calibration text.
        batch: Windows that run at once.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError as `walk` and `Observer.add` do.
    """
    found: dict[str, Histogram] = {}
    for block in walk(model, tokens, batch=batch):
        seen = {name: Observer() for name in block.linear}
        hooks = [
            layer.register_forward_pre_hook(
                lambda _, args, observer=seen[name]: observer.add(args[0])
            )
            for name, layer in block.linear.items()
        ]
        try:
            block.outputs = [block.run(x) for x in block.inputs]
        finally:
            for hook in hooks:
                hook.remove()
        found |= {block.name(name): seen[name].result() for name in seen}
    return found
