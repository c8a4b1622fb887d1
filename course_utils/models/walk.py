"""The decoder layer by layer, each with its inputs: how calibration runs.

    for block in walk(model, tokens):
        stats = block.statistics()          what each linear layer reads
        ...                                 change the layer's weights, or not

The tokens pass through the embedding once. Then one layer at a time reads the inputs,
and when the next block is asked for, the outputs of the layer as it is by then become
the next inputs. So each layer is calibrated on what the changed layers before it give.
One layer's inputs are held at a time: tokens * hidden size * 4 bytes.

Left out: models whose layers differ in their attention masks, and padding; every
window has the same length.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.methods.statistics import LayerStats, Statistics
from course_utils.models.evaluating import evaluating
from course_utils.models.families import family

Call = tuple[tuple, dict]  # what a layer is called with besides the hidden states


@dataclass(eq=False)
class Block:
    """One decoder layer and the hidden states that it reads.

    Attributes:
        index: Of the layer, from 0.
        layer: The module.
        path: Its name in the model, such as `model.layers.0`.
        linear: Name in the layer -> linear module, in the order of `families`.
        inputs: Hidden states of each batch, (batch, seq, hidden).
        calls: How the layer is called besides, by the shape of the batch.
        outputs: Of the changed layer, if somebody has them; None lets the walk run it.
    """

    index: int
    layer: nn.Module
    path: str
    linear: dict[str, nn.Module]
    inputs: list[Tensor]
    calls: dict[tuple, Call] = field(repr=False)
    outputs: list[Tensor] | None = None

    def name(self, linear: str) -> str:
        """Return the name in the model of a linear layer of this block."""
        return f"{self.path}.{linear}"

    def run(self, x: Tensor) -> Tensor:
        """Return the layer's output for one of `inputs`, with its present weights.

        Shapes: x (batch, seq, hidden) -> the same.
        Raises: ValueError if x has another shape than every batch of `inputs`.
        """
        if tuple(x.shape[:2]) not in self.calls:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; give one of the inputs, of "
                f"{' or '.join(str(shape) for shape in self.calls)} tokens."
            )
        args, kwargs = self.calls[tuple(x.shape[:2])]
        with evaluating(self.layer):
            out = self.layer(x, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    def statistics(
        self, names: Collection[str] | None = None, *, keep_inputs: int = 0
    ) -> dict[str, LayerStats]:
        """Run the layer once on all inputs; return what its linear layers read.

        Layers that read the same tensor get the same object.

        Args:
            names: Of linear layers in this layer; None is all of them.
            keep_inputs: Tokens of each layer to keep as they are.

        Raises: ValueError for an unknown name, or as `Statistics.add` does.
        """
        chosen = list(self.linear) if names is None else list(names)
        for name in chosen:
            if name not in self.linear:
                raise ValueError(
                    f"The layer has no linear layer {name!r}; it has "
                    f"{', '.join(self.linear)}."
                )
        # In the order of `families` the last one is reached last.
        last = [name for name in self.linear if name in chosen][-1:]
        watch = _Watch(keep_inputs, *last)
        with ExitStack() as hooks:
            for name in chosen:
                handle = self.linear[name].register_forward_pre_hook(watch.hook(name))
                hooks.callback(handle.remove)
            for x in self.inputs:
                with suppress(_Reached):
                    self.run(x)
                watch.end_of_batch()
        found = {name: sums.result() for name, sums in watch.sums.items()}
        return {name: found[watch.owner[name]] for name in chosen}


class _Reached(Exception):
    """What a pass was run for is known; the rest need not run."""


class _Watch:
    """Collects the inputs of linear layers; those that share one are counted once.

    When the last layer is reached, the rest of the pass is not run.
    """

    def __init__(self, keep_inputs: int, last: str = "") -> None:
        self.keep_inputs = keep_inputs
        self.last = last
        self.owner: dict[str, str] = {}
        self.sums: dict[str, Statistics] = {}
        self._seen: dict[str, Tensor] = {}

    def hook(self, name: str):
        def see(module: nn.Module, args: tuple) -> None:
            del module
            x = args[0]
            if name not in self.owner:  # the first batch shows who shares
                same = (other for other, y in self._seen.items() if y is x)
                self.owner[name] = next(same, name)
                if self.owner[name] == name:
                    # Held until the batch ends, so that no other tensor is this one.
                    self._seen[name] = x
                    self.sums[name] = Statistics(keep_inputs=self.keep_inputs)
            if self.owner[name] == name:
                self.sums[name].add(x)
            if name == self.last:
                raise _Reached

        return see

    def end_of_batch(self) -> None:
        self._seen.clear()


def walk(model: PreTrainedModel, tokens: Tensor, *, batch: int = 4) -> Iterator[Block]:
    """Yield the decoder layers in order, each with its inputs.

    Args:
        model: The model; its weights are read, never changed.
        tokens: Ids of the calibration text, cut into windows.
        batch: Windows that run at once.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError if tokens is not such a tensor, or for a model type that
        `families` does not list or whose layers differ in their masks.
    """
    check_tokens(tokens, vocab=model.config.vocab_size)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}.")
    kinds = set(getattr(model.config, "layer_types", None) or ())
    if len(kinds) > 1:
        raise ValueError(
            f"The layers of this model differ ({', '.join(sorted(kinds))}); the walk "
            "calls all of them alike."
        )
    kind = family(model.config.model_type)
    inputs, calls = _first_inputs(model, kind.path, tokens.split(batch))
    for index in range(model.config.num_hidden_layers):
        path = f"{kind.path}.{index}"
        layer = model.get_submodule(path)
        linear = {name: layer.get_submodule(name) for name in kind.linear}
        block = Block(index, layer, path, linear, inputs, calls)
        yield block
        for i, x in enumerate(inputs):
            inputs[i] = block.run(x) if block.outputs is None else block.outputs[i]


def check_tokens(tokens: Tensor, *, vocab: int) -> None:
    """Raise ValueError unless `tokens` are windows of token ids below `vocab`."""
    if not isinstance(tokens, Tensor):
        raise ValueError(
            f"Calibration needs a (windows, length) tensor of token ids, got a "
            f"{type(tokens).__name__}; `calibration.windows` makes one from texts."
        )
    whole = not (tokens.is_floating_point() or tokens.dtype == torch.bool)
    if tokens.ndim != 2 or not tokens.numel() or not whole:
        raise ValueError(
            "Calibration needs a (windows, length) tensor of token ids, got "
            f"{tokens.dtype} of shape {tuple(tokens.shape)}."
        )
    if tokens.min() < 0 or tokens.max() >= vocab:
        raise ValueError(
            f"The token ids run from {int(tokens.min())} to {int(tokens.max())}; this "
            f"model has 0 to {vocab - 1}."
        )


def _first_inputs(
    model: PreTrainedModel, path: str, batches: Collection[Tensor]
) -> tuple[list[Tensor], dict[tuple, Call]]:
    """Return what the first layer reads, and how it is called, for each batch."""
    inputs: list[Tensor] = []
    calls: dict[tuple, Call] = {}

    def catch(module: nn.Module, args: tuple, kwargs: dict) -> None:
        del module
        kwargs = dict(kwargs)
        x = kwargs.pop("hidden_states") if not args else args[0]
        inputs.append(x)
        calls.setdefault(tuple(x.shape[:2]), (args[1:], kwargs))
        raise _Reached

    first = model.get_submodule(f"{path}.0")
    handle = first.register_forward_pre_hook(catch, with_kwargs=True)
    device = next(model.parameters()).device
    try:
        with evaluating(model):
            for ids in batches:
                with suppress(_Reached):
                    model(input_ids=ids.to(device), use_cache=False)
    finally:
        handle.remove()
    return inputs, calls
