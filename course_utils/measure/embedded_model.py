"""The measurement `embedded-model`: loading, memory, speed and perplexity.

    first load    from the downloaded file: dequantize, rescale, write, load
    later load    from the prepared cache, files in memory
    peak          of the process: after loading, and after one window of 512 tokens
    prefill       512 tokens of the evaluation text, logits of the last one only
    decode        64 tokens after those, with the key-value cache
    perplexity    the first 4 x 512 tokens of the evaluation text

Loads and peaks are taken in new processes (`child`). Times are medians with the
lowest and highest run. The interval of the perplexity comes from the standard error
of the mean over tokens, taken as independent; neighbouring tokens are not, so it is a
lower bound on the uncertainty.

Left out: a cold disk, the download, other numbers of threads.
"""

import math
from collections.abc import Iterator

from course_utils.measure import child, memory, perplexity, records, speed
from course_utils.measure.inference import truncated
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel
from course_utils.models import fetch

FIRST_LOADS, LOADS, RUNS = 3, 5, 5
N_PROMPT, N_NEW = 512, 64
SLICE_LAYERS, SLICE_TOKENS = 4, 64
# Four layers are about 40 operations in a row, each rounding sums of up to 1,536
# float32 terms. Where another processor adds in another order, a token's value moves
# by about sqrt(40 * 1536) * 2**-24 = 1.5e-5 of itself and the mean of 63 by 1.9e-6.
# Five times that; rounding one matrix to 8 bits already moves the mean by more.
SLICE_TOLERANCE = 1e-5


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "The embedded model on a processor: loading, memory, speed, perplexity"
    N_EVAL, CONTEXT = 4 * 512, 512
    notes = (
        "Times are medians of the runs, with the lowest and the highest.",
        "First load starts from the downloaded file and ends with a model in memory; "
        "later load starts from the prepared cache. Files were in memory already, and "
        "importing torch and transformers is counted apart.",
        f"Prefill reads {N_PROMPT} tokens and computes logits for the last one; decode "
        f"writes {N_NEW} tokens after them with the key-value cache.",
        f"Perplexity: {perplexity.protocol(N_EVAL, context=CONTEXT)}. Its interval "
        "takes tokens as independent, so it is too narrow rather than too wide.",
        "Peaks are the largest resident size of a process, Python and torch included: "
        f"after loading, and after evaluating one window of {CONTEXT} tokens. A "
        "prepared file is mapped and read when a weight is first used, so the peak "
        "after loading can be below the size of the weights.",
    )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return super().inputs() | {
            "n_prompt": N_PROMPT,
            "n_new": N_NEW,
            "runs": f"{FIRST_LOADS}, {LOADS}, {RUNS}",
        }

    def steps(self) -> Iterator[Step]:
        """Yield the steps; loads come one by one, so that an interrupt costs little."""
        yield Step("later load, warm-up", lambda: child.run("load"))
        for k in range(1, FIRST_LOADS + 1):
            yield Step(f"first load {k}", lambda: child.run("first-load"))
        for k in range(1, LOADS + 1):
            yield Step(f"later load {k}", lambda: child.run("load"))
        yield Step("speed", self._speed)
        yield Step("perplexity", self._perplexity)
        yield Step("weights", self._weights)

    def _speed(self) -> Json:
        model, prompt = self.loaded.model, self.tokens[:N_PROMPT]
        runs = list(speed.time_generation(model, prompt, n_new=N_NEW, repeats=RUNS))
        return {
            "prefill": [run.prefill_rate for run in runs],
            "decode": [run.decode_rate for run in runs],
        }

    def _perplexity(self) -> Json:
        scores = perplexity.log_likelihoods(
            self.loaded.model, self.tokens, context=self.CONTEXT
        ).double()
        mean, error = scores.mean().item(), scores.std().item() / math.sqrt(len(scores))
        return {"n": len(scores), "mean": mean, "standard_error": error}

    def _weights(self) -> Json:
        model = self.loaded.model
        return {
            "parameters": sum(p.numel() for p in model.parameters()),
            "bytes": memory.weight_bytes(model),
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        first = [results[f"first load {k}"] for k in range(1, FIRST_LOADS + 1)]
        later = [results[f"later load {k}"] for k in range(1, LOADS + 1)]

        def over(runs: list[Json], key: str, unit: str) -> records.Value:
            return records.repeated([run[key] for run in runs], unit)

        return {
            "first_load": over(first, "load_seconds", "s"),
            "later_load": over(later, "load_seconds", "s"),
            "imports": over(later, "import_seconds", "s"),
            "peak_first_load": over(first, "peak_load_bytes", "B"),
            "peak_load": over(later, "peak_load_bytes", "B"),
            "peak_window": over(later, "peak_window_bytes", "B"),
            "parameters": records.exact(results["weights"]["parameters"], ""),
            "weights": records.exact(results["weights"]["bytes"], "B"),
            "download": records.exact(fetch.GGUF_BYTES, "B"),
            "prefill": records.repeated(results["speed"]["prefill"], "tok/s"),
            "decode": records.repeated(results["speed"]["decode"], "tok/s"),
            "perplexity": _interval(results["perplexity"]),
        }

    def slice(self) -> records.Slice:
        """Measure the first layers: their size, and how they read 64 tokens."""
        model = self.loaded.model
        layers = model.model.layers[:SLICE_LAYERS]
        with truncated(model, SLICE_LAYERS):
            scores = perplexity.log_likelihoods(model, self.tokens[:SLICE_TOKENS])
        return records.Slice(
            description=(
                f"Layers 0 to {SLICE_LAYERS - 1} alone, with embedding and output: "
                "their parameters and bytes, and the mean log-likelihood of the first "
                f"{SLICE_TOKENS} tokens of the evaluation text in nats"
            ),
            values={
                "layer_parameters": sum(p.numel() for p in layers.parameters()),
                "layer_bytes": memory.weight_bytes(layers),
                "mean_log_likelihood": scores.double().mean().item(),
            },
            tolerance=SLICE_TOLERANCE,
        )


def _interval(result: Json) -> records.Value:
    """Return the perplexity with its 95 % interval over tokens."""
    mean, reach = result["mean"], 1.96 * result["standard_error"]
    low, value, high = (
        float(f"{math.exp(-x):.6g}") for x in (mean + reach, mean, mean - reach)
    )
    spread = records.Spread(low=low, high=high, kind="95% interval")
    return records.Value(value=value, unit="", n=result["n"], spread=spread)
