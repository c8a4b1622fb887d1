"""The measurement `methods-speed`: GPTQ of the whole model, ours and production's.

Three programs do the same work on the whole embedded model, each in a process of its
own, taking turns, so that a machine that slows down slows all of them. The ratio is
taken turn by turn. Before that each quantizes a tiny model once in a process that does
not count, because GPT-QModel compiles a part of itself at its first use.

Left out: GPUs, and the quality of the results, which the record `gptq` compares.
"""

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import paths
from course_utils.formats.affine import QuantSpec
from course_utils.measure import gptq_library, gptq_programs, records
from course_utils.measure.task import Json, Results, Step
from course_utils.methods import gptq
from course_utils.methods.statistics import output_error
from course_utils.models import cache, embedded, layers, loading, texts
from course_utils.models.card import CARDS, EMBEDDED
from course_utils.models.walk import walk

TURNS = 2
LIBRARIES = ("gptqmodel", "llmcompressor")
SLICE_WINDOWS = 2
SLICE_LAYER = "mlp.down_proj"
# Float32 sums in another order move the objective by up to 0.1 %.
SLICE_TOLERANCE = 0.01


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "GPTQ of the whole embedded model: our program and production code"
    device = "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know, with the libraries' versions."""
        installed = ", ".join(f"{k} {gptq_library.version(k)}" for k in LIBRARIES)
        return (
            f"Compared with {installed}.",
            "4 bits, groups of 64, asymmetric, columns in order, damping 0.01, "
            "float32, 32 x 256 calibration tokens. Imports, loading and saving are not "
            "counted.",
            "Ours takes all tokens through each layer once and quantizes a matrix when "
            "they reach it, with lazy blocks of 32. llm-compressor runs each layer "
            "twice and takes scales from the original weights. GPT-QModel runs it once "
            "for each part and packs its codes.",
            "A ratio is ours over theirs within one turn, below 1 where ours is "
            "faster. Ours is bound by the pass of the tokens through each layer and by "
            "the sums of the second moments; the loop over columns comes third.",
        )

    def model(self) -> records.ModelRef:
        """Return which model is quantized, by the hash of its weights file."""
        files = cache.read_card(embedded.prepare())["files"]
        card = CARDS[EMBEDDED]
        return records.ModelRef(
            id=card.id, revision=card.revision, sha256=files[embedded.WEIGHTS]
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        folder = paths.book_dir() / "texts"
        return {
            "weights": self.model()["sha256"],
            "calibration": texts.text_digest(folder / texts.CALIBRATION),
            "turns": TURNS,
            **{name: gptq_library.version(name) for name in LIBRARIES},
        }

    def steps(self) -> Iterator[Step]:
        """Yield the warm-up, then one step a program and turn."""
        yield Step("warm-up", warm_up)
        for turn in range(1, TURNS + 1):
            for program in gptq_programs.PROGRAMS:
                yield Step(
                    f"{program} {turn}",
                    lambda program=program: gptq_programs.run(
                        program, embedded.prepare()
                    ),
                )

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        runs = {
            program: [results[f"{program} {turn}"] for turn in range(1, TURNS + 1)]
            for program in gptq_programs.PROGRAMS
        }
        seconds = {program: [r["seconds"] for r in rs] for program, rs in runs.items()}
        values = {}
        for program, found in runs.items():
            peaks = [run["peak_bytes"] for run in found]
            values[f"{program}_seconds"] = records.repeated(seconds[program], "s")
            values[f"{program}_peak"] = records.repeated(peaks, "B")
        fastest = [
            min(turn) for turn in zip(*(seconds[x] for x in LIBRARIES), strict=True)
        ]
        for name, theirs in {
            **{x: seconds[x] for x in LIBRARIES},
            "faster": fastest,
        }.items():
            turns = zip(seconds["ours"], theirs, strict=True)
            values[f"ratio_{name}"] = records.repeated([a / b for a, b in turns], "")
        return values

    @cached_property
    def loaded(self) -> loading.Loaded:
        """The model, on the processor."""
        loaded = loading.load("embedded")
        loaded.model.to(self.device)
        return loaded

    def slice(self) -> records.Slice:
        """Quantize one matrix of the first layer; times are no test."""
        block = next(
            walk(self.loaded.model, texts.calibration_tokens()[:SLICE_WINDOWS])
        )
        stats = block.statistics([SLICE_LAYER])[SLICE_LAYER]
        w = layers.weight_of(block.linear[SLICE_LAYER]).detach()
        t = gptq.quantize(w, stats, spec=QuantSpec(4, group_size=gptq_programs.GROUP))
        return records.Slice(
            description=(
                f"Mean squared output error of {SLICE_LAYER} of layer 0 by our GPTQ on "
                f"the first {SLICE_WINDOWS} calibration windows"
            ),
            values={"error": output_error(w, t.dequantize(), stats)},
            tolerance=SLICE_TOLERANCE,
        )


def warm_up() -> Json:
    """Let every program quantize a tiny model once, in its own process."""
    config = LlamaConfig(
        vocab_size=CARDS[EMBEDDED].vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        LlamaForCausalLM(config).save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_bytes((embedded.prepare() / file).read_bytes())
        return [gptq_programs.run(p, folder)["seconds"] for p in gptq_programs.PROGRAMS]
