"""Loading a model: the embedded one, one from the hub, or a local folder.

`load()` gives a new model each time, because lessons change weights. Only
safetensors files are read and no code from a model's folder is run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from course_utils.models import embedded, hub, profile
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


def load(
    name: str | None = None,
    *,
    revision: str | None = None,
    progress: Progress = print,
) -> Loaded:
    """Return a freshly loaded model with tokenizer and card.

    Args:
        name: `embedded`, a name on the hub (`owner/model`) or a local folder; None
            is the profile's model.
        revision: Of a model on the hub: branch, tag or commit; None is its main
            branch.
        progress: Is told in plain lines what takes time.

    Raises: ModelError if there is no such model here, it is damaged, or it is of a
        family that the book does not work with; the message says what to do.
        ValueError if an environment variable asks for what does not exist.
    """
    here = profile.current()
    name = here.model if name is None else name
    folder = Path(source(name, revision=revision, progress=progress))
    if name == EMBEDDED:
        loaded = _load_embedded(folder)
    else:
        model, tokenizer = _from_pretrained(name, folder)
        loaded = Loaded(model, tokenizer, _card(model, name, folder))
    loaded.model.to(here.device).eval()
    return loaded


def source(
    name: str | None = None,
    *,
    revision: str | None = None,
    progress: Progress = print,
) -> str:
    """Return the folder of a model, ready for any library's `from_pretrained`.

    It holds config.json, safetensors weights and a tokenizer; the embedded model is
    prepared and a model of the hub downloaded if they are not there yet.

    Args:
        name: As for `load`.
        revision: As for `load`.
        progress: As for `load`.

    Raises: ModelError if there is no such model here; the message says what to do.
        ValueError if an environment variable asks for what does not exist.
    """
    name = profile.current().model if name is None else name
    local = _local(name)
    if revision is not None and (name == EMBEDDED or local.is_dir()):
        raise ModelError(
            f"{name} has no revisions; leave `revision` out or name a hub model."
        )
    if name == EMBEDDED:
        return str(embedded.prepare(progress=progress))
    if local.is_dir():
        return str(_checked(local))
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"There is no model {name!r}: give `{EMBEDDED}`, a name on the hub "
            "(owner/model) or a folder that exists."
        )
    return str(hub.snapshot(name, revision=revision, progress=progress))


def _local(name: str) -> Path:
    """Return the path that `name` is if it is a local folder.

    Raises: ModelError if it cannot be one.
    """
    if not name:
        raise ModelError(
            f"The name of the model is empty; give `{EMBEDDED}`, a name on the hub "
            "(owner/model) or a folder."
        )
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{name} starts with a user whose home folder is not known; give the full "
            "path of the folder."
        ) from error


def _load_embedded(folder: Path) -> Loaded:
    """Load the embedded model from its prepared folder."""
    with _no_bars():
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return Loaded(model, tokenizer, CARDS[EMBEDDED])


def _checked(folder: Path) -> Path:
    """Return `folder`.

    Raises: ModelError if it holds no model that can be read safely.
    """
    if hub.missing(folder):
        raise ModelError(
            f"{folder} holds no model: it needs config.json, *.safetensors and a "
            "tokenizer."
        )
    return folder


def _from_pretrained(
    name: str, folder: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read model and tokenizer; never pickle files, never a model's own code.

    Raises: ModelError if they cannot be read.
    """
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        with _no_bars():
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, **safe
            )
            return model, AutoTokenizer.from_pretrained(folder, **safe)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return in one line why a model could not be read."""
    if isinstance(error, SafetensorError):
        return "a safetensors file is damaged or cut; download it again."
    if "mismatched_sizes" in str(error):  # an option that `load` does not have
        return (
            "the shapes of its weights differ from its config.json; download it again."
        )
    return str(error).strip().partition("\n")[0]


def _card(model: PreTrainedModel, name: str, folder: Path) -> ModelCard:
    """Return the card of a model that was read from `folder`.

    Raises: ModelError if the model is of a family that we do not know.
    """
    local = _local(name).is_dir()
    # The folder of a snapshot is named after its commit.
    revision = "local" if local else folder.name
    if name in CARDS and not local:
        return replace(CARDS[name], revision=revision)
    try:
        return from_config(
            model.config.to_dict(),
            name=name,
            n_params=sum(p.numel() for p in model.parameters()),
            revision=revision,
            source="local folder" if local else "Hugging Face hub",
        )
    except ValueError as error:
        raise ModelError(str(error)) from error


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
