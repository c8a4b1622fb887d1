"""The same quantizers twice: ours, and those of production libraries.

    affine4   4 bits, groups of 64, asymmetric: torchao
    int8      8 bits, symmetric, one scale a row: bitsandbytes
    nf4       NF4, blocks of 64, packed: bitsandbytes

Both start from float32 weights and end with codes and scales. Ours are int32 for
affine grids, theirs 8 bits.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from course_utils.formats import affine, blockwise, codebooks, packing
from course_utils.formats.affine import QuantSpec

GROUP = 64
AFFINE4 = QuantSpec(bits=4, group_size=GROUP)
INT8 = QuantSpec(bits=8, symmetric=True)
LIBRARIES = ("torchao", "bitsandbytes")

Quantizer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """The same job done by us and by a production library.

    Attributes:
        key: Its name in the record.
        library: Whose code `theirs` is.
        ours: Takes a weight matrix and returns its codes.
        theirs: The same.
    """

    key: str
    library: str
    ours: Quantizer
    theirs: Quantizer


@contextmanager
def _apart() -> Iterator[None]:
    """Find packages that stand apart, where transformers does not import them."""
    folder = str(Path(sys.prefix) / "apart")
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def versions() -> dict[str, str]:
    """Return the version of each library that is compared with.

    Raises: ValueError if one is not installed.
    """
    with _apart():
        try:
            return {name: metadata.version(name) for name in LIBRARIES}
        except metadata.PackageNotFoundError as error:
            raise _missing(error.name) from error


def _missing(package: str) -> ValueError:
    return ValueError(
        f"{package} is not installed, so there is nothing to compare with; "
        "run `make test` once, which installs it."
    )


def library(name: str) -> ModuleType:
    """Import a library that only this measurement needs.

    Raises: ValueError if it is not installed.
    """
    package = name.partition(".")[0]
    # Both log which of their compiled parts are for another processor or Python.
    logging.getLogger(package).setLevel(logging.ERROR)
    with _apart():
        try:
            return import_module(name)
        except ImportError as error:
            raise _missing(package) from error


def pairs() -> tuple[Pair, ...]:
    """Return what is compared, with the production libraries imported.

    Raises: ValueError if one of them is not installed.
    """
    return (
        Pair("affine4", "torchao", _affine(AFFINE4), _torchao_affine4()),
        Pair("int8", "bitsandbytes", _affine(INT8), _bitsandbytes_int8()),
        Pair("nf4", "bitsandbytes", _nf4, _bitsandbytes_nf4()),
    )


def _affine(spec: QuantSpec) -> Quantizer:
    def quantize(w: Tensor) -> Tensor:
        scale, zero_point = affine.choose_qparams(w, spec=spec)
        return affine.quantize(w, scale, zero_point, spec=spec)

    return quantize


def _nf4(w: Tensor) -> Tensor:
    codes, _ = blockwise.quantize(w, codebooks.NF4, block_size=GROUP)
    return packing.pack_nibbles(codes)


def _torchao_affine4() -> Quantizer:
    ao = library("torchao.quantization.quant_primitives")
    block, qmin, qmax = (1, GROUP), AFFINE4.qmin, AFFINE4.qmax

    def quantize(w: Tensor) -> Tensor:
        scale, zero_point = ao.choose_qparams_affine(
            w, ao.MappingType.ASYMMETRIC, block, torch.uint8, qmin, qmax
        )
        return ao.quantize_affine(w, block, scale, zero_point, torch.uint8, qmin, qmax)

    return quantize


def _bitsandbytes_int8() -> Quantizer:
    functional = library("bitsandbytes.functional")
    return lambda w: functional.int8_vectorwise_quant(w)[0]


def _bitsandbytes_nf4() -> Quantizer:
    functional = library("bitsandbytes.functional")

    def quantize(w: Tensor) -> Tensor:
        packed, _ = functional.quantize_4bit(w, blocksize=GROUP, quant_type="nf4")
        return packed

    return quantize


def seconds(quantize: Quantizer, weights: list[Tensor]) -> float:
    """Return the time to quantize every matrix once, in seconds."""
    start = time.perf_counter()
    for w in weights:
        quantize(w)
    return time.perf_counter() - start


def differing(pair: Pair, weights: list[Tensor]) -> tuple[int, int]:
    """Return how many codes are compared and how many differ; bytes where packed."""
    n = different = 0
    for w in weights:
        ours, theirs = pair.ours(w).flatten(), pair.theirs(w).flatten()
        n += ours.numel()
        different += int((ours != theirs).sum())
    return n, different
