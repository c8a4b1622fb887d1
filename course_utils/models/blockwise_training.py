"""Training a few last layers through their rounding, against the float model itself.

    tail = Tail(model, tokens, n_layers=2)      what the last layers read, computed once
    found = train(tail, start, steps=64)        QTensors, by the name of the layer

The layers before the tail are not changed, so their outputs are computed once and
kept: a step of training runs the tail alone. The target of every position is the
distribution that the float tail gives: self-distillation, no text is labelled. The loss
is KL(float || rounded) in nats, its mean over some positions of each window; the output
matrix is by far the most expensive part of a step, and positions beside each other
teach much the same.

Left out: training earlier layers, whose gradients run through the whole model, and
another temperature than 1.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from course_utils.formats.qtensor import QTensor
from course_utils.methods.qat import QATLinear
from course_utils.methods.statistics import LayerStats
from course_utils.models import layers
from course_utils.models.quantize_block import in_two_passes
from course_utils.models.walk import Block, walk

BATCH = 2  # windows of a step
POSITIONS = 64  # of each window that a step learns from
LEARNING_RATE, STEP_RATE = 2e-4, 2e-3  # of weights; of grid steps, in parts of them
Report = Callable[[int, float], None]


Quantize = Callable[[Tensor, LayerStats], QTensor]


class Tail:
    """The last decoder layers of a model, and what they read on a text.

    Args:
        model: The model; it is not changed.
        tokens: The text in windows.
        n_layers: Decoder layers in the tail.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError if n_layers is not between 1 and those of the model, the
        windows have no token to predict, or as `walk` does.
    """

    def __init__(
        self, model: PreTrainedModel, tokens: Tensor, *, n_layers: int = 2
    ) -> None:
        depth = model.config.num_hidden_layers
        if not 1 <= n_layers <= depth:
            raise ValueError(f"n_layers must be 1 to {depth}, got {n_layers}.")
        self.model, self.tokens = model, tokens
        self.first = depth - n_layers
        for block in walk(model, tokens, batch=1):
            if block.index == self.first:
                break
        self.hidden = torch.cat(block.inputs)  # (n_windows, seq_len, hidden)
        self._calls = block.calls
        self.path = block.path.rpartition(".")[0]
        self.modules = model.get_submodule(self.path)[self.first :]
        self._linear = list(block.linear)
        self.names = [
            f"{self.path}.{index}.{name}"
            for index in range(self.first, depth)
            for name in block.linear
        ]
        with torch.no_grad():
            found = [self.outputs(x[None]) for x in self.hidden]
        self.targets = torch.cat(found)  # as the float tail leaves them

    def outputs(self, x: Tensor) -> Tensor:
        """Return the normed hidden states after the tail, as its layers are now.

        Shapes: x (batch, seq_len, hidden) -> the same.
        """
        args, kwargs = next(iter(self._calls.values()))
        for layer in self.modules:
            out = layer(x, *args, **kwargs)
            x = out[0] if isinstance(out, tuple) else out
        return self.model.base_model.norm(x)

    def weights(self) -> dict[str, Tensor]:
        """Return the float matrices of the tail, (out, in), by name."""
        found = layers.linear_layers(self.model)
        return {name: layers.weight_of(found[name]).detach() for name in self.names}

    def blocks(self) -> Iterator[Block]:
        """Yield the layers with their inputs, as `walk` does for a whole model."""
        inputs = list(self.hidden.split(1))
        calls = {tuple(inputs[0].shape[:2]): next(iter(self._calls.values()))}
        for index, layer in enumerate(self.modules, start=self.first):
            linear = {name: layer.get_submodule(name) for name in self._linear}
            path = f"{self.path}.{index}"
            block = Block(index, layer, path, linear, inputs, calls)
            yield block
            inputs = [block.run(x) for x in inputs]

    def logits(self, window: Tensor) -> Tensor:
        """Return the logits of one of the windows, as the layers are now.

        Shapes: window (seq_len,) -> (seq_len, vocab).
        Raises: ValueError if it is none of `tokens`.
        """
        at = (self.tokens == window).all(dim=1).nonzero() if self._fits(window) else ()
        if not len(at):
            raise ValueError(
                "The tail read other windows; give one of the rows it was made with."
            )
        with torch.no_grad():
            return self.model.lm_head(self.outputs(self.hidden[at[0]])[0])

    def _fits(self, window: Tensor) -> bool:
        return window.shape == self.tokens.shape[1:]


def quantize_tail(tail: Tail, quantize: Quantize) -> dict[str, QTensor]:
    """Return the matrices of the tail, quantized layer by layer on its text.

    Args:
        tail: The layers and what they read.
        quantize: Called with a weight (out, in) and the statistics of its inputs.

    Raises: ValueError as `quantize` does.
    """
    found: dict[str, QTensor] = {}
    with ExitStack() as changed:
        for block in tail.blocks():
            done = in_two_passes(block, [[name] for name in block.linear], quantize)
            rebuilt = {name: t.dequantize() for name, t in done.items()}
            changed.enter_context(layers.swapped(tail.model, rebuilt))
            found |= done
    return found


def train(  # noqa: PLR0913 -- settings of one run, each by its name
    tail: Tail,
    start: Mapping[str, QTensor],
    *,
    steps: int,
    rate: float = LEARNING_RATE,
    step_rate: float = STEP_RATE,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, QTensor]:
    """Return the matrices of the tail after training through their rounding.

    Args:
        tail: The layers and what they read.
        start: Name -> what rounds the float matrix before training.
        steps: Of the optimizer; 0 returns the float weights on the grids of `start`.
        rate: Learning rate of the weights at the start; it falls to 0 along a cosine.
        step_rate: The same of the grid steps, relative to their mean.
        seed: Of the order of windows and positions.
        report: Called with the number of each step and its loss.

    Raises: ValueError if steps is below 0, `start` misses a matrix, or the loss is no
        finite number; the model has its own weights again.
    """
    if steps < 0 or set(start) != set(tail.names):
        raise ValueError(
            f"Give steps of 0 or more and a start for each of the {len(tail.names)} "
            f"matrices of the tail; got {steps} and {len(start)}."
        )
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad(), _trained(tail, start) as modules:
        optimizer = _optimizer(modules.values(), rate, step_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        for step, windows in enumerate(_batches(len(tail.hidden), steps, random), 1):
            loss = distillation_loss(tail, windows, random)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"The loss of step {step} is {loss.item()}; lower the learning "
                    "rates."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if report:
                report(step, loss.item())
        return {name: module.quantized() for name, module in modules.items()}


def distillation_loss(tail: Tail, windows: Tensor, random: torch.Generator) -> Tensor:
    """Return KL(float || as it is now) in nats, the mean over drawn positions.

    Shapes: windows (batch,), indices -> ().
    """
    chosen = torch.randperm(tail.hidden.shape[1], generator=random)[:POSITIONS]
    head = tail.model.lm_head
    with torch.no_grad():
        target = head(tail.targets[windows][:, chosen]).log_softmax(dim=-1)
    found = head(tail.outputs(tail.hidden[windows])[:, chosen]).log_softmax(dim=-1)
    both = (log_p.flatten(0, 1) for log_p in (found, target))
    return F.kl_div(*both, log_target=True, reduction="batchmean")


def _batches(n: int, steps: int, random: torch.Generator) -> Iterator[Tensor]:
    """Yield windows for each step; every window is used before one is used again."""
    waiting = torch.empty(0, dtype=torch.int64)
    size = min(BATCH, n)
    for _ in range(steps):
        if len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=random)])
        yield waiting[:size]
        waiting = waiting[size:]


def _optimizer(modules: Iterator[QATLinear], rate: float, step_rate: float):
    """Return Adam; each matrix's grid steps move in parts of their own mean."""
    groups = []
    for module in modules:
        groups.append({"params": [module.v], "lr": rate})
        mean = module.s.detach().mean().item()
        groups.append({"params": [module.s], "lr": step_rate * mean})
    return torch.optim.Adam(groups, betas=(0.9, 0.95))


@contextmanager
def _trained(
    tail: Tail, start: Mapping[str, QTensor]
) -> Iterator[dict[str, QATLinear]]:
    """Put layers that train in the place of the tail's; give the others back."""
    known = layers.linear_layers(tail.model)
    required = {p: p.requires_grad for p in tail.model.parameters()}
    modules: dict[str, QATLinear] = {}
    for name, found in start.items():
        module = known[name]
        modules[name] = QATLinear(module.weight.detach(), module.bias, start=found)
    originals = {name: known[name] for name in start}
    for parameter in required:
        parameter.requires_grad_(False)
    layers.swap(tail.model, modules)
    try:
        yield modules
    finally:
        layers.swap(tail.model, originals)
        for parameter, flag in required.items():
            parameter.requires_grad_(flag)
