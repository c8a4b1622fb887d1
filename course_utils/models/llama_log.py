"""Silence for llama.cpp, whose C code writes its log past Python."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def quiet(lib: ModuleType) -> Iterator[None]:
    """Silence the library's log for the length of a `with` block.

    Args:
        lib: The module `llama_cpp.llama_cpp`.
    """
    silent = lib.llama_log_callback(lambda *_: None)  # level, text, data
    before, data = lib.llama_log_callback(), ctypes.c_void_p()
    lib.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    lib.llama_log_set(silent, ctypes.c_void_p())
    try:
        yield
    finally:
        lib.llama_log_set(before, data)
