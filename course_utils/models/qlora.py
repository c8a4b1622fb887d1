"""Adapters in a model: frozen layers, one training step, and ways to merge.

    with adapted(model, r=8, alpha=16) as found:     NF4 and adapters in every matrix
        optimizer = torch.optim.AdamW(parameters(found), lr=4e-4)
        loss = train_step(model, tokens, optimizer)
    weights = merged(originals, found)               W + (alpha / r) B A, by name

The loss is the mean over all tokens but the first of each window. Everything besides A
and B is frozen: embedding, output matrix, norms and biases.

Left out: dropout, gradient checkpoints and 16-bit arithmetic.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.methods import lora, qlora
from course_utils.methods.qlora import FrozenNF4
from course_utils.models.layers import features_of, linear_layers, swap, weight_of

Rule = Callable[..., Tensor]  # as `qlora.forward`


class AdaptedLinear(nn.Module):
    """A frozen linear layer with an adapter beside it.

    Attributes:
        base: The frozen matrix, in NF4 or as float (out, in).
        A: (r, in), trained.
        B: (out, r), trained; 0 at the start.
        alpha: The adapter counts alpha / r times.
        rule: How the output is computed.
    """

    def __init__(  # noqa: PLR0913 -- settings of one layer, each by its name
        self,
        layer: nn.Module,
        *,
        r: int,
        alpha: float,
        four_bits: bool = True,
        seed: int = 0,
        rule: Rule | None = None,
    ) -> None:
        """Freeze `layer`'s matrix; `layer` itself is not changed."""
        super().__init__()
        self.out_features, self.in_features = features_of(layer)
        weight = weight_of(layer).detach()
        self.base = qlora.freeze(weight) if four_bits else weight
        self.bias = None if layer.bias is None else layer.bias.detach()
        A, B = lora.start(*weight.shape, r=r, seed=seed)
        self.A, self.B = (nn.Parameter(x.to(weight.device)) for x in (A, B))
        self.alpha = alpha
        self.rule = rule or (qlora if four_bits else lora).forward

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; eq. (5) of QLoRA or (3) of LoRA."""
        out = self.rule(x, self.base, self.A, self.B, alpha=self.alpha)
        return out if self.bias is None else out + self.bias

    def delta(self) -> Tensor:
        """Return the change that the adapter makes to the matrix, (out, in)."""
        return lora.delta(self.A.detach(), self.B.detach(), alpha=self.alpha)


def adapt(  # noqa: PLR0913 -- settings of one run, each by its name
    model: PreTrainedModel,
    *,
    r: int,
    alpha: float,
    names: Collection[str] | None = None,
    four_bits: bool = True,
    seed: int = 0,
    rule: Rule | None = None,
) -> dict[str, AdaptedLinear]:
    """Put adapters into a model and freeze the rest; return them by name.

    Args:
        model: Changed in place; `layers.swap` with the old modules undoes it.
        r: Rank of the adapters.
        alpha: Their factor is alpha / r.
        names: Of linear layers; None is every one of the decoder.
        four_bits: Freeze the matrices in NF4; otherwise they stay as they are.
        seed: Of the first adapter's A; each next one has the next seed.
        rule: How a layer computes its output; None is `forward` of `methods.qlora`, or
            of `methods.lora` for a float base.

    Raises: ValueError for an unknown name, or a rank that does not fit.
    """
    known = linear_layers(model)
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise ValueError(f"The model has no linear layer {name!r}.")
    made = {
        name: AdaptedLinear(
            known[name],
            r=r,
            alpha=alpha,
            four_bits=four_bits,
            seed=seed + i,
            rule=rule,
        )
        for i, name in enumerate(chosen)
    }
    model.requires_grad_(False)
    swap(model, made)
    return made


@contextmanager
def adapted(
    model: PreTrainedModel, **settings: object
) -> Iterator[dict[str, AdaptedLinear]]:
    """Adapt a model for the length of a `with` block; yield the adapters.

    The original modules come back at its end, also after an error, and with them what
    was trainable. The adapters can be used after it.

    Args:
        model: The model; it is changed in place and restored.
        **settings: Those of `adapt`.

    Raises: ValueError as `adapt` does.
    """
    trainable = {id(p): p.requires_grad for p in model.parameters()}
    before = linear_layers(model)
    try:
        yield adapt(model, **settings)
    finally:
        swap(model, before)
        for parameter in model.parameters():
            parameter.requires_grad_(trainable[id(parameter)])


def parameters(adapters: Mapping[str, AdaptedLinear]) -> list[nn.Parameter]:
    """Return what is trained: A and B of every adapter."""
    return [p for adapter in adapters.values() for p in (adapter.A, adapter.B)]


def train_step(
    model: PreTrainedModel, tokens: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    """Take one step of the optimizer on a batch; return the loss before it.

    Shapes: tokens (windows, length).
    Units: nats a token.
    Raises: ValueError if the loss is not finite; nothing is changed then.
    """
    with torch.enable_grad():
        ids = tokens.to(model.device)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        if not torch.isfinite(loss):
            raise ValueError(
                f"The loss is {loss.item()}, so no step was taken; lower the learning "
                "rate and start again from finite adapters."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
    optimizer.step()
    return loss.item()


def merged(
    weights: Mapping[str, Tensor], adapters: Mapping[str, AdaptedLinear]
) -> dict[str, Tensor]:
    """Return W + (alpha / r) B A by name, for any base of these shapes.

    Raises: ValueError if a base has no weight of an adapter's name or another shape.
    """
    found = {}
    for name, adapter in adapters.items():
        change = adapter.delta()
        if name not in weights or weights[name].shape != change.shape:
            raise ValueError(
                f"The base has no weight of shape {tuple(change.shape)} for the "
                f"adapter of {name}; give the weights of the adapted model."
            )
        found[name] = weights[name] + change
    return found


def bases(adapters: Mapping[str, AdaptedLinear]) -> dict[str, Tensor]:
    """Return the weights that the frozen matrices stand for, float32, by name."""
    return {
        name: qlora.rebuilt(a.base) if isinstance(a.base, FrozenNF4) else a.base
        for name, a in adapters.items()
    }
