"""The importance matrix of llama.cpp: how loud each input column of a layer is.

    importance_j = mean of x_j**2 over the tokens of a calibration text

One number for each column of a matrix, the diagonal of GPTQ's H over 2. llama.cpp
rounds with it so that sum_j importance_j (w_j - w_hat_j)**2 becomes small. Some types
refuse to be made without it.

`mean_squares` measures it, under the names that a GGUF file has. `handed_over` puts it
into the C structures that `llama_model_quantize` reads; `llama_cpp.quantize` calls it.
`weighted_error` is the sum above, for any two versions of a matrix.

Left out: experts, files of llama-imatrix, and the output matrix, for which llama.cpp
collects nothing either unless it is asked to.
"""

import ctypes
from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.models.cache import ModelError
from course_utils.models.dequantize import TENSOR_NAMES
from course_utils.models.gguf_header import StoredTensor
from course_utils.models.layers import linear_layers

FILE_NAMES = {hf: name for name, hf in TENSOR_NAMES.items()}


def file_name(layer: str) -> str:
    """Return the name in a GGUF file of a decoder's linear layer.

    Raises: ValueError if it is no linear layer of a llama.
    """
    head, _, rest = layer.partition("layers.")
    index, _, kind = rest.partition(".")
    if head != "model." or not index.isdigit() or kind not in FILE_NAMES:
        raise ValueError(
            f"{layer} is no linear layer of a llama; give a name such as "
            "model.layers.0.mlp.down_proj."
        )
    return f"blk.{index}.{FILE_NAMES[kind]}.weight"


def mean_squares(model: PreTrainedModel, texts: Tensor) -> dict[str, Tensor]:
    """Return the mean square of every input column of every linear layer.

    Shapes: texts (n, length) of tokens -> name in the file -> (cols,), float32.
    Raises: ValueError without a token, or where an input is NaN or infinite.
    """
    if not texts.numel():
        raise ValueError("The calibration text has no token; give some.")
    sums: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(_adds_to(sums, file_name(name)))
        for name, layer in linear_layers(model).items()
    ]
    try:
        with torch.no_grad():
            for text in texts:
                # Without the output matrix: its logits are not looked at.
                model.base_model(text[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    means = {name: (total / texts.numel()).cpu() for name, total in sums.items()}
    check(means)
    return means


def _adds_to(sums: dict[str, Tensor], name: str):
    """Return a hook that adds the squares of a layer's inputs to `sums[name]`."""

    def add(_layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        x = args[0].reshape(-1, args[0].shape[-1]).float()  # (tokens, cols)
        sums[name] = sums.get(name, 0) + x.square().sum(dim=0)

    return add


def check(importance: Mapping[str, Tensor]) -> None:
    """Refuse an importance that no rounding can be weighted with.

    Raises: ValueError if a number is negative, NaN or infinite.
    """
    for name, means in importance.items():
        if not torch.isfinite(means).all() or (means < 0).any():
            raise ValueError(
                f"The importance of {name} holds a negative number, NaN or infinity; "
                "it is a mean of squares."
            )


def weighted_error(w: Tensor, w_hat: Tensor, importance: Tensor) -> float:
    """Return sum_j importance_j (w_j - w_hat_j)**2 over all rows.

    Shapes: w, w_hat (rows, cols); importance (cols,).
    Raises: ValueError if the shapes do not fit.
    """
    if w.shape != w_hat.shape or importance.shape != w.shape[-1:]:
        raise ValueError(
            f"w is {tuple(w.shape)}, w_hat {tuple(w_hat.shape)} and the importance "
            f"{tuple(importance.shape)}; give one importance for each column."
        )
    return float(((w - w_hat).double().square() * importance).sum())


def handed_over(
    lib: ModuleType,
    importance: Mapping[str, Tensor],
    tensors: Mapping[str, StoredTensor],
) -> ctypes.Array:
    """Return an importance as the list of C structures that the library reads.

    A name in the list that is NULL ends it. The numbers belong to the list: keep it
    alive until the library has returned.

    Args:
        lib: The module `llama_cpp.llama_cpp`.
        importance: Name in the file -> (cols,).
        tensors: Those of the file to be quantized.

    Raises: ModelError if a name is not in the file or has other columns;
        ValueError as `check` does.
    """
    check(importance)
    for name, means in importance.items():
        if name not in tensors:
            raise ModelError(
                f"The importance matrix has {name}, which the file has not; measure "
                "it on the same model."
            )
        cols = tensors[name].shape[-1]
        if tuple(means.shape) != (cols,):
            raise ModelError(
                f"The importance of {name} has shape {tuple(means.shape)} and the "
                f"matrix {cols} columns; measure it on the same model."
            )
    entries = (lib.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, means) in zip(entries, importance.items(), strict=False):
        entry.name = name.encode()
        entry.data = (ctypes.c_float * len(means))(*means.tolist())
        entry.size = len(means)
    return entries
