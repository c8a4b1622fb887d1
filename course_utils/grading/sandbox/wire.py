"""What crosses between grader and student: JSON with arrays, tensors and callables.

    None, bool, int, float, str   as they are
    list, tuple, dict             element by element
    bytes                         in base64
    array, tensor, NumPy scalar   kind, dtype, shape and the bytes in base64
    torch.dtype, a generator      by name; by its state
    callable                      a number; calling it asks the side that owns it
    a dataclass of course_utils   its name and fields, into the sandbox only

Everything else stays where it is: `encode` refuses it. There is no pickle, so reading
a message runs nothing that the sender chose.
"""

import base64
import dataclasses
import importlib
import sys
from collections.abc import Callable

import numpy as np

LARGEST = 64 * 2**20
NUMBERS = "biufc"
LIBRARY = "course_utils."
# What a function can change in place.
MUTABLE = frozenset({"array", "tensor", "list", "dict"})


class WireError(ValueError):
    """A value that cannot cross, or a message that cannot be read."""


Put = Callable[[Callable], int]
Get = Callable[[int], Callable]


def _no_callable(value: object) -> object:  # noqa: ARG001 -- stands in for put and get
    """Refuse a callable."""
    raise WireError("a function cannot cross here; return numbers or arrays.")


def encode(  # noqa: PLR0911 -- one return for each kind of value
    value: object, put: Put = _no_callable
) -> object:
    """Return `value` as JSON; `put` numbers a callable.

    Raises: WireError that names the type which cannot cross.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        # A subclass arrives as the plain number.
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(v, put) for v in value]}
    if isinstance(value, bytes):
        return {"bytes": _text(value)}
    if isinstance(value, dict):
        return {"dict": [[encode(k, put), encode(v, put)] for k, v in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)):
        return _array(value)
    if (torch := sys.modules.get("torch")) and isinstance(
        value, (torch.Tensor, torch.dtype, torch.Generator)
    ):
        return _from_torch(value, torch)
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith(LIBRARY):
        return {"record": [type(value).__module__, *_record(value, put)]}
    if callable(value) and not isinstance(value, type) and not _is_model(value):
        return {"callable": put(value)}
    raise WireError(
        f"a value of type {type(value).__name__} cannot leave the sandbox; "
        "return numbers, text, arrays, tensors, or lists of them."
    )


def decode(  # noqa: PLR0911 -- one return for each kind of value
    message: object, get: Get = _no_callable, *, inside: bool = False
) -> object:
    """Return the value of what `encode` made; `get` finds a callable by its number.

    `inside` the sandbox a message may name a dataclass; from it, never.

    Raises: WireError if the message is anything else.
    """
    if message is None or isinstance(message, (bool, int, float, str)):
        return message
    if not isinstance(message, dict) or not message:
        raise WireError("the answer is no message.")
    kind, body = next(iter(message.items()))
    try:
        if kind in ("list", "tuple"):
            values = [decode(v, get, inside=inside) for v in body]
            return values if kind == "list" else tuple(values)
        if kind == "dict":
            return {
                decode(k, get, inside=inside): decode(v, get, inside=inside)
                for k, v in body
            }
        if kind == "array":
            found = _to_array(body)
            return found[()] if message.get("scalar") is True else found
        if kind == "bytes":
            return base64.b64decode(body, validate=True)
        if kind == "record" and inside:
            return _to_record(body, get)
        if kind == "callable":
            return get(int(body))
        return _to_torch(kind, body)
    except WireError:
        raise
    except Exception as error:
        raise WireError(
            f"the answer cannot be read ({type(error).__name__})."
        ) from None


def put_back(old: object, new: object) -> None:
    """Give an argument the content that the call left in its copy.

    Only where type and shape are the same; anything else stays as it was.
    """
    if type(old) is not type(new):
        return
    if isinstance(old, (list, tuple)):
        for i, (a, b) in enumerate(zip(old, new, strict=False)):
            put_back(a, b)
            if isinstance(old, list) and not hasattr(a, "shape"):
                old[i] = b
    elif isinstance(old, dict):
        kept = {k: old[k] for k in new if hasattr(old.get(k), "shape")}
        for key, value in kept.items():
            put_back(value, new[key])
        old.clear()
        old.update(new | kept)
    elif isinstance(old, np.ndarray) and _alike(old, new):
        np.copyto(old, new)
    elif hasattr(old, "detach") and _alike(old, new):
        old.detach().copy_(new)


def _alike(old: object, new: object) -> bool:
    return old.shape == new.shape and old.dtype == new.dtype


def _is_model(value: object) -> bool:
    """Return whether a value is a torch module: more than a function."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _record(value: object, put: Put) -> list:
    """Return the name and the fields of a dataclass."""
    fields = [f.name for f in dataclasses.fields(value) if f.init]
    found = {name: encode(getattr(value, name), put) for name in fields}
    return [type(value).__name__, found]


def _to_record(body: list, get: Get) -> object:
    """Return the dataclass that `_record` described."""
    module, name, fields = body
    kind = getattr(importlib.import_module(module), name)
    return kind(**{k: decode(v, get, inside=True) for k, v in fields.items()})


def _array(value: np.ndarray | np.generic) -> dict:
    """Return an array of numbers as bytes, dtype and shape."""
    array = np.asarray(value)
    if array.dtype.kind not in NUMBERS:
        raise WireError(f"an array of dtype {array.dtype} cannot leave the sandbox.")
    body = [array.dtype.str, list(array.shape), _text(array.tobytes())]
    return {"array": body, "scalar": isinstance(value, np.generic)}


def _to_array(body: list) -> np.ndarray:
    """Return the array of a message, checked before it is made."""
    name, shape, text = body
    dtype = np.dtype(str(name))
    if dtype.kind not in NUMBERS or dtype.hasobject or dtype.names:
        raise WireError("the answer is an array of something other than numbers.")
    data = base64.b64decode(text, validate=True)
    return np.frombuffer(data, dtype).reshape([int(n) for n in shape]).copy()


def _from_torch(value: object, torch: object) -> dict:
    """Return a tensor as bytes; a dtype by name; a generator by its state."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.Generator):
        return {"generator": _text(value.get_state().numpy().tobytes())}
    if value.layout is not torch.strided or value.is_quantized:
        raise WireError(f"a tensor of layout {value.layout} cannot leave the sandbox.")
    plain = value.detach().cpu().resolve_conj().resolve_neg().reshape(-1)
    # A copy, since an expanded tensor of one element has no stride to view it by.
    flat = torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)
    data = flat.view(torch.uint8).numpy().tobytes()
    name = str(value.dtype).removeprefix("torch.")
    return {"tensor": [name, list(value.shape), _text(data)]}


def _to_torch(kind: str, body: object) -> object:
    """Return what `_from_torch` wrote."""
    import torch  # noqa: PLC0415 -- seconds, and most exercises in numpy need none

    if kind == "dtype":
        return _dtype(torch, body)
    if kind == "generator":
        state = np.frombuffer(base64.b64decode(body, validate=True), np.uint8).copy()
        generator = torch.Generator()
        generator.set_state(torch.from_numpy(state))
        return generator
    if kind != "tensor":
        raise WireError("the answer is no message.")
    name, shape, text = body
    data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8).copy()
    return torch.from_numpy(data).view(_dtype(torch, name)).reshape(shape)


def _dtype(torch: object, name: object) -> object:
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise WireError("the answer names no dtype.")
    return found


def _text(data: bytes) -> str:
    if len(data) > LARGEST // 2:
        raise WireError(f"an array of {len(data)} bytes is too large to leave.")
    return base64.b64encode(data).decode()
