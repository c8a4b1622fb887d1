"""The measurement `gguf-quality`: files of llama.cpp, with and without calibration.

    none        the type alone
    imatrix     importance measured on the calibration tokens
    equal       the same importance for every column: the search without the data
    random      importance measured on random tokens

Every file is read by llama.cpp itself, so that what its kernels round on the way (the
inputs of quantized matrices, to 8 bits) is part of the result. Types that refuse to be
made without an importance matrix are asked for one without it, and the refusal kept.

Left out: other texts for the importance, larger models, GPUs.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from course_utils.measure import comparison, records
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel, ratio
from course_utils.models import fetch, gguf_file, llama_cpp, llama_imatrix, texts
from course_utils.models.cache import ModelError

ALONE = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_NL", "IQ4_XS")
ALONE_LOW = ("Q3_K_M", "Q2_K", "IQ3_XXS")
BOTH = ("Q4_K_M", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q2_K", "IQ3_XXS")
ONLY_WITH = ("IQ2_XS", "IQ1_S")
CONTROLS = ("Q4_0", "Q2_K")
VARIANTS: tuple[tuple[str, str], ...] = (
    *((kind, "none") for kind in (*ALONE, *ALONE_LOW)),
    *((kind, "imatrix") for kind in (*BOTH, *ONLY_WITH)),
    *((kind, how) for kind in CONTROLS for how in ("equal", "random")),
)
SLICE_TEXTS = 1
SLICE_TOLERANCE = 1e-3  # means of squares of float32 activations, another thread count


def key_of(kind: str, how: str) -> str:
    """Return how the values of a file begin: q4_0, q4_0_imatrix."""
    return kind.lower() if how == "none" else f"{kind.lower()}_{how}"


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "GGUF files of the embedded model: types, importance matrices, quality"
    notes = (
        "Four windows of 512 tokens. Baseline: the float32 model. Files are run by "
        "llama.cpp on the processor, keys and values in float32. A ratio is of "
        "perplexities, paired over blocks of 64 tokens, with its 95 % interval.",
        "imatrix: mean squares over 32 x 256 calibration tokens. equal: one for every "
        "column. random: as many random tokens. gain: the ratio of perplexities with "
        "the importance matrix over without.",
        "bits: of all tensors over all weights, as stored. seconds: quantizing, one "
        "run. holds: tensors of a type in the file. refused: 1 where llama.cpp does "
        "not make the type without an importance matrix.",
    )

    @cached_property
    def folder(self) -> tempfile.TemporaryDirectory:
        """Where the files lie while they are measured."""
        return tempfile.TemporaryDirectory(prefix="gguf-quality-")

    @cached_property
    def source(self) -> Path:
        """The float32 file that every other is made of."""
        path = Path(self.folder.name) / "f32.gguf"
        return gguf_file.write(self.loaded.model, fetch.gguf_file(), path)

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on.

        Raises: ModelError without llama.cpp.
        """
        if reason := llama_cpp.missing():
            raise ModelError(reason)
        return super().inputs()

    @cached_property
    def calibrated(self) -> dict[str, Tensor]:
        """The importance measured on the calibration tokens."""
        return llama_imatrix.mean_squares(self.loaded.model, texts.calibration_tokens())

    def importance(self, how: str) -> dict[str, Tensor] | None:
        """Return the importance of a variant; None for none."""
        if how == "none":
            return None
        if how == "equal":
            return {n: torch.ones_like(means) for n, means in self.calibrated.items()}
        return self.calibrated if how == "imatrix" else self.random

    @cached_property
    def random(self) -> dict[str, Tensor]:
        """The importance measured on as many tokens drawn by chance."""
        tokens = texts.calibration_tokens()
        drawn = torch.randint(
            self.loaded.model.config.vocab_size,
            tokens.shape,
            generator=torch.Generator().manual_seed(0),
        )
        return llama_imatrix.mean_squares(self.loaded.model, drawn)

    def steps(self) -> Iterator[Step]:
        """Yield the float32 model twice, the refusals, then every file."""
        yield Step("float32", lambda: _result(comparison.itself(self.baseline)))
        yield Step("float32 file", self._float_file)
        yield Step("refused", self._refused)
        for kind, how in VARIANTS:
            yield Step(key_of(kind, how), partial(self._file, kind, how))

    def _float_file(self) -> Json:
        baseline = self.baseline
        with llama_cpp.open_file(self.source) as file:
            return _result(comparison.compare(baseline, file.logits))

    def _refused(self) -> Json:
        """Return which types llama.cpp does not make without an importance matrix."""
        refused = {}
        target = Path(self.folder.name) / "refused.gguf"
        for kind in (*ONLY_WITH, "IQ3_XXS"):
            try:
                llama_cpp.quantize(self.source, target, kind).unlink()
                refused[kind] = 0
            except ModelError:
                refused[kind] = 1
        return refused

    def _file(self, kind: str, how: str) -> Json:
        """Quantize, look inside, measure, and remove the file."""
        importance, source = self.importance(how), self.source
        path = Path(self.folder.name) / f"{key_of(kind, how)}.gguf"
        start = time.perf_counter()
        llama_cpp.quantize(source, path, kind, importance=importance)
        seconds = time.perf_counter() - start
        stored = gguf_file.tensors(path)
        try:
            with llama_cpp.open_file(path) as file:
                result = _result(comparison.compare(self.baseline, file.logits))
        finally:
            size = path.stat().st_size
            path.unlink()
        n = sum(t.n_weights for t in stored.values())
        held = [t.kind for t in stored.values()]
        return result | {
            "bytes": size,
            "bits": 8 * sum(t.n_bytes for t in stored.values()) / n,
            "seconds": seconds,
            "holds": {name: held.count(name) for name in sorted(set(held))},
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        base = results["float32"]
        values = {"float32_ppl": records.exact(base["perplexity"], "")}
        values |= _quality("float32_file", base, results["float32 file"])
        for kind, refused in results["refused"].items():
            values[f"{kind.lower()}_refused"] = records.exact(refused, "")
        for kind, how in VARIANTS:
            key = key_of(kind, how)
            found = results[key]
            values |= _quality(key, base, found)
            values[f"{key}_bytes"] = records.exact(found["bytes"], "bytes")
            values[f"{key}_bits"] = records.exact(found["bits"], "bits")
            values[f"{key}_seconds"] = records.exact(found["seconds"], "s")
            for name, n in found["holds"].items():
                values[f"{key}_holds_{name.lower()}"] = records.exact(n, "tensors")
            if how != "none" and (kind, "none") in VARIANTS:
                before, after = (_tensor(results[k]) for k in (kind.lower(), key))
                values[f"{key}_gain"] = ratio(before, after)
        return values

    def slice(self) -> records.Slice:
        """Make two files and measure the importance on one text."""
        found: dict[str, float] = {}
        for kind in ("Q8_0", "Q4_K_M"):
            path = Path(self.folder.name) / "slice.gguf"
            llama_cpp.quantize(self.source, path, kind)
            held = list(gguf_file.tensor_types(path).values())
            found[f"{kind.lower()}_bytes"] = path.stat().st_size
            found[f"{kind.lower()}_q5_0"] = held.count("Q5_0")
            path.unlink()
        means = llama_imatrix.mean_squares(
            self.loaded.model, texts.calibration_tokens()[:SLICE_TEXTS, :64]
        )
        for layer, kind in ((0, "attn_q"), (10, "ffn_down")):
            loud = means[f"blk.{layer}.{kind}.weight"].mean()
            found[f"importance_{kind}"] = float(loud)
        return records.Slice(
            description=(
                "Bytes and Q5_0 tensors of two files, and the mean importance of two "
                "matrices over 64 tokens"
            ),
            values=found,
            tolerance=SLICE_TOLERANCE,
        )


def _result(found: comparison.Comparison) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "perplexity": found.perplexity,
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
    }


def _tensor(found: Json) -> Tensor:
    return torch.tensor(found["log_likelihoods"])


def _quality(name: str, base: Json, found: Json) -> dict[str, records.Value]:
    """Return how far a file is from the float32 model."""
    return {
        f"{name}_ppl": records.exact(found["perplexity"], ""),
        f"{name}_ratio": ratio(_tensor(base), _tensor(found)),
        f"{name}_kl": records.exact(found["kl"], "nats", n=found["n"]),
        f"{name}_top1": records.exact(found["top1"], "", n=found["n"]),
    }
