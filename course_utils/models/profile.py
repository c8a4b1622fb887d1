"""How much to compute here: the profile, chosen once and explained.

    ci       the embedded model, 2,048 evaluation tokens: the same numbers everywhere
    laptop   the original of that model, the whole evaluation text
    gpu      a bigger model, chosen by free memory, the whole evaluation text

Where no model hub is reachable, the embedded model stands in for the others. The
profile is chosen automatically; three environment variables overrule it:

    COURSE_PROFILE   ci, laptop or gpu
    COURSE_MODEL     `embedded`, a model's name on the hub, or a local folder
    COURSE_ARCH      a GPU generation such as sm75, whose rules then hold on any
                     machine: what a T4 cannot do can be seen without a T4
"""

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import torch

from course_utils.models.card import EMBEDDED, ORIGINAL

HUB = "https://huggingface.co"
PORTS = {"http": 80, "https": 443}

# Profile -> evaluation tokens (None is the whole text), device.
PROFILES: dict[str, tuple[int | None, str]] = {
    "ci": (4 * 512, "cpu"),
    "laptop": (None, "cpu"),
    "gpu": (None, "cuda"),
}

# Free GPU memory in bytes -> model for it; float32, with room for a second copy.
GPU_MODELS = (
    (18e9, "HuggingFaceTB/SmolLM2-1.7B-Instruct"),
    (5e9, "HuggingFaceTB/SmolLM2-360M-Instruct"),
    (0, ORIGINAL),
)

# Architecture -> (bfloat16, 8-bit floats) in hardware. On sm75 torch's
# `is_bf16_supported()` is true because bfloat16 is emulated there, slowly.
ARCH_RULES: dict[str, tuple[bool, bool]] = {
    "cpu": (True, False),
    "sm70": (False, False),
    "sm75": (False, False),
    "sm80": (True, False),
    "sm86": (True, False),
    "sm89": (True, True),
    "sm90": (True, True),
    "sm100": (True, True),
    "sm120": (True, True),
}


@dataclass(frozen=True)
class Profile:
    """What this run computes with.

    Attributes:
        name: ci, laptop or gpu.
        reason: Why this one.
        n_eval_tokens: Tokens of evaluation text; None is all of it.
        device: Where models are put.
        model: What `load()` loads without a name.
        model_reason: Why this one.
        arch: Key of ARCH_RULES.
        bf16: True if the hardware computes in bfloat16.
        fp8: True if the hardware computes in 8-bit floats.
    """

    name: str
    reason: str
    n_eval_tokens: int | None
    device: str
    model: str
    model_reason: str
    arch: str
    bf16: bool
    fp8: bool

    @property
    def half_dtype(self) -> torch.dtype:
        """The 16-bit type to compute in."""
        return torch.bfloat16 if self.bf16 else torch.float16


def current() -> Profile:
    """Return the profile of this run.

    Raises: ValueError if an environment variable asks for what does not exist.
    """
    name, reason = _choose()
    n_eval_tokens, device = PROFILES[name]
    model, model_reason = _model(name)
    arch = _arch(device)
    bf16, fp8 = ARCH_RULES[arch]
    return Profile(
        name, reason, n_eval_tokens, device, model, model_reason, arch, bf16, fp8
    )


def describe() -> str:
    """Return one line for a lesson's first cell: which profile, and why."""
    p = current()
    tokens = "all" if p.n_eval_tokens is None else f"{p.n_eval_tokens:,}"
    return (
        f"Profile {p.name} ({p.reason}): model {p.model} ({p.model_reason}), "
        f"{tokens} evaluation tokens, on {p.device}, rules of {p.arch}."
    )


def _choose() -> tuple[str, str]:
    """Return the profile's name and the reason."""
    if asked := os.environ.get("COURSE_PROFILE"):
        if asked not in PROFILES:
            raise ValueError(
                f"COURSE_PROFILE is {asked!r}; choose one of {', '.join(PROFILES)}."
            )
        if asked == "gpu" and not torch.cuda.is_available():
            raise ValueError(
                "COURSE_PROFILE is gpu and torch finds no GPU; choose ci or laptop."
            )
        return asked, "COURSE_PROFILE says so"
    if os.environ.get("CI"):
        return "ci", "the variable CI is set"
    if torch.cuda.is_available():
        return "gpu", "torch finds a GPU"
    return "laptop", "torch finds no GPU"


def _model(profile: str) -> tuple[str, str]:
    """Return the model's name and the reason."""
    if asked := os.environ.get("COURSE_MODEL"):
        return asked, "COURSE_MODEL says so"
    if profile == "ci":
        return EMBEDDED, "the same everywhere"
    if not hub_reachable():
        return EMBEDDED, "no model hub is reachable"
    if profile == "laptop":
        return ORIGINAL, "the hub is reachable"
    free, _ = torch.cuda.mem_get_info()
    return model_for(free), f"for {free / 1e9:.0f} GB of free GPU memory"


def model_for(free_bytes: float) -> str:
    """Return the biggest model of GPU_MODELS for so much free GPU memory."""
    return next(name for needs, name in GPU_MODELS if free_bytes >= needs)


def _arch(device: str) -> str:
    """Return the architecture whose rules hold.

    Raises: ValueError if COURSE_ARCH is not in ARCH_RULES.
    """
    if asked := os.environ.get("COURSE_ARCH"):
        if asked not in ARCH_RULES:
            raise ValueError(
                f"COURSE_ARCH is {asked!r}; choose one of {', '.join(ARCH_RULES)}."
            )
        return asked
    if device == "cpu":
        return "cpu"
    major, minor = torch.cuda.get_device_capability()
    found = f"sm{major}{minor}"
    # A generation newer than this table can do what the newest one in it can.
    return found if found in ARCH_RULES else max(ARCH_RULES, key=_generation)


def _generation(arch: str) -> int:
    return int(arch.removeprefix("sm")) if arch != "cpu" else 0


@lru_cache(maxsize=1)
def hub_reachable(timeout: float = 2.0) -> bool:
    """Return whether the model hub accepts a connection; asked once per process.

    Units: timeout in seconds.
    Raises: ValueError if HF_ENDPOINT is no address.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        with socket.create_connection(_hub_address(), timeout):
            return True
    except OSError:
        return False


def _hub_address() -> tuple[str, int]:
    """Return the model hub's host and port.

    Raises: ValueError if HF_ENDPOINT is no address.
    """
    asked = os.environ.get("HF_ENDPOINT", HUB)
    try:
        endpoint = urlsplit(asked)
        host, port = endpoint.hostname, endpoint.port
    except ValueError:  # the port is no number, or a bracket is open
        host = None
    if not host or endpoint.scheme not in PORTS:
        raise ValueError(f"HF_ENDPOINT is {asked!r}; give an address such as {HUB}.")
    return host, port or PORTS[endpoint.scheme]
