"""The training of the measurement `qlora`, in parts that are kept on disk.

    training = Training(model, tokenizer)
    training.part("adapter", 0)          losses of the first part
    training.adapters("adapter")         what all parts together have trained

Each part starts from adapters and moments of the one before. A part that is on disk is
not trained again, and asking for a late part trains the missing ones before it. What
is kept belongs to this code alone and is removed when other code trains.
"""

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_utils import paths
from course_utils.measure import provenance
from course_utils.measure.rounding_text import rounding_tokens
from course_utils.methods import qlora
from course_utils.models import qlora as adapting

RANK, ALPHA, RATE = 8, 16, 4e-4
PARTS, PART_STEPS, BATCH, LENGTH = 2, 10, 2, 128
TRAINING_SEED = 1
KINDS = {"adapter": True, "lora": False}  # trained beside: is the base in four bits
Adapters = Mapping[str, adapting.AdaptedLinear]


class Training:
    """The model, the batches, and the adapters trained so far."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        """Take the float32 model; it is whole again after every call."""
        self.model, self.tokenizer = model, tokenizer

    @cached_property
    def batches(self) -> Tensor:
        """What is trained on, (steps, BATCH, LENGTH)."""
        n = PARTS * PART_STEPS * BATCH * LENGTH
        tokens = rounding_tokens(self.tokenizer, n, seed=TRAINING_SEED)
        return tokens.reshape(-1, BATCH, LENGTH)

    def adapted(self, kind: str):
        """Return the context in which the model has the adapters of a kind."""
        return adapting.adapted(self.model, r=RANK, alpha=ALPHA, four_bits=KINDS[kind])

    def part(self, kind: str, part: int) -> dict:
        """Return adapters, moments and losses after a part, trained if need be."""
        path = folder() / f"{kind}-{part}.pt"
        if not path.exists():
            _keep(path, self._train(kind, part))
        return torch.load(path, weights_only=True)

    def _train(self, kind: str, part: int) -> dict:
        before = self.part(kind, part - 1) if part else None
        with self.adapted(kind) as found:
            optimizer = torch.optim.AdamW(
                adapting.parameters(found), lr=RATE, weight_decay=0.0
            )
            if before is not None:
                fill(found, before)
                optimizer.load_state_dict(before["optimizer"])
            batches = self.batches[part * PART_STEPS : (part + 1) * PART_STEPS]
            losses = [adapting.train_step(self.model, b, optimizer) for b in batches]
        return {
            "adapters": {n: (a.A.detach(), a.B.detach()) for n, a in found.items()},
            "optimizer": optimizer.state_dict(),
            "losses": losses,
        }

    def adapters(self, kind: str) -> Adapters:
        """Return the adapters after training, each with its base."""
        state = self.part(kind, PARTS - 1)
        with self.adapted(kind) as found:
            fill(found, state)
        return found


def fill(found: Adapters, state: Mapping) -> None:
    """Give adapters the numbers that were kept."""
    with torch.no_grad():
        for name, (A, B) in state["adapters"].items():
            found[name].A.copy_(A)
            found[name].B.copy_(B)


def relative_size(found: Adapters, weights: Mapping[str, Tensor]) -> float:
    """Return the norm of all changes over that of the weights they change."""
    change = sum(a.delta().double().square().sum() for a in found.values())
    size = sum(weights[name].double().square().sum() for name in found)
    return float((change / size).sqrt())


def changed(found: Adapters, bases: Mapping[str, Tensor]) -> float:
    """Return the share of codes that are not those of the frozen base after merging.

    Shapes: bases, name -> (out, in).
    """
    differ = total = 0
    for name, w in adapting.merged(bases, found).items():
        share = qlora.changed_codes(found[name].base, qlora.freeze(w))
        differ, total = differ + w.numel() * share, total + w.numel()
    return differ / total


def folder() -> Path:
    """Return where the parts of the training are kept, for this code alone."""
    key = provenance.code_sha256()[:16]
    return paths.ROOT / "_build" / "measure" / f"qlora-{key}"


def _keep(path: Path, state: dict) -> None:
    """Write a part whole or not at all; remove what other code has kept."""
    for old in path.parent.parent.glob("qlora-*"):
        if old.is_dir() and old != path.parent:
            shutil.rmtree(old, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
