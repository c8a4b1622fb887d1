"""A GPU in pretence: tensors that refuse to meet tensors of the processor.

`Elsewhere` computes on the processor and says that it is on `cuda:0`. As on a GPU, an
operation on such a tensor and an ordinary one with at least one axis fails, and so
does numpy on it, until `.cpu()`; `.to(device)` and factories with that device lead
there. What is left out: kernels, memory, and libraries that read memory themselves.
"""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)
TO_PYTHON = {"numpy", "__array__"}
# An index may stay on the processor, and copies lead from one device to the other.
MIXED = {
    "__getitem__",
    "__setitem__",
    "copy_",
    "to",
    "_has_compatible_shallow_copy_type",
}


class Elsewhere(Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def device(self):
        return DEVICE

    @property
    def is_cuda(self):
        return True

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        del types
        return run(func, args, kwargs or {})


def leaves(value):
    """Yield the tensors in nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))


def convert(value, kind):
    """Return the value with its tensors given another type."""
    if isinstance(value, Tensor) and type(value) is not kind:
        return value.as_subclass(kind) if not isinstance(value, nn.Parameter) else value
    if isinstance(value, list | tuple) and any(True for _ in leaves(value)):
        items = [convert(v, kind) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def target_of(name, args, kwargs):
    """Return the device that a call asks for: True there, False here, None neither."""
    asked = kwargs.get("device")
    if name in ("cpu", "cuda"):
        return name == "cuda"
    if name == "to":
        found = [a for a in args[1:2] if isinstance(a, str | torch.device | Tensor)]
        asked = found[0] if found else asked
    if isinstance(asked, Tensor):
        return isinstance(asked, Elsewhere)
    return None if asked is None else torch.device(asked).type == "cuda"


def without_device(args, kwargs):
    """Return the arguments for the processor, where everything is computed."""
    here = torch.device("cpu")
    moved = [
        here if isinstance(a, torch.device) or a in ("cuda", "cuda:0") else a
        for a in (x if isinstance(x, str | torch.device) else _Kept(x) for x in args)
    ]
    args = [a.value if isinstance(a, _Kept) else a for a in moved]
    return args, kwargs | ({"device": here} if "device" in kwargs else {})


class _Kept:
    """An argument that is no device; compared by identity."""

    def __init__(self, value):
        self.value = value


def run(func, args, kwargs):
    """Carry out one torch function under the rules of two devices."""
    name = getattr(func, "__name__", "")
    tensors = list(leaves([list(args), kwargs]))
    there = [t for t in tensors if isinstance(t, Elsewhere)]
    here = [t for t in tensors if not isinstance(t, Elsewhere) and t.dim() > 0]
    if there and name in TO_PYTHON:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    if there and here and name not in MIXED:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, in {name}: "
            f"{[tuple(t.shape) for t in there]} there, "
            f"{[tuple(t.shape) for t in here]} here."
        )
    target = target_of(name, args, kwargs)
    args, kwargs = without_device(args, kwargs)
    with torch._C.DisableTorchFunction():
        result = func(*args, **kwargs)
    stays = target if target is not None else bool(there)
    if name == "__getitem__":
        stays = isinstance(args[0], Elsewhere)
    if name in ("copy_", "__setitem__"):
        return result
    return convert(result, Elsewhere if stays else Tensor)


class Pretence(TorchFunctionMode):
    """Watch calls that have no tensor from elsewhere yet: factories, `.to`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        del types
        return run(func, args, kwargs or {})


def moved(model):
    """Move a model elsewhere, in place, and return it."""
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                new = nn.Parameter(parameter.detach().as_subclass(Elsewhere), False)
                module._parameters[name] = new
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = buffer.as_subclass(Elsewhere)
    return model
