"""Finished layers on disk, so that a long run can go on where it stopped.

One safetensors file a decoder layer, written beside its place and renamed, so that it
is whole or not there. Each file carries a key: the hash of the weights, the tokens and
the method. A folder with another key belongs to another run and is refused.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor

PARTS = ("q", "scale", "zero_point", "group_of")


@dataclass(frozen=True)
class Kept:
    """A folder of finished layers; without one, nothing is read or written."""

    folder: Path | None
    key: str

    def read(self, index: int) -> dict[str, QTensor] | None:
        """Return the matrices of a layer, or None if it is not there whole.

        Raises: ValueError if the file is of another run.
        """
        path = self._file(index)
        if path is None or not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata()
                key, specs = about["key"], json.loads(about["specs"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
            found = {name: _joined(name, tensors, spec) for name, spec in specs.items()}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # damaged: it is made again
        if key != self.key:
            raise ValueError(
                f"{path.parent} holds layers of another run (other weights, tokens or "
                "method); give another folder or remove this one."
            )
        return found

    def write(self, index: int, found: Mapping[str, QTensor]) -> None:
        """Keep the matrices of a layer."""
        path = self._file(index)
        if path is None:
            return
        tensors = {
            f"{name}/{part}": getattr(t, part).contiguous()
            for name, t in found.items()
            for part in PARTS
            if getattr(t, part) is not None
        }
        specs = {name: asdict(t.spec) for name, t in found.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(tensors, partial, {"key": self.key, "specs": json.dumps(specs)})
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, index: int) -> Path | None:
        return self.folder and Path(self.folder) / f"layer-{index:03d}.safetensors"


def _joined(name: str, tensors: Mapping[str, Tensor], spec: dict) -> QTensor:
    q, scale, zero_point, group_of = (tensors.get(f"{name}/{p}") for p in PARTS)
    return QTensor(q, scale, zero_point, QuantSpec(**spec), group_of)


def open_folder(
    folder: Path | None,
    model: PreTrainedModel,
    tokens: Tensor,
    quantize: Callable,
    words: Collection[str],
) -> Kept:
    """Return the folder of a run, with the key that its files must have.

    `words` name what else the result depends on.
    """
    if folder is None:
        return Kept(None, "")
    digest = hashlib.sha256(json.dumps([describe(quantize), *words]).encode())
    for tensor in (tokens, *model.state_dict().values()):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy())
    return Kept(folder, digest.hexdigest())


def describe(quantize: Callable) -> str:
    """Return a method and its options in words that change when they do."""
    if isinstance(quantize, functools.partial):
        options = ", ".join(f"{k}={v!r}" for k, v in sorted(quantize.keywords.items()))
        return f"{describe(quantize.func)}({quantize.args!r}, {options})"
    name = getattr(quantize, "__qualname__", type(quantize).__qualname__)
    code = getattr(quantize, "__code__", None)
    body = hashlib.sha256(code.co_code).hexdigest()[:16] if code else ""
    return f"{getattr(quantize, '__module__', '')}.{name} {body}"
