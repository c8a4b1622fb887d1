"""Activations of a decoder: looking at them, and changing them on their way.

A decoder layer reads and writes the residual stream, one vector for each token that all
layers share. Four tensors inside a layer are inputs of linear layers:

    stream       the residual stream behind the layer
    attention    into the query, key and value projections, behind a norm
    output       into the output projection of the attention
    mlp          into the first projections of the MLP, behind a norm
    down         into the last projection of the MLP

Left out: queries, keys and the attention weights themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from course_utils.models.families import family
from course_utils.models.layers import linear_layers

STREAM = "stream"
SITES = (STREAM, "attention", "output", "mlp", "down")

See = Callable[[str, int, Tensor], None]
Change = Callable[[Tensor], Tensor]


def readers(config: PretrainedConfig) -> dict[str, str]:
    """Return the first linear layer that reads each site, by its name in a layer.

    Raises: ValueError for a model type that `families` does not list.
    """
    linear = family(config.model_type).linear
    names = list(linear)
    output = next(name for name in names if linear[name][1] == "query")
    down = next(name for name in names if linear[name][1] == "inner")
    first_of_mlp = names[names.index(output) + 1]
    return {
        "attention": names[0],
        "output": output,
        "mlp": first_of_mlp,
        "down": down,
    }


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the decoder layers in the order in which a token passes through them.

    Raises: ValueError for a model type that `families` does not list.
    """
    return model.get_submodule(family(model.config.model_type).path)


@contextmanager
def watched(model: PreTrainedModel, see: See) -> Iterator[None]:
    """Call `see(site, layer, x)` with every activation while the block lasts.

    Shapes: x (batch, tokens, channels); it is the model's own tensor, so leave it.
    Raises: ValueError for a model type that `families` does not list.
    """
    names = readers(model.config)
    handles = []
    try:
        for index, layer in enumerate(decoder_layers(model)):
            handles.append(
                layer.register_forward_hook(
                    lambda _m, _args, out, i=index: see(STREAM, i, _tensor(out))
                )
            )
            for site, name in names.items():
                handles.append(
                    layer.get_submodule(name).register_forward_pre_hook(
                        lambda _m, args, i=index, s=site: see(s, i, args[0])
                    )
                )
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def changed_inputs(model: PreTrainedModel, change: Change) -> Iterator[None]:
    """Give every linear layer of the decoder `change(x)` in place of its input x.

    Shapes: x (batch, tokens, channels) -> the same.
    Raises: ValueError for a model type that `families` does not list.
    """
    handles = [
        layer.register_forward_pre_hook(lambda _m, args: (change(args[0]), *args[1:]))
        for layer in linear_layers(model).values()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def changed_stream(model: PreTrainedModel, change: Change) -> Iterator[None]:
    """Put `change(x)` in place of the residual stream x behind every decoder layer.

    Shapes: x (batch, tokens, channels) -> the same.
    Raises: ValueError for a model type that `families` does not list.
    """

    def replace(_module: nn.Module, _args: tuple, out: Tensor | tuple):
        new = change(_tensor(out))
        return (new, *out[1:]) if isinstance(out, tuple) else new

    handles = [layer.register_forward_hook(replace) for layer in decoder_layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensor(out: Tensor | tuple) -> Tensor:
    """Return the stream; some versions of transformers return it in a tuple."""
    return out[0] if isinstance(out, tuple) else out
