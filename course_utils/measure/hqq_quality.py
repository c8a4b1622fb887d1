"""The measurement `hqq`: what a calibration-free zero point does to a whole model.

Every linear layer of the decoder is rounded in 4, 3 and 2 bits, the model reads the
evaluation text, and its log-likelihoods are compared token by token with those of the
float32 model:

    rtn        round to nearest, groups of 64
    rtn32      the same in groups of 32: at least as many bits as HQQ stores
    ends       HQQ without a turn: a float zero point put where the ends of a group say
    hqq        HQQ with its own settings
    steps      HQQ that measures errors in steps, beta 5
    integer    hqq with its zero points rounded, so that 0.0 is kept

`hqq`, the library, rounds the same matrices: its objective and its time beside ours.

Left out: other texts and models, and storing scale and zero point in 16 bits, which
the bits per weight count and the perplexities do not show.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.measure import comparison, records
from course_utils.measure.hqq_library import compared
from course_utils.measure.perplexity import perplexity_of, protocol
from course_utils.measure.quantizer_pairs import library
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel, ratio
from course_utils.methods import hqq, rtn

BITS, GROUP, BETA, STEPS_BETA = (4, 3, 2), 64, 10.0, 5.0
SLICE_MATRICES = 7  # one decoder layer
# Another processor may break ties the other way: of millions of errors a few move.
SLICE_TOLERANCE = 1e-4

Quantizer = Callable[[Tensor], QTensor]


def quantizers(bits: int) -> dict[str, Quantizer]:
    """Return what is compared at a width, by its key."""
    spec = QuantSpec(bits, group_size=GROUP)
    return {
        "rtn": partial(rtn.quantize, spec=spec),
        "rtn32": partial(rtn.quantize, spec=QuantSpec(bits, group_size=32)),
        "ends": partial(hqq.quantize, spec=spec, iters=0),
        "hqq": partial(hqq.quantize, spec=spec, beta=BETA),
        "steps": partial(hqq.quantize, spec=spec, beta=STEPS_BETA, in_steps=True),
    }


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "HQQ on the embedded model in 4, 3 and 2 bits, beside round to nearest"
    N_EVAL, CONTEXT = 2 * 512, 512
    notes = (
        f"Perplexity: {protocol(N_EVAL, context=CONTEXT)}. A ratio is perplexity over "
        f"that of float32; intervals: paired, over blocks of {BLOCK} tokens.",
        f"Groups of {GROUP} along a row; rtn32 has groups of 32. Bits per weight count "
        "16 bits a scale, 16 bits a float zero point and the width of a code for an "
        "integer one, over the linear layers of the decoder.",
        "objective_l1 and objective_lp are the sums of |W - W_r| and |W - W_r|^0.7 "
        "over all weights in 4 bits, ours over the library's. shrunk is the share of "
        "weights whose first error exceeds the threshold of the default beta.",
        "Seconds: rounding all matrices once, one run. hqq 0.2.8.post1.",
    )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        library("hqq")  # says what to install before anything is measured
        return super().inputs()

    def steps(self) -> Iterator[Step]:
        """Yield the baseline, each method at each width, then the library."""
        yield Step(
            "float32", lambda: _result(comparison.itself(self.baseline), 32.0, 0.0)
        )
        for bits in BITS:
            for key in quantizers(bits):
                yield Step(f"{key}_{bits}", lambda k=key, b=bits: self._quality(k, b))
            yield Step(f"shrunk_{bits}", lambda bits=bits: self._shrunk(bits))
        library("hqq.core.quantize")  # imported before it is timed
        yield Step(
            "library",
            lambda: compared(list(self.weights.values()), bits=4, group_size=GROUP),
        )

    def _quality(self, key: str, bits: int) -> Json:
        """Return one result, and for HQQ that of its integer zero points."""
        start = time.perf_counter()
        quantize = quantizers(bits)[key]
        found = {name: quantize(w) for name, w in self.weights.items()}
        results = {key: self._read(found, time.perf_counter() - start)}
        if key == "hqq":
            for name, w in self.weights.items():
                found[name] = hqq.integer_zero(w, found[name])
            results["integer"] = self._read(found, results[key]["seconds"])
        return results

    def _read(self, found: dict[str, QTensor], seconds: float) -> Json:
        n = sum(w.numel() for w in self.weights.values())
        stored = sum(t.q.numel() * stored_bits(t) for t in found.values()) / n
        rebuilt = {name: t.dequantize() for name, t in found.items()}
        return _result(self.compare(rebuilt), stored, seconds)

    def _shrunk(self, bits: int) -> Json:
        """Return the share of weights whose first error the norm leaves anything of."""
        spec, above = QuantSpec(bits, group_size=GROUP), 0
        for w in self.weights.values():
            error = w - hqq.quantize(w, spec=spec, iters=0).dequantize()
            above += int((error.abs() > hqq.threshold(BETA)).sum())
        return above / sum(w.numel() for w in self.weights.values())

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        base = results["float32"]
        values = {"float32_ppl": records.exact(base["perplexity"], "")}
        for bits in BITS:
            for key in quantizers(bits):
                for name, found in results[f"{key}_{bits}"].items():
                    values |= _values(f"{name}_{bits}", base, found)
            values[f"shrunk_{bits}"] = records.exact(results[f"shrunk_{bits}"], "")
        found = results["library"]
        for kind in ("l1", "lp"):
            values[f"objective_{kind}"] = records.exact(found[kind], "", n=found["n"])
        for who in ("ours", "library"):
            values[f"seconds_{who}"] = records.exact(found[who], "s")
        return values

    def slice(self) -> records.Slice:
        """Compare the objectives on the matrices of the first layer."""
        weights = list(self.weights.values())[:SLICE_MATRICES]
        values = {}
        for bits in BITS:
            found = compared(weights, bits=bits, group_size=GROUP)
            values |= {f"{k}_{bits}": found[k] for k in ("l1", "lp")}
        return records.Slice(
            description=(
                "The matrices of the first layer: our sums of |W - W_r| and "
                "|W - W_r|^0.7 over the library's"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def stored_bits(found: QTensor) -> float:
    """Return the bits per weight, with 16 for a zero point that is no integer."""
    z = found.zero_point
    return found.bits_per_weight(zero_bits=16 if (z != z.round()).any() else None)


def _result(found: comparison.Comparison, bits: float, seconds: float) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "perplexity": perplexity_of(found.log_likelihoods),
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
        "bits": bits,
        "seconds": seconds,
    }


def _values(name: str, base: Json, found: Json) -> dict[str, records.Value]:
    """Return the values of one method at one width."""
    before, after = (torch.tensor(x["log_likelihoods"]) for x in (base, found))
    return {
        f"{name}_ppl": records.exact(found["perplexity"], "", n=len(after)),
        f"{name}_ratio": ratio(before, after),
        f"{name}_kl": records.exact(found["kl"], "nats", n=found["n"]),
        f"{name}_top1": records.exact(found["top1"], "", n=found["n"]),
        f"{name}_bits": records.exact(found["bits"], "bits"),
        f"{name}_seconds": records.exact(found["seconds"], "s"),
    }
