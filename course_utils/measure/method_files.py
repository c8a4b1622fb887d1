"""The whole model as a GGUF file: llama.cpp quantizes it, and computes with it.

The file holds the embedding as well, in a type that the mixture chooses, and llama.cpp
rounds activations to 8 bits where its kernels multiply with quantized weights. Both
are part of what is measured.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.measure.method_runs import Made, Subject
from course_utils.models import gguf_file, llama_cpp


def no_file(subject: Subject) -> str:
    """Return why llama.cpp cannot be given the model, or ""."""
    if subject.source is None:
        return "There is no GGUF file with the tokenizer of this model."
    missing = llama_cpp.missing()
    return missing or gguf_file.unsupported(subject.model, subject.source)


@contextmanager
def converted(subject: Subject, *, type_name: str) -> Iterator[Made]:
    """Let llama.cpp write a file and compute with it; the file goes at the end.

    Raises: ModelError if llama.cpp is missing or refuses.
    """
    full, path = (subject.folder / f"{n}.gguf" for n in ("full", type_name))
    subject.folder.mkdir(parents=True, exist_ok=True)
    if not full.exists():
        partly = full.with_suffix(".partial")
        gguf_file.write(subject.model, subject.source, partly).replace(full)
    start = time.perf_counter()
    llama_cpp.quantize(full, path, type_name)
    seconds = time.perf_counter() - start
    try:
        with llama_cpp.open_file(path) as file:
            bits, size = decoder_bits(path), path.stat().st_size
            yield Made(file.logits, bits, size, seconds, path)
    finally:
        path.unlink(missing_ok=True)


def decoder_bits(path: Path) -> float:
    """Return the bits stored for a weight of the decoder's matrices in a GGUF file."""
    found = [
        tensor
        for name, tensor in gguf_file.tensors(path).items()
        if name.startswith("blk.") and len(tensor.shape) == 2
    ]
    return 8 * sum(t.n_bytes for t in found) / sum(math.prod(t.shape) for t in found)
