"""Turning the whole model into its quantized version, one way for each kind of method.

Each function is a context manager: inside of it the model is quantized, and what it
yields says what was made. The model is as it was when the block ends.

    rounded      a function of one weight matrix; no data
    walked       a function of weight and statistics, layer by layer (GPTQ)
    turned       the same after a rotation of the model
    scaled       AWQ: search, fold, round
    integers     layers that compute with 8-bit inputs
    floats8      8-bit floats for weights and inputs

`method_files` has the GGUF files of llama.cpp.

Bits are those stored for a weight of the decoder's matrices, scales included. Bytes are
those of the whole model: other tensors count 16 bits each, as these tools leave them,
and a GGUF file is what it is on disk.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.measure.agreement import Logits
from course_utils.measure.outlier_treatments import with_modules
from course_utils.methods import rotation
from course_utils.methods.llm_int8 import Int8Linear
from course_utils.models import awq_model, layers, smoothing
from course_utils.models.activations import changed_inputs
from course_utils.models.folds import folded
from course_utils.models.quantize_model import Quantize, quantize_model
from course_utils.models.rotating import rotated

Codes = tuple[Tensor, float]  # the rebuilt weight, and its stored bits
FP8 = torch.float8_e4m3fn
HALF_BITS = 16


@dataclass(frozen=True)
class Subject:
    """What is quantized, and with what.

    Attributes:
        model: The model; it is itself again after every block.
        tokens: Calibration tokens, (n_windows, seq_len).
        folder: Where files and finished layers are kept.
        source: A GGUF file with the model's tokenizer, or None.
    """

    model: PreTrainedModel
    tokens: Tensor
    folder: Path
    source: Path | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """The matrices of the decoder by name, (out, in)."""
        found = layers.linear_layers(self.model)
        return {name: layers.weight_of(x).detach() for name, x in found.items()}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Weights of each of the matrices."""
        return {name: w.numel() for name, w in self.weights.items()}

    @cached_property
    def n_params(self) -> int:
        """Parameters of the model."""
        return self.model.num_parameters()


@dataclass(frozen=True)
class Made:
    """A quantized model.

    Attributes:
        logits: A module, or a function window -> logits.
        bits: Stored for a weight of the decoder's matrices.
        n_bytes: Of the whole model as stored.
        seconds: To quantize, with reading the calibration text where there is one.
        path: The file, for llama.cpp.
    """

    logits: nn.Module | Logits
    bits: float
    n_bytes: int
    seconds: float
    path: Path | None = None


Run = Callable[[Subject], AbstractContextManager[Made]]


def coded(found: QTensor | Codes) -> Codes:
    """Return rebuilt weight and bits; a zero point that is no integer takes 16."""
    if not isinstance(found, QTensor):
        return found
    z = found.zero_point
    half = bool((z != z.round()).any())
    bits = found.bits_per_weight(zero_bits=HALF_BITS if half else None)
    return found.dequantize(), bits


def _made(subject: Subject, bits: Mapping[str, float], start: float) -> Made:
    sizes = subject.sizes
    n, total = sum(sizes.values()), sum(sizes[name] * bits[name] for name in sizes)
    n_bytes = round((total + HALF_BITS * (subject.n_params - n)) / 8)
    return Made(subject.model, total / n, n_bytes, time.perf_counter() - start)


@contextmanager
def untouched(subject: Subject) -> Iterator[Made]:
    """Yield the model in float32."""
    yield Made(subject.model, 32.0, 4 * subject.n_params, 0.0)


@contextmanager
def in_bfloat16(subject: Subject) -> Iterator[Made]:
    """Yield a copy of the model that stores and computes in bfloat16."""
    start = time.perf_counter()
    model = copy.deepcopy(subject.model).to(torch.bfloat16)
    seconds = time.perf_counter() - start
    yield Made(model, 16.0, 2 * subject.n_params, seconds)


@contextmanager
def rounded(
    subject: Subject, *, quantize: Callable[[Tensor], QTensor | Codes]
) -> Iterator[Made]:
    """Quantize every matrix by itself."""
    start, new, bits = time.perf_counter(), {}, {}
    for name, w in subject.weights.items():
        new[name], bits[name] = coded(quantize(w))
    made = _made(subject, bits, start)
    with layers.swapped(subject.model, new):
        yield made


@contextmanager
def walked(
    subject: Subject, *, quantize: Quantize, folder: Path | None = None
) -> Iterator[Made]:
    """Quantize layer by layer, each with the outputs of those before it."""
    start = time.perf_counter()
    found = quantize_model(
        subject.model,
        subject.tokens,
        quantize,
        folder=folder,
        stacked=True,
        one_pass=True,
        progress=_silent,
    )
    pairs = {name: coded(t) for name, t in found.items()}
    made = _made(subject, {name: bits for name, (_, bits) in pairs.items()}, start)
    with layers.swapped(subject.model, {name: w for name, (w, _) in pairs.items()}):
        yield made


@contextmanager
def turned(subject: Subject, *, quantize: Quantize, seed: int) -> Iterator[Made]:
    """Rotate by Hadamard matrices, those of the inputs online, then as `walked`."""
    config = subject.model.config
    _ = subject.sizes, subject.n_params  # counted before the output matrix is untied
    Q, R = (
        rotation.randomized_hadamard(n, seed)
        for n in (config.hidden_size, config.head_dim)
    )
    with (
        rotated(subject.model, Q, head_rotation=R, online=True),
        walked(subject, quantize=quantize) as made,
    ):
        yield made


@contextmanager
def scaled(subject: Subject, *, spec: QuantSpec) -> Iterator[Made]:
    """AWQ: search factors, fold them in, round to nearest."""
    start, model = time.perf_counter(), subject.model
    found = awq_model.search_model(model, subject.tokens, spec=spec, progress=_silent)
    with awq_model.folded_rounding(model, found, spec=spec) as codes:
        yield _made(subject, {n: coded(t)[1] for n, t in codes.items()}, start)


@contextmanager
def integers(
    subject: Subject, *, alpha: float | None = None, threshold: float | None = None
) -> Iterator[Made]:
    """Give weights and inputs 8 bits, one scale a row and one a token.

    Args:
        subject: What is quantized.
        alpha: Smooth with this migration strength first; needs the calibration text.
        threshold: Keep inputs from this magnitude on apart, as LLM.int8() does.
    """
    model = subject.model
    bits = {n: 8 + 32 / w.shape[1] for n, w in subject.weights.items()}  # float scales
    _ = subject.sizes, subject.n_params  # counted before the layers are others
    start = time.perf_counter()
    with ExitStack() as changed:
        if alpha is not None:
            maxima = smoothing.input_maxima(model, subject.tokens)
            s = smoothing.factors(model, maxima, alpha=alpha)
            changed.enter_context(folded(model, s))
        if threshold is None:
            changed.enter_context(smoothing.in_int8(model))
        else:
            old = layers.linear_layers(model)
            new = {n: Int8Linear(x.weight, threshold=threshold) for n, x in old.items()}
            changed.enter_context(with_modules(model, new))
        yield _made(subject, bits, start)


@contextmanager
def floats8(subject: Subject) -> Iterator[Made]:
    """Give weights and inputs E4M3 floats, one scale a row and one a token."""
    start = time.perf_counter()
    new = {name: to_fp8(w) for name, w in subject.weights.items()}
    bits = {n: 8 + 32 / w.shape[1] for n, w in subject.weights.items()}
    made = _made(subject, bits, start)
    with layers.swapped(subject.model, new), changed_inputs(subject.model, to_fp8):
        yield made


def to_fp8(x: Tensor) -> Tensor:
    """Return x rounded to E4M3 with one scale for each row, rebuilt.

    Shapes: x (..., cols) -> the same.
    """
    amax = x.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(amax > 0, amax, 1.0) / torch.finfo(FP8).max
    return (x / scale).to(FP8).to(x.dtype) * scale


def _silent(_line: str) -> None:
    """Take a line of progress and say nothing: a step has one line of its own."""
