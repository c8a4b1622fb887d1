"""How fast each quantized model reads and writes here, where a kernel for it exists.

Weights that were rounded and rebuilt as floats are no faster than before, so only
models that compute with their codes are timed: torch in float32 and bfloat16,
bitsandbytes in 4 and 8 bits, and llama.cpp.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from course_utils.measure.llama_speed import time_llama
from course_utils.measure.method_runs import Made
from course_utils.measure.speed import time_generation
from course_utils.measure.task import Json
from course_utils.models import llama_cpp, profile

N_PROMPT, N_NEW, REPEATS = 128, 32, 3
FOUR_BITS = {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.bfloat16}

# Method -> how bitsandbytes is told to store it.
BITSANDBYTES: dict[str, dict] = {
    "nf4": FOUR_BITS | {"bnb_4bit_quant_type": "nf4"},
    "nf4dq": FOUR_BITS
    | {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": FOUR_BITS | {"bnb_4bit_quant_type": "fp4"},
    "llmint8": {"load_in_8bit": True},
}
FLOATS = ("float32", "bf16")


def rates(key: str, made: Made, prompt: Tensor, folder: str) -> Json:
    """Return the tokens read and written a second, run by run; None without a kernel.

    Args:
        key: Of the method.
        made: The quantized model.
        prompt: Tokens to read, (n,).
        folder: Where bitsandbytes finds the model's files.
    """
    work = {"n_new": N_NEW, "repeats": REPEATS}
    if made.path is not None:
        # As a user runs it: one row of logits, and a key-value cache of 16 bits.
        with llama_cpp.open_file(made.path, every_row=False, kv_bits=16) as file:
            runs = list(time_llama(file, prompt, **work))
    elif key in FLOATS:
        runs = list(time_generation(made.logits, prompt, **work))
    elif key in BITSANDBYTES:
        model = _load(folder, BITSANDBYTES[key])
        runs = list(time_generation(model, prompt, **work))
    else:
        return None
    return {
        "prefill": [run.prefill_rate for run in runs],
        "decode": [run.decode_rate for run in runs],
    }


def _load(folder: str, options: dict) -> nn.Module:
    """Return the model as bitsandbytes stores it."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    load: Callable = AutoModelForCausalLM.from_pretrained
    return load(
        folder,
        quantization_config=BitsAndBytesConfig(**options),
        device_map={"": profile.current().device},
        dtype=torch.bfloat16,
    ).eval()
