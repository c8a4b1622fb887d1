"""Bytes: what a model's weights take, and the most a process has held.

`weight_bytes` counts storage, so a matrix that two layers share counts once.

`peak_bytes` is the largest resident size so far. On Linux it is read from VmHWM, which
starts at zero in a new program. `getrusage` would not do there: a child starts with
the peak of the process that started it.

Left out: memory of a GPU.
"""

import sys
from pathlib import Path

from torch import nn

STATUS = Path("/proc/self/status")


def weight_bytes(module: nn.Module) -> int:
    """Return the bytes of all parameters, each storage counted once."""
    storages = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
        for p in module.parameters()
    }
    return sum(storages.values())


def peak_bytes() -> int:
    """Return the largest resident size of this process until now, in bytes.

    Raises: OSError where the system does not tell (Windows).
    """
    if STATUS.exists():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024  # the kernel writes kB for KiB
    try:
        import resource  # noqa: PLC0415 -- absent on Windows
    except ImportError:
        raise OSError("This system does not report a process's peak memory.") from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
