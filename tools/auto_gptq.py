"""Quantize a model with AutoGPTQ 0.7.1, in the environment made for it.

    _build/environments/auto-gptq/bin/python tools/auto_gptq.py MODEL OUT

MODEL is a folder with config.json and safetensors; OUT gets a checkpoint in AutoGPTQ's
layout and `auto-gptq.json`: seconds, options, versions, device. Calibration is the
book's own, the same tokens that every other method gets. AutoGPTQ quantizes on CUDA
only, so without it the script says so before it loads anything.

This file imports nothing of the book: its environment has older libraries.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

CALIBRATION = Path(__file__).parent.parent / "book" / "texts" / "calibration.json"


def windows(path: Path) -> list[list[int]]:
    """Return the calibration windows, checked against the manifest beside them.

    Raises: ValueError if the file is not the frozen one.
    """
    raw = path.read_bytes()
    manifest = json.loads((path.parent / "manifest.json").read_text())
    if hashlib.sha256(raw).hexdigest() != manifest[path.name]:
        raise ValueError(f"{path} is not the frozen text; restore the file.")
    return json.loads(raw)["tokens"]


def refusal(model: Path) -> str:
    """Return why this cannot run here, or nothing."""
    if not (model / "config.json").exists():
        return f"{model} holds no config.json; give the folder of a model."
    try:
        import torch  # noqa: PLC0415 -- the environment may lack it
    except ImportError:
        return "torch is not here; run `make auto-gptq`, which builds the environment."
    if not torch.cuda.is_available():
        return (
            "AutoGPTQ 0.7.1 quantizes on CUDA only and this machine has none; "
            "GPT-QModel, its successor, also runs on a CPU."
        )
    return ""


def quantize(model: Path, out: Path, *, bits: int, group_size: int) -> dict:
    """Quantize, write the checkpoint, and return what the run was."""
    import auto_gptq  # noqa: PLC0415
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    options = {
        "bits": bits,
        "group_size": group_size,
        "damp_percent": 0.01,
        "desc_act": False,
        "sym": False,
    }
    config = auto_gptq.BaseQuantizeConfig(**options)
    loaded = auto_gptq.AutoGPTQForCausalLM.from_pretrained(str(model), config)
    examples = [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for ids in (torch.tensor([row]) for row in windows(CALIBRATION))
    ]
    start = time.perf_counter()
    loaded.quantize(examples, batch_size=1)
    seconds = time.perf_counter() - start
    loaded.save_quantized(str(out), use_safetensors=True)
    return {
        "seconds": seconds,
        "options": options,
        "device": torch.cuda.get_device_name(),
        "versions": {
            "auto-gptq": auto_gptq.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "calibration_sha256": hashlib.sha256(CALIBRATION.read_bytes()).hexdigest(),
    }


def main(argv: list[str] | None = None) -> int:
    """Read the command line; every refusal is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bits", type=int, default=4, choices=(2, 3, 4, 8))
    parser.add_argument("--group", type=int, default=64)
    args = parser.parse_args(argv)
    if reason := refusal(args.model):
        print(reason, file=sys.stderr)
        return 1
    run = quantize(args.model, args.out, bits=args.bits, group_size=args.group)
    (args.out / "auto-gptq.json").write_text(json.dumps(run, indent=1) + "\n")
    print(f"Quantized in {run['seconds']:.0f} s; the checkpoint is in {args.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
