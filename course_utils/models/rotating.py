"""A llama-like model in other coordinates: the same function, rotated inside.

Row vectors h are the residual stream. Everything that writes to it or reads from it
is rotated by one orthogonal Q: the stream becomes h Q and the logits stay.

    embedding              E -> E Q
    readers behind a norm  W -> W diag(g) Q      g: the norm's gain, which becomes 1
    o_proj, down_proj      W -> Q^T W            the rows; a bias b -> b Q
    output matrix          W -> W diag(g) Q      g: the last norm's gain

A norm without gain divides a vector by its root mean square, which Q does not change.
With a gain it scales single channels, and that does not pass through a rotation: so
gains move into the readers first. An embedding that is also the output matrix is
parted from it.

Two more places, both by choice:

    head_rotation   R inside every head between v_proj and o_proj
    online          a Hadamard transform of down_proj's input while the model runs; the
                    inverse is in its weights. Nothing can be folded here: the gate
                    multiplies channel by channel just before.

Source: ashkboos2024quarot. Left out: the rotation of queries and keys behind their
position embedding, which only a quantized cache needs, and LayerNorm, whose mean would
have to be folded as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.methods.rotation import transform
from course_utils.models.families import family
from course_utils.models.folds import Fold, full_name, layer_folds

KINDS = ("llama", "mistral", "qwen2", "qwen3")
WRITERS = ("self_attn.o_proj", "mlp.down_proj")


@contextmanager
def rotated(
    model: PreTrainedModel,
    Q: Tensor | None,
    *,
    head_rotation: Tensor | None = None,
    online: bool = False,
    fold_gains: bool = True,
) -> Iterator[PreTrainedModel]:
    """Rotate a model for the length of a `with` block.

    The originals come back at its end, also after an error, bit for bit.

    Args:
        model: The model; it is changed in place and restored.
        Q: Rotation of the residual stream, (hidden, hidden); None leaves it.
        head_rotation: Rotation inside each value head, (head_dim, head_dim).
        online: Transform the inputs of down_proj as they come.
        fold_gains: False leaves the gains in the norms, which is the mistake that
            chapter 14 shows: the model becomes another one.

    Errors: products in float32, so each weight is off by sqrt(n) * 2**-24 of its row.
    Raises: ValueError if the model's family has other norms, or if a rotation has
        another order or is not orthogonal, before any change.
    """
    new = parameters(model, Q, head_rotation=head_rotation, fold_gains=fold_gains)
    names = _places(model, WRITERS[1]) if online else []
    for name in names:  # x H^T / sqrt(n) meets W H^T / sqrt(n)
        w = new.get(f"{name}.weight", model.get_submodule(name).weight.detach())
        new[f"{name}.weight"] = transform(w)
    old = {name: _get(model, name) for name in new}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, args: (transform(args[0]), *args[1:])
        )
        for name in names
    ]
    try:
        for name, value in new.items():
            _set(model, name, nn.Parameter(value, requires_grad=False))
        yield model
    finally:
        for hook in hooks:
            hook.remove()
        for name, parameter in old.items():
            _set(model, name, parameter)


def parameters(
    model: PreTrainedModel,
    Q: Tensor | None,
    *,
    head_rotation: Tensor | None = None,
    fold_gains: bool = True,
) -> dict[str, Tensor]:
    """Return name -> value of every parameter that a rotation changes.

    Raises: ValueError as `rotated` does.
    """
    _check_family(model)
    hidden = model.config.hidden_size
    new: dict[str, Tensor] = {}
    if fold_gains:
        new |= _without_gains(model)

    def value(name: str) -> Tensor:
        return new[name] if name in new else _get(model, name).detach()

    if Q is not None:
        Q = _checked(Q, hidden, "hidden size", like=model.lm_head.weight)
        for name in (*_readers(model), "lm_head", "model.embed_tokens"):
            new[f"{name}.weight"] = value(f"{name}.weight") @ Q
        for writer in WRITERS:
            for name in _places(model, writer):
                new |= _rows_rotated(model, name, Q, value(f"{name}.weight"))
    if head_rotation is not None:
        head_dim = model.model.layers[0].self_attn.head_dim
        R = _checked(head_rotation, head_dim, "head size", like=model.lm_head.weight)
        for name in _places(model, "self_attn.v_proj"):
            new |= _rows_rotated(model, name, R, value(f"{name}.weight"))
        for name in _places(model, "self_attn.o_proj"):
            w = value(f"{name}.weight")
            by_head = w.reshape(len(w), -1, head_dim) @ R
            new[f"{name}.weight"] = by_head.reshape(w.shape)
    return new


def _without_gains(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return norms of ones, and what reads them multiplied by their gains."""
    new: dict[str, Tensor] = {}

    def fold(norm: str, readers: tuple[str, ...]) -> None:
        gain = _get(model, f"{norm}.weight").detach()
        new[f"{norm}.weight"] = torch.ones_like(gain)
        for name in readers:
            new[f"{name}.weight"] = _get(model, f"{name}.weight").detach() * gain

    for i in range(model.config.num_hidden_layers):
        for place in _norms(model):
            readers = tuple(full_name(model.config, i, r) for r in place.readers)
            fold(full_name(model.config, i, place.source), readers)
    fold("model.norm", ("lm_head",))
    return new


def _rows_rotated(
    model: PreTrainedModel, name: str, Q: Tensor, w: Tensor
) -> dict[str, Tensor]:
    """Return weight (and bias) of a layer whose outputs are rotated, in blocks of Q."""
    found = {}
    blocks = w.reshape(-1, len(Q), w.shape[1])  # (blocks, n, in): one a head
    found[f"{name}.weight"] = (Q.T @ blocks).reshape(w.shape).contiguous()
    bias = getattr(model.get_submodule(name), "bias", None)
    if bias is not None:
        rows = bias.detach().reshape(-1, len(Q))
        found[f"{name}.bias"] = (rows @ Q).reshape(bias.shape)
    return found


def _norms(model: PreTrainedModel) -> list[Fold]:
    return [place for place in layer_folds(model.config) if place.norm]


def _places(model: PreTrainedModel, name: str) -> list[str]:
    """Return the name of a part in every decoder layer."""
    n = model.config.num_hidden_layers
    return [full_name(model.config, i, name) for i in range(n)]


def _readers(model: PreTrainedModel) -> list[str]:
    """Return the linear layers that read a norm in the decoder."""
    return [
        name
        for place in _norms(model)
        for reader in place.readers
        for name in _places(model, reader)
    ]


def _check_family(model: PreTrainedModel) -> None:
    kind = model.config.model_type
    if kind not in KINDS:
        raise ValueError(
            f"Model type {kind!r} cannot be rotated here; known are "
            f"{', '.join(KINDS)}, with an RMSNorm before each part of a layer."
        )
    family(kind)


def _checked(Q: Tensor, n: int, what: str, *, like: Tensor) -> Tensor:
    """Return Q as the weights are kept.

    Raises: ValueError if it has another order or is not orthogonal.
    """
    if Q.shape != (n, n):
        raise ValueError(
            f"The rotation has shape {tuple(Q.shape)}; the {what} is {n}, so give "
            f"({n}, {n})."
        )
    # Sums of n products of float32 values whose squares sum to 1: n * 2**-24 at most.
    off = (Q.double() @ Q.double().T - torch.eye(n, dtype=torch.float64)).abs().max()
    if not off <= n * 2**-24:
        raise ValueError(
            f"Q Q^T differs from I by {off:.2g}, so Q is no rotation; take one from "
            "methods.rotation."
        )
    return Q.to(like.device, like.dtype)


def _get(model: nn.Module, name: str) -> nn.Parameter:
    module, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(module), attribute)


def _set(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    module, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(module), attribute, parameter)
