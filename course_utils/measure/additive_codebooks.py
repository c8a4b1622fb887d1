"""The measurement `additive`: what is left of three real layers below three bits.

Query, gate and down projection of one decoder layer. At one, two and three codebooks of
8 bits for groups of 8 weights:

    aqlm    additive codebooks, decoded by the kernel of the library `aqlm`
    gptq    GPTQ with the largest groups that store at least as many bits
    act     the same with act-order
    rtn     round to nearest in the same groups

Errors are shares: of the power of the layer's output that is lost, on the calibration
text (`fit`) and on the evaluation text (`error`), which no method has seen; and of the
sum of squares of the weights (`weights`). With two codebooks one matrix at a time is
put into the model, and its predictions are compared with those of the float32 model.

Ternary weights replace every linear layer of the decoder. Rotations precede rounding
to 2 bits: GPTQ and round to nearest on U^T W V, undone afterwards.

Left out: the rest of the model in additive codebooks, which takes this program an hour.
"""

import time
from collections.abc import Iterator
from functools import cached_property, partial

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.measure import aqlm_library, comparison, records, two_bit_rotations
from course_utils.measure.perplexity import perplexity_of, protocol
from course_utils.measure.quantizer_pairs import library
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel, ratio
from course_utils.methods import additive, gptq, rtn, ternary
from course_utils.methods.statistics import LayerStats, output_error
from course_utils.models import texts
from course_utils.models.walk import walk

LAYER = 10
MATRICES = {"q": "self_attn.q_proj", "gate": "mlp.gate_proj", "down": "mlp.down_proj"}
CODEBOOKS, TURNS = (1, 2, 3), 3
RACES = 20  # calls of the kernel with two threads
TERNARY = {
    "bitnet": partial(ternary.quantize, group_size=0),
    "squares": partial(ternary.least_squares, group_size=0),
    "squares64": partial(ternary.least_squares, group_size=64),
}
SLICE_ROWS = 64
# A tie of two vectors may go the other way on another processor, and what follows it
# too. The search then ends in another of many solutions that are about as good.
SLICE_TOLERANCE = 0.02


def rival_group(cols: int, *, bits: int, stored: float) -> int:
    """Return the largest group size at which integers store at least `stored` bits.

    A group stores a scale of 16 bits and a zero point as wide as a code.

    Raises: ValueError if even groups of one weight store less.
    """
    for size in range(cols, 0, -1):
        if cols % size == 0 and bits + (16 + bits) / size >= stored:
            return size
    raise ValueError(
        f"No group size brings {bits}-bit codes to {stored:.3f} bits per weight."
    )


def share(w: Tensor, w_hat: Tensor, stats: LayerStats) -> float:
    """Return the share of the output's power that is lost."""
    return output_error(w, w_hat, stats) / output_error(w, torch.zeros_like(w), stats)


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    N_EVAL, CONTEXT = 2 * 512, 512
    title = "Additive codebooks on three layers, ternary weights, rotated 2-bit weights"
    notes = (
        f"Matrices of decoder layer {LAYER}; the layers before it in float32. Fitted "
        "to 32 x 256 calibration tokens; errors on 4 x 512 evaluation tokens, "
        "as shares of the output's power.",
        "Groups of 8 weights, codes of 8 bits, beam 4, "
        f"{TURNS} turns. Bits per weight count codes, codebooks and scales, 16 bits a "
        "number; rivals store 16 bits a scale and a zero point as wide as a code, and "
        "32 bits a column for act-order.",
        "kernel: largest difference between weights decoded by aqlm 1.1.7 (one "
        "thread) and by us. race: largest relative error of its output in "
        f"{RACES} calls with two threads; differs from run to run.",
        f"Perplexity: {protocol(N_EVAL, context=CONTEXT)}.",
    )

    @cached_property
    def layer_stats(self) -> dict[str, tuple[LayerStats, LayerStats]]:
        """What each matrix reads of the calibration and of the evaluation text."""
        evaluation = texts.evaluation_tokens(self.loaded.tokenizer, 4 * 512)
        found = []
        for tokens in (texts.calibration_tokens(), evaluation.reshape(4, 512)):
            blocks = walk(self.loaded.model, tokens)
            block = next(b for b in blocks if b.index == LAYER)
            found.append(block.statistics(MATRICES.values()))
        return {key: (found[0][n], found[1][n]) for key, n in MATRICES.items()}

    def name(self, key: str) -> str:
        """Return the name in the model of a matrix."""
        return f"model.layers.{LAYER}.{MATRICES[key]}"

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        library("aqlm")
        return super().inputs() | {"turns": TURNS}

    def steps(self) -> Iterator[Step]:
        """Yield the matrices with one to three codebooks, ternary models, rotations."""
        yield Step("float32", lambda: _quality(comparison.itself(self.baseline), 32.0))
        for key in MATRICES:
            for m in CODEBOOKS:
                yield Step(f"{key}_{m}", lambda key=key, m=m: self._matrix(key, m))
            yield Step(f"{key}_rotated", lambda key=key: self._rotated(key))
        for kind in TERNARY:
            yield Step(kind, lambda kind=kind: self._ternary(kind))

    def _matrix(self, key: str, m: int) -> Json:
        """Return the errors of one matrix with m codebooks and of its rivals."""
        w, (fit, held) = self.weights[self.name(key)], self.layer_stats[key]
        start = time.perf_counter()
        found = additive.quantize(w, fit, n_codebooks=m, turns=TURNS)
        seconds = time.perf_counter() - start
        kernel = aqlm_library.decoded(found)
        rebuilt = {"aqlm": kernel}
        stored = {"aqlm": found.bits_per_weight()}
        size = rival_group(w.shape[1], bits=m, stored=stored["aqlm"])
        spec = QuantSpec(m, group_size=size)
        rivals: dict[str, QTensor] = {
            "gptq": gptq.quantize(w, fit, spec=spec),
            "act": gptq.quantize(w, fit, spec=spec, act_order=True),
            "rtn": rtn.quantize(w, spec=spec),
        }
        rebuilt |= {kind: t.dequantize() for kind, t in rivals.items()}
        stored |= {kind: t.bits_per_weight() for kind, t in rivals.items()}
        if m == 2:
            start_only = additive.quantize(w, fit, n_codebooks=m, turns=0)
            rebuilt["start"] = start_only.dequantize()
            stored["start"] = stored["aqlm"]
        results = {
            f"{key}_{kind}_{m}": {"bits": stored[kind]} | _errors(w, w_hat, fit, held)
            for kind, w_hat in rebuilt.items()
        }
        results[f"{key}_aqlm_{m}"] |= {
            "seconds": seconds,
            "kernel": float((kernel - found.dequantize()).abs().max()),
        }
        if m == 2:
            for kind in ("aqlm", "gptq", "rtn"):
                result = self.compare({self.name(key): rebuilt[kind]})
                results[f"{key}_{kind}_{m}"] |= {"kl": result.kl}
            results[f"{key}_aqlm_{m}"]["race"] = aqlm_library.race(found, RACES)
        return results

    def _rotated(self, key: str) -> Json:
        """Return the errors of 2-bit weights in three bases."""
        w, (fit, held) = self.weights[self.name(key)], self.layer_stats[key]
        return {
            f"{key}_{kind}_{method}": {"peak": peak} | _errors(w, w_hat, fit, held)
            for kind, method, w_hat, peak in two_bit_rotations.rounded(w, fit)
        }

    def _ternary(self, kind: str) -> Json:
        """Return what the model with three values a weight makes of the text."""
        found = {name: TERNARY[kind](w) for name, w in self.weights.items()}
        n = sum(w.numel() for w in self.weights.values())
        bits = sum(ternary.bits_per_weight(t) * t.q.numel() for t in found.values())
        rebuilt = {name: t.dequantize() for name, t in found.items()}
        return _quality(self.compare(rebuilt), bits / n)

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values, base = {}, results["float32"]
        for key in MATRICES:
            for step in (*(f"{key}_{m}" for m in CODEBOOKS), f"{key}_rotated"):
                for name, found in results[step].items():
                    for what, value in found.items():
                        unit = {"bits": "bits", "kl": "nats", "seconds": "s"}
                        values[f"{name}_{what}"] = records.exact(
                            value, unit.get(what, "")
                        )
        values["float32_ppl"] = records.exact(base["perplexity"], "")
        before = torch.tensor(base["log_likelihoods"])
        for kind in TERNARY:
            found = results[kind]
            values |= {
                f"{kind}_bits": records.exact(found["bits"], "bits"),
                f"{kind}_ppl": records.exact(found["perplexity"], "", n=found["n"]),
                f"{kind}_kl": records.exact(found["kl"], "nats", n=found["n"]),
                f"{kind}_top1": records.exact(found["top1"], "", n=found["n"]),
                f"{kind}_ratio": ratio(before, torch.tensor(found["log_likelihoods"])),
            }
        return values

    def slice(self) -> records.Slice:
        """Fit the first rows of the first query projection; round them to three."""
        block = next(walk(self.loaded.model, texts.calibration_tokens()))
        stats = block.statistics(["self_attn.q_proj"])["self_attn.q_proj"]
        w = self.weights["model.layers.0.self_attn.q_proj"][:SLICE_ROWS]
        found = additive.quantize(w, stats, bits=6, turns=2)
        values = {
            "aqlm": share(w, found.dequantize(), stats),
            "bits": found.bits_per_weight(),
        }
        for kind, quantize in TERNARY.items():
            values[kind] = share(w, quantize(w).dequantize(), stats)
        return records.Slice(
            description=(
                f"The first {SLICE_ROWS} rows of the first query projection: shares of "
                "the output lost with two codebooks of 6 bits, and with three values"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def _errors(w: Tensor, w_hat: Tensor, fit: LayerStats, held: LayerStats) -> Json:
    return {
        "fit": share(w, w_hat, fit),
        "error": share(w, w_hat, held),
        "weights": float((w - w_hat).square().sum() / w.square().sum()),
    }


def _quality(found: comparison.Comparison, bits: float) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "perplexity": perplexity_of(found.log_likelihoods),
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
        "bits": bits,
    }
