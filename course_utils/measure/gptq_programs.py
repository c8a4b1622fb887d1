"""GPTQ of a whole model by three programs, each in a process of its own.

    python -m course_utils.measure.gptq_programs ours|gptqmodel|llmcompressor FOLDER

prints one JSON object on its last line: seconds, and the most memory the process held.
The work is the same: float32 weights, 4 bits, groups of 64, asymmetric, columns in
order, damping 0.01, 32 windows of 256 tokens. Each program runs as it is fastest and
in its own way: ours takes all windows through a layer once, with lazy blocks of 32,
the libraries 4 windows at a time, with blocks of 128. The clock runs from the loaded
model and the tokens to the quantized weights; imports, loading and saving are not
counted. GPT-QModel packs its codes within that time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from course_utils import paths
from course_utils.formats.affine import QuantSpec
from course_utils.measure.quantizer_pairs import library
from course_utils.models.texts import calibration_tokens

BITS, GROUP, DAMPING = 4, 64, 0.01
BATCH = 4  # windows at a time, of the libraries
LAZY_BLOCK = 32  # of ours; the result is the same up to the order of sums
Ready = Callable[[], object]  # quantizes a model that is loaded already


def ours(folder: Path, tokens: Tensor) -> Ready:
    """Return our GPTQ of the model in `folder`."""
    from course_utils.methods import gptq  # noqa: PLC0415 -- one program a process
    from course_utils.models.loading import load  # noqa: PLC0415
    from course_utils.models.quantize_model import quantize_model  # noqa: PLC0415

    spec = QuantSpec(BITS, group_size=GROUP)
    method = partial(gptq.quantize, spec=spec, percdamp=DAMPING, lazy_block=LAZY_BLOCK)
    model = load(str(folder), progress=str).model.to("cpu")
    options = {"stacked": True, "one_pass": True, "progress": str}
    return lambda: quantize_model(model, tokens, method, **options)


def gptqmodel(folder: Path, tokens: Tensor) -> Ready:
    """Return GPT-QModel's."""
    # Its default asks for more workers than a machine with two cores has.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    package = library("gptqmodel")
    config = package.QuantizeConfig(
        bits=BITS,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        act_group_aware=False,
        damp_percent=DAMPING,
        device="cpu",
        offload_to_disk=False,
    )
    model = package.GPTQModel.load(str(folder), config, dtype=torch.float32)
    windows = [
        {"input_ids": w[None], "attention_mask": torch.ones_like(w[None])}
        for w in tokens
    ]
    return lambda: model.quantize(windows, batch_size=BATCH)


def llmcompressor(folder: Path, tokens: Tensor) -> Ready:
    """Return llm-compressor's."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    weights = {"num_bits": BITS, "type": "int", "symmetric": False}
    weights |= {"strategy": "group", "group_size": GROUP}
    columns = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    recipe = library("llmcompressor.modifiers.gptq").GPTQModifier(
        config_groups={"all": {"targets": ["Linear"], "weights": weights}},
        ignore=["lm_head"],
        dampening_frac=DAMPING,
        actorder=None,
    )
    return lambda: library("llmcompressor").oneshot(
        model=model,
        processor=str(folder),
        dataset=library("datasets").Dataset.from_dict(
            {name: value.tolist() for name, value in columns.items()}
        ),
        recipe=recipe,
        batch_size=BATCH,
        num_calibration_samples=len(tokens),
        max_seq_length=tokens.shape[1],
        shuffle_calibration_samples=False,
    )


PROGRAMS = {"ours": ours, "gptqmodel": gptqmodel, "llmcompressor": llmcompressor}


def timed(program: str, folder: Path, tokens: Tensor) -> dict[str, float]:
    """Quantize the model in `folder` with one of PROGRAMS.

    Units: seconds, bytes.
    """
    from course_utils.measure import memory  # noqa: PLC0415

    quantize = PROGRAMS[program](folder, tokens)
    loaded = memory.peak_bytes()
    start = time.perf_counter()
    quantize()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "peak_bytes": memory.peak_bytes(),
        "peak_loaded_bytes": loaded,
    }


def run(program: str, folder: Path) -> dict[str, float]:
    """Return what `timed` measures in a new process.

    Raises: RuntimeError with the process's last line if it fails.
    """
    command = [sys.executable, "-m", "course_utils.measure.gptq_programs"]
    out = subprocess.run(
        [*command, program, str(folder)],
        cwd=paths.PACKAGE.parent,
        env={**os.environ, "COURSE_PROFILE": "ci", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode:
        last = (out.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"GPTQ by {program} failed: {last}")
    return json.loads(out.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    chosen, model_folder = sys.argv[1:]
    result = timed(chosen, Path(model_folder), calibration_tokens())
    print(json.dumps(result))
