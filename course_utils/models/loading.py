"""Loading a model: the embedded one, one from the hub, or a local folder.

`load()` gives a new model each time, because lessons change weights. Only
safetensors files are read and no code from a model's folder is run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from course_utils.models import embedded, profile
from course_utils.models.cache import ModelError, Progress
from course_utils.models.card import CARDS, EMBEDDED, ModelCard, from_config


@dataclass(frozen=True)
class Loaded:
    """A model ready to use; unpacks as `model, tokenizer, card`.

    Attributes:
        model: float32, in evaluation mode, on the profile's device.
        tokenizer: Its tokenizer.
        card: Its facts.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard

    def __iter__(self) -> Iterator:
        """Yield model, tokenizer and card."""
        return iter((self.model, self.tokenizer, self.card))


def load(name: str | None = None, *, progress: Progress = print) -> Loaded:
    """Return a freshly loaded model with tokenizer and card.

    Args:
        name: `embedded`, a name on the hub (`owner/model`) or a local folder; None
            is the profile's model.
        progress: Is told in one line what takes time.

    Raises: ModelError if there is no such model here; the message says what to do.
    """
    here = profile.current()
    name = name or here.model
    if name == EMBEDDED:
        loaded = _load_embedded(progress)
    elif Path(name).expanduser().is_dir():
        loaded = _load_folder(Path(name).expanduser())
    else:
        loaded = _load_hub(name)
    loaded.model.to(here.device).eval()
    return loaded


def _load_embedded(progress: Progress) -> Loaded:
    """Load the embedded model from the cache, preparing it the first time."""
    folder = embedded.prepare(progress=progress)
    with _no_bars():
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return Loaded(model, tokenizer, CARDS[EMBEDDED])


def _load_folder(folder: Path) -> Loaded:
    """Load safetensors weights, configuration and tokenizer from a folder."""
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no model: it needs config.json, *.safetensors and a "
            "tokenizer."
        )
    model, tokenizer = _from_pretrained(str(folder), local_files_only=True)
    return Loaded(model, tokenizer, _card(model, str(folder), "local", "local folder"))


def _load_hub(name: str) -> Loaded:
    """Load a model by its name on the hub."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"There is no model {name!r}: give `{EMBEDDED}`, a name on the hub "
            "(owner/model) or a folder that exists."
        )
    if not profile.hub_reachable():
        raise ModelError(
            f"The hub is not reachable, so {name} cannot be loaded; connect, or use "
            f"COURSE_MODEL={EMBEDDED} or a local folder."
        )
    model, tokenizer = _from_pretrained(name)
    revision = getattr(model.config, "_commit_hash", None) or "main"
    if name in CARDS:
        return Loaded(model, tokenizer, replace(CARDS[name], revision=revision))
    return Loaded(model, tokenizer, _card(model, name, revision, "Hugging Face hub"))


def _from_pretrained(
    name: str, *, local_files_only: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read model and tokenizer; never pickle files, never a model's own code."""
    safe = {"trust_remote_code": False, "local_files_only": local_files_only}
    try:
        with _no_bars():
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, **safe
            )
            return model, AutoTokenizer.from_pretrained(name, **safe)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(f"{name} cannot be loaded: {first_line}") from error


def _card(model: PreTrainedModel, name: str, revision: str, source: str) -> ModelCard:
    return from_config(
        model.config.to_dict(),
        name=name,
        n_params=sum(p.numel() for p in model.parameters()),
        revision=revision,
        source=source,
    )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers' progress bars out of a notebook's outputs."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
