"""The measurement `qlora`: fine-tuning beside a 4-bit base, and every way to merge.

The embedded model is trained on sentences of one form (`rounding_text`), 2 windows of
128 tokens a step. After it, two texts are read: held-out sentences of that form, and
the evaluation text, which shows what the model forgot.

    nf4          the base in NF4 with double quantization, no adapter
    adapter      the NF4 base with the trained adapter beside it
    rebuilt      the adapter merged into the weights that the NF4 codes stand for
    requantized  those weights in NF4 again
    merged       the adapter merged into the original float32 weights
    merged_nf4   those weights in NF4
    merged_gptq  those weights by GPTQ, 4 bits, groups of 64
    lora         an adapter trained as long beside the float32 base
    lora_nf4     that adapter merged into float32, then NF4

Training goes in parts; adapters and moments are kept on disk after each.

Left out: other ranks, learning rates, seeds and tasks, and real fine-tuning lengths.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.measure import comparison, records
from course_utils.measure.qlora_training import (
    ALPHA,
    BATCH,
    KINDS,
    LENGTH,
    PART_STEPS,
    PARTS,
    RANK,
    RATE,
    Training,
    changed,
    fill,
    relative_size,
)
from course_utils.measure.rounding_text import rounding_tokens
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel, ratio
from course_utils.methods import gptq, qlora
from course_utils.models import layers, texts
from course_utils.models import qlora as adapting
from course_utils.models.quantize_model import quantize_model

TASK_TOKENS = 2 * 512
GPTQ = QuantSpec(4, group_size=64)
MERGES = ("rebuilt", "requantized", "merged", "merged_nf4", "merged_gptq", "lora_nf4")
PAIRS = {  # a ratio of task perplexities: under, over
    "adapter_over_nf4": ("nf4", "adapter"),
    "requantized_over_nf4": ("nf4", "requantized"),
    "merged_over_adapter": ("adapter", "merged"),
    "merged_nf4_over_adapter": ("adapter", "merged_nf4"),
    "merged_gptq_over_merged_nf4": ("merged_nf4", "merged_gptq"),
    "adapter_over_lora": ("lora", "adapter"),
    "merged_nf4_over_lora_nf4": ("lora_nf4", "merged_nf4"),
}
SLICE_LAYER = "model.layers.29."
# The losses are means of logarithms in float32; another processor sums in another
# order, which moves them by some 1e-6, and the small change of B by the same share of
# its gradient.
SLICE_TOLERANCE = 1e-3


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "QLoRA on the embedded model: training, and six ways to merge"
    N_EVAL = 2 * 512
    notes = (
        f"Training: {PARTS * PART_STEPS} steps of {BATCH} x {LENGTH} tokens of "
        f"rounding sentences, rank {RANK}, alpha {ALPHA}, adapters on every linear "
        f"layer of the decoder, AdamW without weight decay, constant rate {RATE}.",
        f"task: {TASK_TOKENS} tokens of held-out sentences; text: {N_EVAL} tokens of "
        "the evaluation text; windows of 512. A ratio is perplexity over that of "
        "float32; intervals: paired, over blocks of 64 tokens; one seed.",
        "changed: share of weights whose NF4 code differs from the base's. relative: "
        "size of the change over that of the weights, Frobenius norms.",
    )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        training = [RANK, ALPHA, RATE, PARTS, PART_STEPS, BATCH, LENGTH, TASK_TOKENS]
        return super().inputs() | {"training": " ".join(map(str, training))}

    @cached_property
    def training(self) -> Training:
        """The training, of this model."""
        return Training(self.loaded.model, self.loaded.tokenizer)

    @cached_property
    def task_baseline(self) -> comparison.Baseline:
        """The float32 model's predictions on held-out sentences."""
        tokens = rounding_tokens(
            self.loaded.tokenizer, TASK_TOKENS, seed=2, held_out=True
        )
        return comparison.read(self.loaded.model, tokens, context=self.CONTEXT)

    def steps(self) -> Iterator[Step]:
        """Yield the baseline, the training in parts, then each way to use it."""
        yield Step("float32", self._float)
        yield Step("nf4", lambda: self._read(self._rebuilt(self.weights)))
        for kind in KINDS:
            for part in range(PARTS):
                yield Step(
                    f"train_{kind}_{part}",
                    lambda kind=kind, part=part: self.training.part(kind, part)[
                        "losses"
                    ],
                )
            yield Step(kind, lambda kind=kind: self._beside(kind))
        yield Step("changes", self._changes)
        for name in MERGES:
            yield Step(name, lambda name=name: self._read(self._merge(name)))

    def _float(self) -> Json:
        found = (comparison.itself(b) for b in (self.task_baseline, self.baseline))
        return _both(*found)

    def _read(self, weights: Mapping[str, Tensor]) -> Json:
        """Return what the model with these weights makes of both texts."""
        baseline = self.task_baseline  # before the weights are changed
        with layers.swapped(self.loaded.model, weights):
            task = comparison.compare(baseline, self.loaded.model)
        return _both(task, self.compare(weights))

    def _beside(self, kind: str) -> Json:
        """Return what the model with the adapter beside its base makes of both."""
        baselines = self.task_baseline, self.baseline
        state = self.training.part(kind, PARTS - 1)
        with self.training.adapted(kind) as found:
            fill(found, state)
            return _both(*(comparison.compare(b, self.loaded.model) for b in baselines))

    def _rebuilt(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights as NF4 with double quantization keeps them."""
        return {name: qlora.rebuilt(qlora.freeze(w)) for name, w in weights.items()}

    def _merge(self, name: str) -> dict[str, Tensor]:
        """Return the weights of one way to merge."""
        found = self.training.adapters("lora" if name == "lora_nf4" else "adapter")
        on_codes = name in ("rebuilt", "requantized")
        base = adapting.bases(found) if on_codes else self.weights
        weights = adapting.merged(base, found)
        if name in ("requantized", "merged_nf4", "lora_nf4"):
            return self._rebuilt(weights)
        if name == "merged_gptq":
            with layers.swapped(self.loaded.model, weights):
                done = quantize_model(
                    self.loaded.model,
                    texts.calibration_tokens(),
                    partial(gptq.quantize, spec=GPTQ),
                    stacked=True,
                    progress=lambda _: None,
                )
            return {layer: t.dequantize() for layer, t in done.items()}
        return weights

    def _changes(self) -> Json:
        """Return how large the adapter is, and how many codes it changes."""
        found = self.training.adapters("adapter")
        return {
            "relative": relative_size(found, self.weights),
            "requantized": changed(found, adapting.bases(found)),
            "merged_nf4": changed(found, self.weights),
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        base, values = results["float32"], {}
        for name in ("float32", "nf4", *KINDS, *MERGES):
            for text in ("task", "text"):
                values |= _values(f"{name}_{text}", base[text], results[name][text])
        for kind in KINDS:
            losses = [x for p in range(PARTS) for x in results[f"train_{kind}_{p}"]]
            for i in (0, len(losses) - 1):
                name = "first" if i == 0 else "last"
                values[f"{kind}_loss_{name}"] = records.exact(losses[i], "nats")
        for name, pair in PAIRS.items():
            before, after = (
                torch.tensor(results[x]["task"]["log_likelihoods"]) for x in pair
            )
            values[name] = ratio(before, after)
        changes = results["changes"]
        values["relative"] = records.exact(changes["relative"], "")
        for name in ("requantized", "merged_nf4"):
            values[f"{name}_changed"] = records.exact(changes[name], "")
        return values

    def slice(self) -> records.Slice:
        """Take two steps on the adapters of one layer, and merge them."""
        model = self.loaded.model
        names = [n for n in self.weights if n.startswith(SLICE_LAYER)]
        with adapting.adapted(model, r=RANK, alpha=ALPHA, names=names) as found:
            optimizer = torch.optim.SGD(adapting.parameters(found), lr=0.1)
            batches = self.training.batches[:2, :1, :64]
            losses = [adapting.train_step(model, b, optimizer) for b in batches]
        return records.Slice(
            description=(
                "Adapters on the last layer, two steps of SGD on 64 tokens: losses, "
                "and the size of the change"
            ),
            values={
                "loss_0": losses[0],
                "loss_1": losses[1],
                "relative": relative_size(found, self.weights),
            },
            tolerance=SLICE_TOLERANCE,
        )


def _both(task: comparison.Comparison, text: comparison.Comparison) -> Json:
    return {"task": _result(task), "text": _result(text)}


def _result(found: comparison.Comparison) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "perplexity": found.perplexity,
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
    }


def _values(name: str, base: Json, found: Json) -> dict[str, records.Value]:
    before, after = (torch.tensor(x["log_likelihoods"]) for x in (base, found))
    return {
        f"{name}_ppl": records.exact(found["perplexity"], "", n=len(after)),
        f"{name}_ratio": ratio(before, after),
        f"{name}_kl": records.exact(found["kl"], "nats", n=found["n"]),
        f"{name}_top1": records.exact(found["top1"], "", n=found["n"]),
    }
