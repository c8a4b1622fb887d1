"""Bytes as stored: what a model really holds, which its bit width only promises.

A quantized layer holds more than codes: scales, tables, second scales of the scales. It
keeps them beside its parameters, where `model.parameters()` does not look. This
module walks all of it and counts each storage once, whichever names share it:

    linear     matrices of linear layers: codes where the layer is quantized
    scales     what quantized layers hold beside their codes
    embedding  tables of token and position vectors; a tied output matrix is one of them
    output     the output matrix, where it has weights of its own
    rest       norms, biases and every other parameter
    buffers    tensors that are not parameters, such as rotary frequencies

Known layouts: torch, bitsandbytes' Linear4bit and Linear8bitLt, and tensors that name
their parts as torchao's do.

Left out: activations, the key-value cache, and what an allocator rounds up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

KINDS = ("linear", "scales", "embedding", "output", "rest", "buffers")


@dataclass(frozen=True)
class Stored:
    """Bytes by kind, in the order of KINDS."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all kinds."""
        return sum(self.parts.values())


def _held(holder: object) -> Iterator[Tensor]:
    """Yield the tensors that an object keeps, in its attributes and theirs."""
    for value in vars(holder).values():
        if isinstance(value, Tensor):
            yield value
        elif type(value).__name__ == "QuantState":  # bitsandbytes: nested scales
            yield from _held(value)


def _pieces(parameter: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors with a parameter's codes, and those with its scales."""
    if hasattr(parameter, "__tensor_flatten__"):
        # A tensor made of tensors: the one of most bytes holds the codes.
        inner = [getattr(parameter, name) for name in parameter.__tensor_flatten__()[0]]
        inner.sort(key=lambda t: t.untyped_storage().nbytes(), reverse=True)
        return inner[:1], inner[1:]
    return [parameter], list(_held(parameter))


def _kind(owner: nn.Module, parameter: Tensor, output: nn.Module | None) -> str:
    """Return the kind of a parameter's own bytes."""
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if parameter.dim() < 2:
        return "rest"
    return "output" if owner is output else "linear"


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield (kind, tensor) of all that a model holds; embeddings before the rest."""
    find = getattr(model, "get_output_embeddings", None)
    output = find() if find else None
    # A matrix that is both table and output matrix is met as a table first.
    modules = sorted(model.modules(), key=lambda m: not isinstance(m, nn.Embedding))
    for module in modules:
        for parameter in module.parameters(recurse=False):
            codes, scales = _pieces(parameter)
            yield from ((_kind(module, parameter, output), t) for t in codes)
            yield from (("scales", t) for t in scales)
        # Linear8bitLt moves codes and scales to its `state` at the first forward.
        if hasattr(module, "state") and hasattr(module.state, "SCB"):
            yield from (("scales", t) for t in _held(module.state))
        yield from (("buffers", t) for t in module.buffers(recurse=False))


def _identity(tensor: Tensor) -> tuple:
    """Return what is equal for two tensors exactly if they share their bytes."""
    address = tensor.untyped_storage().data_ptr()
    # Tensors on the meta device have shapes and no bytes, all at address 0.
    return (tensor.device, address or id(tensor))


def stored_bytes(model: nn.Module) -> Stored:
    """Return the bytes that a model's tensors take, by kind.

    Units: bytes.
    Errors: none; storages are counted whole, also where a tensor is a part of one.
    """
    parts = dict.fromkeys(KINDS, 0)
    seen = set()
    for kind, tensor in _tensors(model):
        key = _identity(tensor)
        if key not in seen:
            seen.add(key)
            parts[kind] += tensor.untyped_storage().nbytes()
    return Stored(parts)


def file_bytes(path: Path | str, *, pattern: str = "*") -> int:
    """Return the bytes of a file, or of the files in a folder and below it.

    Args:
        path: The file or folder.
        pattern: Files of a folder that count, such as `*.safetensors`.

    Units: bytes of content, not of disk blocks.
    Raises: ValueError if there is no such file.
    """
    path = Path(path)
    found = [path] if path.is_file() else path.rglob(pattern)
    files = [file for file in found if file.is_file()]
    if not files:
        raise ValueError(f"There is no file {pattern} at {path}; check the path.")
    return sum(file.stat().st_size for file in files)
