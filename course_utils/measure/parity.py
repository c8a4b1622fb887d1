"""The measurement `parity`: our number formats against other people's, code by code.

    decode  every code of the format is read; values, signs of zero and NaN must agree
    encode  every value, every tie between neighbours, the neighbours of both, and all
            bfloat16 numbers are stored; the codes must agree, any NaN being NaN

FP32 has too many codes: all exponents and signs are taken, with sampled mantissas.
Libraries do not store what is too large in the same way, so each comparison says by
which rule. Inputs for which its oracle has another rule are left out of it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from course_utils.formats.codebooks import CODEBOOKS
from course_utils.formats.floats import FLOATS
from course_utils.measure import comparing, hardware, oracles, probes, records
from course_utils.measure.comparing import Counts, Keep, Oracle, clamped, rounded
from course_utils.measure.task import Results, Step

PACKAGES = ("torch", "ml_dtypes", "bitsandbytes")


@dataclass(frozen=True)
class Comparison:
    """One question put to us and to an oracle.

    Attributes:
        name: Format and operation.
        oracle: Whose answer is taken as right.
        rule: Which rule for values beyond the range, and what is left out.
        counts: Returns how many answers were compared and how many differ.
    """

    name: str
    oracle: str
    rule: str
    counts: Callable[[], Counts]

    @property
    def key(self) -> str:
        """The name of its counts in the record."""
        words = f"{self.name} {self.oracle} {self.rule.split(',')[0]}".lower()
        return re.sub("[^a-z0-9]+", "_", words).strip("_")


def _not_nan(x: Tensor) -> Tensor:
    """Keep what is not NaN: formats without NaN refuse it, ml_dtypes stores -0."""
    return ~torch.isnan(x)


def _nearest_in_e8m0(x: Tensor) -> Tensor:
    """Keep what torch and ml_dtypes round to nearest in E8M0.

    Between 2**-127 and 2**-126, where float32 is subnormal, both always round up.
    """
    return ~((x > 2.0**-127) & (x < 2.0**-126))


def _torch_in_e8m0(x: Tensor) -> Tensor:
    """Keep what torch stores by our rule: it drops signs, and has NaN at the top."""
    return _nearest_in_e8m0(x) & (x >= 0) & (x <= FLOATS["E8M0"].max)


NO_SATURATION = "not saturating"
ANY = "saturating, also infinities"
DECODERS: tuple[tuple[str, Oracle, tuple[str, ...]], ...] = (
    ("torch", oracles.torch_decode, tuple(oracles.TORCH)),
    ("bit mask", oracles.mask_decode, ("TF32",)),
    ("ml_dtypes", oracles.ml_decode, tuple(oracles.ML_DTYPES)),
)
IEEE_OR_NAN = ("FP32", "BF16", "FP16", "E5M2", "E5M2FNUZ", "E4M3FNUZ")
ML_NAN = ("BF16", "E5M2", "E4M3FN", "E5M2FNUZ", "E4M3FNUZ")
TORCH_CLAMPED = clamped(oracles.torch_encode)
Encoder = tuple[str, str, Oracle, bool, Keep | None, tuple[str, ...]]
ENCODERS: tuple[Encoder, ...] = (
    ("torch", NO_SATURATION, oracles.torch_encode, False, None, IEEE_OR_NAN),
    ("torch", ANY, oracles.torch_encode, True, None, ("E4M3FN",)),
    (
        "torch",
        "zero and positive numbers, no subnormals",
        oracles.torch_encode,
        True,
        _torch_in_e8m0,
        ("E8M0",),
    ),
    ("torch after a clamp", ANY, TORCH_CLAMPED, True, None, IEEE_OR_NAN),
    ("bit mask", NO_SATURATION, oracles.mask_encode, False, None, ("TF32",)),
    (
        "bit mask after a clamp",
        ANY,
        clamped(oracles.mask_encode),
        True,
        None,
        ("TF32",),
    ),
    ("ml_dtypes", NO_SATURATION, oracles.ml_encode, False, None, ML_NAN),
    (
        "ml_dtypes",
        NO_SATURATION + ", no subnormals",
        oracles.ml_encode,
        False,
        _nearest_in_e8m0,
        ("E8M0",),
    ),
    (
        "ml_dtypes",
        ANY + ", no NaN",
        oracles.ml_encode,
        True,
        _not_nan,
        ("E3M2", "E2M3", "E2M1"),
    ),
    (
        "torch after round and clamp",
        ANY,
        rounded(TORCH_CLAMPED),
        True,
        None,
        ("INT8",),
    ),
    (
        "ml_dtypes after round and clamp",
        ANY,
        rounded(clamped(oracles.ml_encode)),
        True,
        None,
        ("INT4",),
    ),
)
WEIGHT_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def _rows() -> Iterator[Comparison]:
    """Yield every comparison, in the order of the table."""
    for oracle, decode, names in DECODERS:
        for name in names:
            counts = partial(comparing.decoding, name, decode)
            rule = "sampled codes" if name == "FP32" else "every code"
            yield Comparison(f"{name} decode", oracle, rule, counts)
    for oracle, rule, encode, saturate, keep, names in ENCODERS:
        for name in names:
            counts = partial(
                comparing.encoding, name, encode, saturate=saturate, keep=keep
            )
            yield Comparison(f"{name} encode", oracle, rule, counts)
    yield from _bitsandbytes_rows()


def _bitsandbytes_rows() -> Iterator[Comparison]:
    """Yield the comparisons with bitsandbytes, on a processor."""
    oracle = "bitsandbytes"
    for name, codebook in CODEBOOKS.items():
        counts = partial(comparing.tables, codebook)
        yield Comparison(f"{name} decode", oracle, "every code", counts)
        for word, dtype in WEIGHT_TYPES.items():
            counts = partial(comparing.quantizing, codebook, dtype)
            rule = f"{word} weights, bytes, absmax, rebuilt weights"
            yield Comparison(f"{name} blocks of 64", oracle, rule, counts)
    yield Comparison(
        "Double quantization",
        oracle,
        "codes, scales, rebuilt absmax",
        comparing.nesting,
    )
    yield Comparison(
        "Dynamic map", oracle, "edges of its 65536 steps", comparing.dynamic_codes
    )


PARITY: dict[str, Comparison] = {row.key: row for row in _rows()}


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "Number formats against torch, ml_dtypes and bitsandbytes"
    device = "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers mean, and the versions of the oracles."""
        found = hardware.versions(PACKAGES)
        return (
            "A value is how many answers differ; n is how many were compared.",
            "decode: every code. encode: every value, every tie, the neighbours of "
            "both, all bfloat16 numbers. FP32, in both: all exponents and signs with "
            f"{probes.SAMPLED} mantissas each.",
            "E8M0 between 2**-127 and 2**-126 is left out of encode: torch and "
            "ml_dtypes always round up there, we round to nearest.",
            "NF4, FP4 and double quantization: processor kernels of bitsandbytes.",
            "Oracles: " + ", ".join(f"{p} {found[p]}" for p in PACKAGES) + ".",
        )

    def model(self) -> None:
        """Return None: no model is measured."""

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on: the oracles."""
        found = hardware.versions(PACKAGES)
        return {"sampled": probes.SAMPLED, "rows": ", ".join(PARITY), **found}

    def steps(self) -> Iterator[Step]:
        """Yield a step per comparison."""
        for key, row in PARITY.items():
            yield Step(key, row.counts)

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the counts into values; n is the number of answers compared."""
        counts = {key: results[key] for key in PARITY}
        values = {
            key: records.exact(differing, "", n=compared)
            for key, (compared, differing) in counts.items()
        }
        compared, differing = (
            sum(column) for column in zip(*counts.values(), strict=True)
        )
        values["all"] = records.exact(differing, "", n=compared)
        return values

    def slice(self) -> records.Slice:
        """Repeat the comparisons of formats of at most 8 bits."""
        values = {}
        for key, row in PARITY.items():
            name = row.name.split()[0]
            if name in FLOATS and FLOATS[name].bits <= 8:
                values[f"{key}_n"], values[key] = row.counts()
        return records.Slice(
            description=(
                "Floating point formats of at most 8 bits: answers compared, and "
                "answers that differ"
            ),
            values=values,
            tolerance=0.0,
        )
