"""The measurement `methods`: every method on the whole model, under one protocol.

Each method quantizes every linear layer of the decoder, in groups of 64 where it has
groups, with the same 32 x 256 calibration tokens where it reads a text. The model then
reads the same 4 x 512 tokens, and its predictions are compared with those of float32,
token by token. Where a kernel exists on this machine, writing is timed.

    COURSE_MODEL=owner/model python -m course_utils measure methods

measures another model than the embedded one, into a record of its own, `methods-hub`.

A layer that GPTQ has finished stays on disk until the record is written, so that an
interrupted run goes on in the middle of a model; its seconds are then too few.

Left out: other group sizes, bits per layer, and other texts.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch

from course_utils import paths
from course_utils.measure import decode_rates, method_files, method_scores, records
from course_utils.measure.method_runs import Subject, coded, walked
from course_utils.measure.methods_list import FILE, GROUP, METHODS, Method, named
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel
from course_utils.models import fetch, loading, texts
from course_utils.models.card import EMBEDDED

SHORT = 511  # tokens of the first window that are predicted
SLICE_METHODS = ("rtn8", "nf4", "nf4dq", "fp4", "rtn4", "hqq4", "rtn3", "hqq3")
# Another processor may break ties of rounding the other way: of a million errors a few
# move, and each only from one half of a step to the other.
SLICE_TOLERANCE = 1e-4


def asked() -> str:
    """Return the model that COURSE_MODEL names, or the embedded one."""
    return os.environ.get("COURSE_MODEL") or EMBEDDED


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "Every method of the book on one model, under one protocol"

    @property
    def record(self) -> str:
        """Name of the record: that of another model does not replace the book's."""
        return "methods" if asked() == EMBEDDED else "methods-hub"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know."""
        return (
            f"Evaluation: {self.N_EVAL} tokens in windows of {self.CONTEXT}, the first "
            f"of a window not predicted; intervals over blocks of {BLOCK} tokens, "
            "ratios paired. short is the first window alone.",
            f"Groups or blocks of {GROUP}; calibration 32 x 256 tokens. Our own code "
            "in float32, but for the methods whose label says llama.cpp.",
            "bits: of a weight of the decoder's matrices as stored, scales included "
            "(16 bits a scale, 32 where the method's library keeps 32). bytes: the "
            "whole model, other tensors in 16 bits; for llama.cpp the file, whose "
            "embedding is quantized too.",
            "seconds: quantizing all matrices once, with reading the calibration text; "
            "one run. accuracy: the top word is the text's next word; lost and won "
            "count positions against float32.",
            f"prefill, decode: {decode_rates.N_PROMPT} tokens read and "
            f"{decode_rates.N_NEW} written, batch 1; bitsandbytes computes in "
            "bfloat16. Methods without these rates have no kernel here.",
            "ternary and others whose ratio is above 100 no longer speak.",
        )

    @cached_property
    def loaded(self) -> loading.Loaded:
        """The model, on the processor."""
        loaded = loading.load(asked())
        loaded.model.to(self.device)
        return loaded

    @cached_property
    def subject(self) -> Subject:
        """What every method is given."""
        own = asked() == EMBEDDED
        tokens = texts.calibration_tokens() if own else self._own_calibration()
        source = fetch.gguf_file() if own else None
        return Subject(self.loaded.model, tokens, _kept(), source)

    def _own_calibration(self) -> torch.Tensor:
        """Return the calibration text in the tokens of another model."""
        windows, length = texts.CALIBRATION_SHAPE
        text = texts.frozen("calibration.txt")
        ids = self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        n = min(windows, len(ids) // length)
        return torch.tensor(ids[: n * length]).reshape(n, length)

    def model(self) -> records.ModelRef:
        """Return which model is measured."""
        if asked() == EMBEDDED:
            return super().model()
        card, digest = self.loaded.card, hashlib.sha256()
        for path in sorted(Path(loading.source(asked())).glob("*.safetensors")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return records.ModelRef(
            id=card.id, revision=card.revision or "local", sha256=digest.hexdigest()
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        keys = ", ".join(method.key for method in METHODS)
        return super().inputs() | {"methods": keys, "model": asked()}

    def methods(self) -> list[Method]:
        """Return the methods that run here; files need llama.cpp."""
        gone = method_files.no_file(self.subject)
        return [m for m in METHODS if not (gone and m.kind == FILE)]

    def steps(self) -> Iterator[Step]:
        """Yield one step a method."""
        for method in self.methods():
            yield Step(method.key, lambda method=method: self._measured(method))

    def _measured(self, method: Method) -> Json:
        baseline = self.baseline  # before the model changes
        run = method.run
        if isinstance(run, partial) and run.func is walked:
            run = partial(run, folder=_kept() / method.key)
        with run(self.subject) as made:
            if method.key == METHODS[0].key:
                again = replace(made, logits=method_scores.of_itself(baseline))
                found = method_scores.read(baseline, again)
            else:
                found = method_scores.read(baseline, made)
            prompt = self.tokens[: decode_rates.N_PROMPT]
            folder = str(loading.source(asked()))
            rates = decode_rates.rates(method.key, made, prompt, folder)
        return found | {"rates": rates}

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        found = {m.key: results[m.key] for m in METHODS if m.key in results}
        base = found[METHODS[0].key]
        values = {}
        for key, one in found.items():
            values |= method_scores.values(key, one, base)
        shutil.rmtree(_kept(), ignore_errors=True)
        return values | method_scores.pairs(found, short=SHORT)

    def slice(self) -> records.Slice:
        """Quantize the first matrix by every method that reads no text."""
        name, w = next(iter(self.subject.weights.items()))
        values = {}
        for key in SLICE_METHODS:
            w_hat, bits = coded(named(key).run.keywords["quantize"](w))
            values[f"{key}_bits"] = bits
            values[f"{key}_error"] = ((w - w_hat).norm() / w.norm()).item()
        return records.Slice(
            description=(
                f"{name} by the methods that read no text: stored bits, and the "
                "relative error of its weights"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def _kept() -> Path:
    """Return where finished layers and files wait for the rest."""
    return paths.ROOT / "_build" / "measure" / "methods"
