"""What a number was measured on: device, memory, operating system, versions.

Everything here may be published. Nothing names a user, a host or a folder, so a
record or a bug report can be shared as it is.

Memory and cores are those this process may use: a container's limit counts, not the
machine around it.

Left out: clock rates; the spread of repeated runs shows what they did.
"""

import os
import platform
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

# The packages whose version can move a number, in the order a report lists them.
PACKAGES = ("torch", "transformers", "numpy", "safetensors", "tokenizers", "gguf")

CPUINFO = Path("/proc/cpuinfo")
CPU_TIMES = Path("/proc/stat")
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def cpu_name() -> str:
    """Return the processor's name as it calls itself, or its architecture."""
    try:
        for line in CPUINFO.read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sysctl := shutil.which("sysctl"):
        command = [sysctl, "-n", "machdep.cpu.brand_string"]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.stdout.strip():
            return out.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the bytes of memory this process may use; None where unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    for limit in CGROUP_LIMITS:
        try:
            total = min(total, int(limit.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return total


def _cpu_times() -> tuple[int, int]:
    """Return the ticks all cores have been idle, and all ticks, since the start."""
    line = CPU_TIMES.read_text(encoding="utf-8").partition("\n")[0]
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)  # idle, and idle waiting for a disk


def busy_share(seconds: float = 1.0) -> float | None:
    """Return the share of all cores in use during the next `seconds`.

    Call it while this process does nothing: what it sees is then other programs, which
    make every timing too long. None where the system does not tell.

    Units: a fraction, 0 to 1.
    """
    try:
        idle, total = _cpu_times()
        time.sleep(seconds)
        idle_later, total_later = _cpu_times()
    except (OSError, ValueError, IndexError):
        return None
    passed = total_later - total
    return 1 - (idle_later - idle) / passed if passed else None


def operating_system() -> str:
    """Return the system's name and version, and the architecture."""
    system = platform.system()
    name = f"{system} {platform.release()}"
    if system == "Linux":  # the kernel's release says little; the distribution more
        try:
            name = platform.freedesktop_os_release()["PRETTY_NAME"]
        except (OSError, KeyError):
            name = "Linux"
    elif system == "Darwin":
        name = f"macOS {platform.mac_ver()[0]}"
    return f"{name}, {platform.machine()}"


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the version of Python and of each installed package."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def device(kind: str | None = None) -> dict[str, str | int | None]:
    """Return the device a model runs on: the first GPU if there is one.

    `kind` "cpu" or "cuda" asks for one of them. Imports torch.

    Raises: ValueError if a GPU is asked for and torch finds none.
    """
    import torch  # noqa: PLC0415 -- seconds to import; the rest of the module needs none

    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("This needs a GPU, and torch finds none; use such a machine.")
    if kind != "cpu" and torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        return {
            "kind": "cuda",
            "name": gpu.name,
            "arch": f"sm{gpu.major}{gpu.minor}",
            "cores": gpu.multi_processor_count,
            "threads": torch.get_num_threads(),
            "memory_bytes": gpu.total_memory,
            "os": operating_system(),
        }
    return {
        "kind": "cpu",
        "name": cpu_name(),
        "arch": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory_bytes(),
        "os": operating_system(),
    }


def describe(kind: str | None = None) -> dict[str, dict]:
    """Return {"device": ..., "versions": ...} as a record stores them.

    Raises: ValueError as `device` does.
    """
    return {"device": device(kind), "versions": versions()}
