"""The measurement `llama-8b-shape`: memory and speed of an 8B model on a GPU.

    half   the 16-bit type that the GPU computes in
    nf4    bitsandbytes NF4, blocks of 64, double quantization
    int8   bitsandbytes LLM.int8(), threshold 6
    ao_int8, ao_fp8    torchao: weights in 8-bit integers or floats, scales a row

The shape is that of Llama 3.1 8B; the weights are random. A matrix product takes the
same time whatever numbers it multiplies, so memory and tokens/s are those of a trained
model of this shape. (LLM.int8() is the exception: columns with outliers go through a
second product, and random weights make none.) Nothing is downloaded.

As in these libraries, the embedding and the output matrix keep 16 bits.

Left out: batches, contexts beyond the prompt's, kernels compiled for one shape.
"""

from collections.abc import Iterator
from importlib import metadata

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.measure import records, speed, storage
from course_utils.measure.quantizer_pairs import library, versions
from course_utils.measure.random_llama import KINDS, Maker, build, config_of
from course_utils.measure.task import Json, Results, Step
from course_utils.models import profile
from course_utils.models.card import CARDS

CARD = "meta-llama/Llama-3.1-8B"
SEED = 0
N_PROMPT, N_NEW, RUNS = 512, 64, 5
# torchao quantizes a finished model, so its rows begin as `half`.
TORCHAO = {"ao_int8": "Int8WeightOnlyConfig", "ao_fp8": "Float8WeightOnlyConfig"}
ALL_KINDS = (*KINDS, *TORCHAO)


def measured(config: LlamaConfig, kind: str, *, make: Maker) -> Json:
    """Build one model and return its bytes and its rates.

    Units: bytes; tokens per second. Peak is None on a processor.
    Raises: ValueError for a kind of torchao where that is not installed.
    """
    on_gpu = make.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(make.device)
    model = build(config, "half" if kind in TORCHAO else kind, make=make)
    if kind in TORCHAO:
        torchao = library("torchao.quantization")
        # The decoder alone: the output matrix keeps 16 bits in every row.
        torchao.quantize_(model.model, getattr(torchao, TORCHAO[kind])())
    prompt = torch.arange(N_PROMPT) % config.vocab_size
    runs = list(speed.time_generation(model, prompt, n_new=N_NEW, repeats=RUNS))
    return {
        "weights": storage.stored_bytes(model).total,
        "peak": torch.cuda.max_memory_allocated(make.device) if on_gpu else None,
        "prefill": [run.prefill_rate for run in runs],
        "decode": [run.decode_rate for run in runs],
    }


def context_bytes(device: torch.device) -> int:
    """Return what CUDA itself takes of a GPU that nothing else uses, in bytes."""
    torch.zeros(1, device=device)
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "A model of the shape of Llama 3.1 8B with random weights, on a GPU"
    device = "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """The 16-bit type of this machine, or of the one COURSE_ARCH names."""
        return profile.current().half_dtype

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know."""
        return (
            "Weights are random: memory and speed do not depend on their values.",
            f"half is {str(self.dtype).removeprefix('torch.')}; the embedding and the "
            "output matrix have it in every row.",
            f"Prefill reads {N_PROMPT} tokens, decode writes {N_NEW} after them, batch "
            "of one; medians of the runs, with the lowest and the highest.",
            "Weights are bytes as stored, scales included; peak is the most that torch "
            "had allocated, from building to writing. context is what CUDA takes "
            "besides, other programs included if there were any.",
            "fits is 1 where the model ran and 0 where memory did not suffice.",
            "ao_int8 and ao_fp8 are quantized after building, so their peak is that of "
            "half at least; only weights are quantized, and nothing is compiled.",
            f"bitsandbytes {metadata.version('bitsandbytes')}, torchao {_torchao()}.",
        )

    def model(self) -> None:
        """Return None: no published model is measured."""

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return {
            "card": CARD,
            "dtype": str(self.dtype),
            "seed": SEED,
            "sizes": f"{N_PROMPT}, {N_NEW}, {RUNS}",
            "bitsandbytes": metadata.version("bitsandbytes"),
            "torchao": _torchao(),
        }

    def steps(self) -> Iterator[Step]:
        """Yield one step per kind; the context first, before anything is loaded."""
        device = torch.device(self.device)
        yield Step("context", lambda: context_bytes(device))
        for kind in ALL_KINDS:
            yield Step(kind, lambda kind=kind: self._measured(kind, device))

    def _measured(self, kind: str, device: torch.device) -> Json:
        generator = torch.Generator(device).manual_seed(SEED)
        make = Maker(device, self.dtype, generator)
        try:
            return measured(config_of(CARDS[CARD]), kind, make=make)
        except torch.OutOfMemoryError:  # 16 GB of weights on a GPU of 15 GB
            return None

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values = {"context": records.exact(results["context"], "B")}
        for kind in ALL_KINDS:
            found = results[kind]
            values[f"{kind}_fits"] = records.exact(int(found is not None), "")
            if found is None:
                continue
            values[f"{kind}_weights"] = records.exact(found["weights"], "B")
            if found["peak"] is not None:
                values[f"{kind}_peak"] = records.exact(found["peak"], "B")
            for rate in ("prefill", "decode"):
                values[f"{kind}_{rate}"] = records.repeated(found[rate], "tok/s")
        return values

    def slice(self) -> records.Slice:
        """Count the parameters of the shape, which needs no GPU."""
        with torch.device("meta"):
            model = LlamaForCausalLM(config_of(CARDS[CARD]))
        return records.Slice(
            description="Parameters of the shape",
            values={"parameters": sum(p.numel() for p in model.parameters())},
            tolerance=0.0,
        )


def _torchao() -> str:
    """Return the version of torchao.

    Raises: ValueError if it is not installed.
    """
    return versions()["torchao"]
