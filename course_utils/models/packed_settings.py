"""The settings of a checkpoint in the layout of GPTQ or AWQ: read and written.

Three programs put them in three places, under names of their own:

    quantize_config.json  AutoGPTQ and GPT-QModel: bits, group_size, checkpoint_format
    quant_config.json     AutoAWQ: w_bit, q_group_size
    config.json           transformers: the same, under quantization_config

Nothing in the tensors says how many bits a code has or which version of the layout
they follow, so a checkpoint without settings cannot be read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from course_utils.formats.qtensor import QTensor

CONFIG = "config.json"
# In the order in which they are looked for.
SETTINGS_FILES = ("quantize_config.json", "quant_config.json", CONFIG)
FORMATS = {"gptq": 1, "gptq_v2": 2}  # checkpoint_format -> version of the layout
METHODS = ("gptq", "awq")


@dataclass(frozen=True)
class Settings:
    """How a checkpoint's layers are packed.

    Attributes:
        method: gptq or awq: whose layout it is, not which method chose the codes.
        bits: Width of a code.
        group_size: Inputs per scale; -1 in a file means a whole row.
        version: Of the GPTQ layout; 1 for AWQ.
        act_order: True if groups are made of inputs that do not stand side by side.
        symmetric: True if zero points are all in the middle.
    """

    method: str
    bits: int
    group_size: int
    version: int = 1
    act_order: bool = False
    symmetric: bool = False


def read_settings(folder: Path) -> Settings:
    """Return how the layers of a checkpoint are packed.

    Raises: ValueError if no settings are there, or they are not understood.
    """
    for name in SETTINGS_FILES:
        found = _json(folder / name)
        if name == CONFIG:
            found = found.get("quantization_config", {})
        if found:
            return _settings(found, folder / name)
    raise ValueError(
        f"{folder} has no settings of a quantized model; it needs one of "
        f"{', '.join(SETTINGS_FILES[:-1])} or quantization_config in {CONFIG}."
    )


def _json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON; download it again.") from error
    return found if isinstance(found, dict) else {}


def _settings(found: dict, path: Path) -> Settings:
    """Return settings from a file of AutoGPTQ, AutoAWQ or their successors."""
    method = found.get("quant_method", "awq" if "w_bit" in found else "gptq")
    bits = found.get("bits", found.get("w_bit"))
    group_size = found.get("group_size", found.get("q_group_size", -1))
    form = found.get("checkpoint_format", "gptq")
    order = str(found.get("version", "gemm")).lower()
    if method not in METHODS or form not in (*FORMATS, "gemm") or order != "gemm":
        raise ValueError(
            f"{path.name} describes method {method!r}, format {form!r}, order "
            f"{order!r}; gptq, gptq_v2 and awq with gemm are read here."
        )
    if not (type(bits) is int and type(group_size) is int):
        raise ValueError(
            f"{path.name} has bits {bits!r} and group_size {group_size!r}; both must "
            "be whole numbers."
        )
    return Settings(
        method=method,
        bits=bits,
        group_size=group_size,
        version=FORMATS.get(form, 1),
        act_order=bool(found.get("desc_act", False)),
        symmetric=bool(found.get("sym", False)),
    )


def settings_of(found: Mapping[str, QTensor], layout: str) -> Settings:
    """Return the settings under which `found` is written.

    Raises: ValueError on an unknown layout, or if the layers have different specs.
    """
    if layout not in (*FORMATS, "awq"):
        raise ValueError(f"Unknown layout {layout!r}; choose gptq, gptq_v2 or awq.")
    specs = {quantized.spec for quantized in found.values()}
    if len(specs) != 1:
        raise ValueError(
            f"A checkpoint has one spec for all layers, got {len(specs)}; write what "
            "was quantized with one spec."
        )
    spec = specs.pop()
    return Settings(
        method="awq" if layout == "awq" else "gptq",
        bits=spec.bits,
        group_size=spec.group_size or -1,
        version=FORMATS.get(layout, 1),
        act_order=any(t.group_of is not None for t in found.values()),
        symmetric=spec.symmetric,
    )


def write_settings(folder: Path, settings: Settings, config: dict) -> None:
    """Write the settings in both places: a file of their own, and `config`.

    Args:
        folder: Where to.
        settings: The settings.
        config: The model's configuration, as transformers writes it.
    """
    block = _awq_block(settings) if settings.method == "awq" else _gptq_block(settings)
    config = {**config, "dtype": "float16", "quantization_config": block}
    _write_json(folder / CONFIG, config)
    if settings.method == "gptq":
        _write_json(folder / "quantize_config.json", block)
        return
    own = {"w_bit": block["bits"], "q_group_size": block["group_size"]}
    own |= {"version": "GEMM", "zero_point": block["zero_point"]}
    _write_json(folder / "quant_config.json", own)


def _gptq_block(settings: Settings) -> dict:
    form = {version: name for name, version in FORMATS.items()}[settings.version]
    return {
        "bits": settings.bits,
        "group_size": settings.group_size,
        "desc_act": settings.act_order,
        "sym": settings.symmetric,
        "lm_head": False,
        "quant_method": "gptq",
        "checkpoint_format": form,
    }


def _awq_block(settings: Settings) -> dict:
    return {
        "bits": settings.bits,
        "group_size": settings.group_size,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": not settings.symmetric,
    }


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=2, default=str)
    path.write_text(text + "\n", encoding="utf-8")
