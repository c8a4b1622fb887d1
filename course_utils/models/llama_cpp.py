"""llama.cpp through its Python package: quantize a GGUF file, run it, read its logits.

The package is compiled, so it is optional: `missing()` says in a sentence what to do
where it is not there, and everything else raises that sentence.

    model -> gguf_file.write -> float32 file -> quantize -> any type -> open_file

`LlamaFile.logits` has the form window (n,) -> logits (n, vocab), so that everything in
`measure` that takes such a function measures llama.cpp as well.

Left out: sampling, chat, GPUs.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from course_utils.models.cache import ModelError
from course_utils.models.gguf_header import read_header
from course_utils.models.llama_imatrix import handed_over
from course_utils.models.llama_log import quiet

PACKAGE = "llama_cpp"
MISSING = "llama.cpp is not built; run `make llama`."
MAX_CONTEXT = 512  # rows of logits that are held at once
KV_TYPES = {16: 1, 32: 0}  # bits of the key-value cache -> GGML type


def missing() -> str:
    """Return why llama.cpp cannot be used here, or ""."""
    try:
        _library()
    except ModelError as error:
        return str(error)
    return ""


def available() -> bool:
    """Return True if llama.cpp can be used here."""
    return not missing()


def _library() -> ModuleType:
    """Return the package.

    Raises: ModelError if it is missing or does not load.
    """
    # A None in sys.modules hides a package, and find_spec then raises.
    hidden = PACKAGE in sys.modules and sys.modules[PACKAGE] is None
    if hidden or importlib.util.find_spec(PACKAGE) is None:
        raise ModelError(MISSING)
    try:
        import llama_cpp  # noqa: PLC0415 -- compiled and optional
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(f"llama.cpp does not load ({error}); {MISSING}") from error
    return llama_cpp


def type_names() -> tuple[str, ...]:
    """Return the types that `quantize` knows, such as Q4_K_M."""
    return tuple(sorted(_file_types()))


def _file_types() -> dict[str, int]:
    """Return type name -> llama.cpp's number, from the library's own constants."""
    lib = _library().llama_cpp
    mostly, every = "LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"
    return {
        name.removeprefix(mostly).removeprefix(every): getattr(lib, name)
        for name in dir(lib)
        if name.startswith((mostly, every))
    }


def quantize(
    source: Path,
    target: Path,
    type_name: str,
    *,
    importance: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `source` once more with its matrices in another type; return `target`.

    Args:
        source: A GGUF file in float32, float16 or bfloat16.
        target: The file to write.
        type_name: A mixture such as Q4_K_M, or a type such as Q8_0.
        importance: Of the columns of each matrix, from `llama_imatrix.mean_squares`.

    Raises: ModelError for an unknown type or file, an importance that does not fit the
        file, or where llama.cpp refuses.
    """
    types = _file_types()
    if type_name not in types:
        raise ModelError(
            f"llama.cpp has no type {type_name!r}; it has {', '.join(sorted(types))}."
        )
    if not source.is_file():
        raise ModelError(f"There is no file {source}; give a GGUF file that exists.")
    if source.resolve() == target.resolve():
        raise ModelError(f"{source} is source and target; give another target.")
    lib = _library().llama_cpp
    params = lib.llama_model_quantize_default_params()
    params.ftype = types[type_name]
    params.nthread = torch.get_num_threads()
    if importance:
        params.imatrix = handed_over(lib, importance, read_header(source).tensors)
    with quiet(lib):
        failed = lib.llama_model_quantize(
            str(source).encode(), str(target).encode(), ctypes.byref(params)
        )
    if failed:
        target.unlink(missing_ok=True)
        raise ModelError(
            f"llama.cpp did not quantize {source.name} to {type_name} (code {failed}); "
            "some types need an importance matrix, Q4_K_M does not."
        )
    return target


class LlamaFile:
    """An open GGUF file that computes logits.

    Attributes:
        path: The file.
        vocab_size: Words of a row of logits.
        n_past: Tokens read since the last `reset`.
    """

    def __init__(self, path: Path, *, every_row: bool, kv_bits: int) -> None:
        """Load `path`; use `open_file`, which also closes it."""
        package = _library()
        threads = torch.get_num_threads()  # the same number on both sides
        with quiet(package.llama_cpp):
            try:
                self._llama = package.Llama(
                    model_path=str(path),
                    **dict.fromkeys(("n_ctx", "n_batch", "n_ubatch"), MAX_CONTEXT),
                    **dict.fromkeys(("n_threads", "n_threads_batch"), threads),
                    n_gpu_layers=0,
                    logits_all=every_row,
                    type_k=KV_TYPES[kv_bits],
                    type_v=KV_TYPES[kv_bits],
                    verbose=False,
                )
            except ValueError as error:
                raise ModelError(f"llama.cpp cannot open {path}: {error}") from error
        self._lib, self._every_row = package.llama_cpp, every_row
        self.path, self.vocab_size = path, self._llama.n_vocab()

    @property
    def n_past(self) -> int:
        """Tokens read since the last `reset`."""
        return self._llama.n_tokens

    def reset(self) -> None:
        """Forget all tokens."""
        self._llama.reset()

    def read(self, tokens: Tensor) -> Tensor:
        """Read tokens after those read before; return the last one's logits.

        Shapes: tokens (n,) -> (vocab,), float32.
        Raises: ValueError if there is none, or the context is full.
        """
        self._check(len(tokens))
        self._llama.eval(tokens.tolist())
        row = self._lib.llama_get_logits_ith(self._llama.ctx, -1)
        return torch.from_numpy(np.ctypeslib.as_array(row, (self.vocab_size,)).copy())

    def logits(self, window: Tensor) -> Tensor:
        """Return the logits of every position of a window that stands alone.

        Shapes: window (n,) -> (n, vocab), float32.
        Raises: ValueError if the window is empty, longer than 512, or the file was
            opened for last rows only.
        """
        if not self._every_row:
            raise ValueError("Open the file with every_row=True to get every row.")
        self.reset()
        self._check(len(window))
        self._llama.eval(window.tolist())
        return torch.from_numpy(self._llama.scores[: len(window)].copy())

    def last_logits(self, prompts: Sequence[Tensor]) -> Tensor:
        """Return the logits at the last token of each prompt, read one by one.

        Shapes: prompts of (n,) -> (prompts, vocab), float32.
        """
        rows = []
        for prompt in prompts:
            self.reset()
            rows.append(self.read(prompt))
        return torch.stack(rows)

    def write(self, prompt: Tensor, n_new: int) -> Tensor:
        """Return the `n_new` tokens found likeliest after `prompt`, one by one.

        Shapes: prompt (n,) -> (n_new,), int64.
        """
        self.reset()
        written = [self.read(prompt).argmax(dim=0, keepdim=True)]
        while len(written) < n_new:
            written.append(self.read(written[-1]).argmax(dim=0, keepdim=True))
        return torch.cat(written)

    def close(self) -> None:
        """Free the model."""
        with quiet(self._lib):
            self._llama.close()

    def _check(self, n: int) -> None:
        if n < 1 or self.n_past + n > MAX_CONTEXT:
            raise ValueError(
                f"Cannot read {n} token(s) after {self.n_past}; give at least 1 and "
                f"keep the sum at {MAX_CONTEXT} or below."
            )


@contextmanager
def open_file(
    path: Path, *, every_row: bool = True, kv_bits: int = 32
) -> Iterator[LlamaFile]:
    """Open a GGUF file for the length of a `with` block.

    Args:
        path: The file.
        every_row: False keeps the logits of the last token only, as writing text does.
        kv_bits: 32 keeps keys and values as computed, so that only the weights'
            rounding is measured; 16 is llama.cpp's default, and faster.

    Raises: ModelError if llama.cpp is missing or cannot read the file.
    """
    if kv_bits not in KV_TYPES:
        raise ValueError(f"kv_bits is {kv_bits}; choose one of {list(KV_TYPES)}.")
    file = LlamaFile(path, every_row=every_row, kv_bits=kv_bits)
    try:
        yield file
    finally:
        file.close()
