"""What went wrong with a download, in one sentence that says what to do."""

import errno
from collections.abc import Callable

import httpx
from huggingface_hub import constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from course_utils.models.cache import ModelError
from course_utils.models.card import CARDS, ORIGINAL, similar

FORBIDDEN, UNAUTHORIZED = 403, 401
AGAIN = "run the same command again, it goes on where it stopped"


def explained(error: Exception, name: str, revision: str | None) -> ModelError:
    """Return the error to raise instead of `error`.

    Args:
        error: From huggingface_hub, httpx or the operating system.
        name: The model that was asked for.
        revision: The revision that was asked for.
    """
    return ModelError(_sentence(_cause(error), name, revision))


def gated(name: str) -> str:
    """Return what to say about a gated model: how to get it, and another one."""
    n_params = CARDS[name].n_params if name in CARDS else CARDS[ORIGINAL].n_params
    return (
        f"{name} is gated: accept its licence on {constants.ENDPOINT}/{name} and set "
        f"HF_TOKEN, or use an ungated model such as {similar(n_params)}."
    )


def _cause(error: Exception) -> Exception:
    """Return the error of the network behind one that only reports a missing file."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _sentence(error: Exception, name: str, revision: str | None) -> str:
    """Return the sentence of the first kind that the error is of."""
    for kind, sentence in SENTENCES.items():
        if isinstance(error, kind):
            return sentence(error, name, revision)
    first_line = str(error).strip().partition("\n")[0]
    return f"{name} cannot be downloaded: {first_line}"


def _refused(error: HfHubHTTPError, name: str, _: str | None) -> str:
    """Return the sentence for an answer of the hub that is an error."""
    status = error.response.status_code
    if status in (UNAUTHORIZED, FORBIDDEN):
        return (
            f"The hub refuses {name} to you (status {status}); check HF_TOKEN, or use "
            f"an ungated model such as {ORIGINAL}."
        )
    return f"The hub answered with status {status} for {name}; {AGAIN}."


def _disk(error: OSError, name: str, _: str | None) -> str:
    """Return the sentence for what the operating system reports."""
    if error.errno == errno.ENOSPC:
        return (
            f"The disk of {constants.HF_HUB_CACHE} is full; make room there or set "
            f"HF_HUB_CACHE to another folder, then {AGAIN}."
        )
    return (
        f"{name} cannot be kept in {constants.HF_HUB_CACHE}: "
        f"{error.strerror or error}; set HF_HUB_CACHE to another folder."
    )


# The more special kinds come first: a gated repository is also one not found.
SENTENCES: dict[type[Exception], Callable[[Exception, str, str | None], str]] = {
    GatedRepoError: lambda _, name, __: gated(name),
    RevisionNotFoundError: lambda _, name, revision: (
        f"{name} has no revision {revision!r}; give a branch, a tag or a commit."
    ),
    RepositoryNotFoundError: lambda _, name, __: (
        f"The hub has no model {name}, or it is private; check the spelling, or set "
        "HF_TOKEN if it is yours."
    ),
    HfHubHTTPError: _refused,
    HFValidationError: lambda _, name, __: (
        f"{name!r} is not a name on the hub; names have the form owner/model."
    ),
    httpx.HTTPError: lambda _, name, __: f"The download of {name} was cut; {AGAIN}.",
    FileMetadataError: lambda _, __, ___: (
        f"{constants.ENDPOINT} does not answer as a model hub does; check HF_ENDPOINT "
        "and the proxy settings."
    ),
    ConnectionError: lambda _, name, __: f"The download of {name} was cut; {AGAIN}.",
    OSError: _disk,
}
