"""The measurement `parity-gguf`: GGUF blocks and checkpoint layouts against others'.

    decode   every field of every type takes every value: random bytes; against gguf
    encode   random, adversarial and real weights; bytes against gguf
    search   types whose encoders search: bytes and error against ggml's C code
    layout   the tensors of GPTQ and AWQ checkpoints, against GPT-QModel's packing

NaN equals NaN in decoded values, and 0 does not equal -0.
"""

import os
from collections.abc import Iterator
from functools import cached_property, partial

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from course_utils.formats import affine, awq_layout, gguf_blocks, gptq_layout
from course_utils.formats.affine import QuantSpec
from course_utils.formats.gguf_blocks import TYPES
from course_utils.formats.qtensor import QTensor
from course_utils.measure import comparing, gguf_speed, hardware, records
from course_utils.measure.gguf_speed import GGML_TYPES, GGUF_TYPES
from course_utils.measure.quantizer_pairs import library
from course_utils.measure.task import Json, Results, Step
from course_utils.models import ggml_blocks

PACKAGES = ("gguf", "llama_cpp_python")
RAW_BLOCKS = 4096
RANDOM_ROWS = 96
GROUP, ROWS, COLS = 64, 576, 1536
MATRIX = "model.layers.10.mlp.down_proj.weight"
GPTQMODEL = "gptqmodel.nn_modules.qlinear"


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def decoding(name: str) -> Json:
    """Compare the weights of random bytes with gguf's."""
    shape = (RAW_BLOCKS, TYPES[name].n_bytes)
    raw = torch.randint(0, 256, shape, generator=_generator(), dtype=torch.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = dequantize(raw.numpy(), GGMLQuantizationType[name])
    return comparing.different(gguf_blocks.decode(raw, name), torch.from_numpy(theirs))


def probes() -> Tensor:
    """Return random weights: many sizes, ties, one sign, zeros, equal extremes.

    Shapes: (rows, 512), float32.
    """
    w = torch.randn(RANDOM_ROWS, 512, generator=_generator())
    sizes = 10.0 ** torch.linspace(-4, 3, RANDOM_ROWS)[:, None]
    steps = (torch.arange(512) % 31 - 15).float()
    rows = [
        w * sizes,
        w.bfloat16().float(),  # coarse numbers have more ties
        w.abs(),
        -w.abs(),
        torch.zeros(1, 512),
        torch.stack([steps, -steps, steps / 2, steps * 0.75, steps.sign()]),
    ]
    return torch.cat(rows)


def encoding(name: str, weights: list[Tensor]) -> Json:
    """Compare the bytes of the probes and of real weights with gguf's."""
    # The order of comparisons decides whether 0 or -0 is a minimum: no -0.
    return gguf_speed.differing(
        name, gguf_speed.by_gguf, [w + 0.0 for w in (probes(), *weights)]
    )


def searching(name: str, weights: list[Tensor]) -> Json:
    """Compare bytes with ggml's, and our error as a multiple of its error."""
    n, different = gguf_speed.differing(name, ggml_blocks.encode, weights)
    errors = [
        sum(
            (gguf_blocks.decode(encode(w, name), name) - w).double().square().sum()
            for w in weights
        )
        for encode in (gguf_blocks.encode, ggml_blocks.encode)
    ]
    return [n, different, float((errors[0] / errors[1]).sqrt())]


def _quantized(bits: int) -> QTensor:
    """Return a random matrix on a grid that both sides rebuild exactly."""
    spec = QuantSpec(bits=bits, group_size=GROUP)
    w = torch.randn(ROWS, COLS, generator=_generator())
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    scale, zero_point = scale.half().float(), zero_point.clamp(min=1)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(torch.uint8), scale, zero_point, spec)


def packing(layout: str, bits: int) -> Json:
    """Compare the packed tensors of a matrix with GPT-QModel's."""
    ours = _quantized(bits)
    linear = torch.nn.Linear(COLS, ROWS, bias=False)
    linear.weight.data = ours.dequantize()
    theirs = _gptqmodel_layer(layout, bits)
    args = (linear, ours.scale[..., 0], ours.zero_point[..., 0])
    if layout == "awq":
        theirs.pack(*args)
        packed = awq_layout.pack(ours)
    else:
        theirs.pack_original(*args, gptq_layout.groups_of(ours).to(torch.int32))
        packed = gptq_layout.pack(ours, version=2)
    pairs = [(getattr(packed, n), getattr(theirs, n)) for n in vars(packed)]
    n = sum(a.numel() for a, _ in pairs)
    return [n, sum(int((a != b).sum()) for a, b in pairs)]


def _gptqmodel_layer(layout: str, bits: int) -> torch.nn.Module:
    # Imported with fewer workers than it asks for, it refuses a machine of two cores.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    if layout == "awq":
        kind = library(f"{GPTQMODEL}.torch_awq").AwqTorchLinear
    else:
        kind = library(f"{GPTQMODEL}.torch").TorchLinear
    return kind(
        bits=bits,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        in_features=COLS,
        out_features=ROWS,
        register_buffers=True,
    )


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "GGUF blocks and checkpoint layouts against gguf, ggml and GPT-QModel"
    device = "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers mean, and the versions of the oracles."""
        found = hardware.versions(PACKAGES)
        return (
            "A value is how many answers differ, or a ratio of errors; n is how many "
            "answers were compared.",
            "decode: weights of random bytes. encode: bytes of random, adversarial and "
            f"real weights ({MATRIX}), both against gguf.",
            "search_bytes and search_rmse: against ggml's C code, on the same matrix; "
            "rmse is ours over theirs. The searches compare sums that the two sides "
            "round differently.",
            "gptq and awq: packed words, scales and indices against GPT-QModel 7.6.0.",
            "Oracles: " + ", ".join(f"{k} {v}" for k, v in found.items()) + ".",
        )

    @cached_property
    def weights(self) -> list[Tensor]:
        """The real weights among the probes: blocks of 256 divide their rows."""
        return [gguf_speed.Measurement().weights[MATRIX]]

    def model(self) -> records.ModelRef:
        """Return whose weights are among the probes."""
        return gguf_speed.Measurement().model()

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return {"weights": self.model()["sha256"], **hardware.versions(PACKAGES)}

    def steps(self) -> Iterator[Step]:
        """Yield a step per comparison."""
        for name in TYPES:
            yield Step(f"{name.lower()}_decode", partial(decoding, name))
        for name in GGUF_TYPES:
            run = partial(self._on_weights, encoding, name)
            yield Step(f"{name.lower()}_encode", run)
        for name in GGML_TYPES:
            run = partial(self._on_weights, searching, name)
            yield Step(f"{name.lower()}_search", run)
        for bits in gptq_layout.BITS:
            yield Step(f"gptq_{bits}bit", partial(packing, "gptq", bits))
        yield Step("awq_4bit", partial(packing, "awq", 4))

    def _on_weights(self, compare: partial, name: str) -> Json:
        return compare(name, self.weights)

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the counts into values; n is the number of answers compared."""
        values, total = {}, [0, 0]
        for key, found in results.items():
            if key.endswith("_search"):
                n, different, ratio = found
                values[f"{key}_bytes"] = records.exact(different, "", n=n)
                values[f"{key}_rmse"] = records.exact(round(ratio, 6), "")
            elif key in {step.name for step in self.steps()}:
                n, different = found
                values[key] = records.exact(different, "", n=n)
                total = [total[0] + n, total[1] + different]
        return {**values, "all": records.exact(total[1], "", n=total[0])}

    def slice(self) -> records.Slice:
        """Repeat the comparisons with gguf, without real weights."""
        values = {}
        for name in TYPES:
            values[f"{name.lower()}_decode"] = decoding(name)[1]
        for name in GGUF_TYPES:
            values[f"{name.lower()}_encode"] = encoding(name, [])[1]
        return records.Slice(
            description=(
                "Random bytes decoded and probes encoded: answers that differ from "
                "gguf's"
            ),
            values=values,
            tolerance=0.0,
        )
