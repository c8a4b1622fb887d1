"""A model of the hub as a folder on disk.

    ask the hub which files the revision has, and their sizes
    refuse what cannot be read safely, or does not fit on the disk
    fetch the large files, each going on where it was cut (`hub_download`)
    let huggingface_hub fetch the small ones and make the snapshot folder

Only safetensors weights, configuration and tokenizer are asked for: never pickled
weights, never Python code. Files lie in huggingface_hub's own cache, where other
programs find them and where theirs are found.

Left out: repositories whose weights lie in a sub-folder; caches on disks without
symbolic links hold large files twice.
"""

import json
import re
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path, PureWindowsPath

import httpx
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import tqdm

from course_utils.models import hub_errors, profile
from course_utils.models.cache import ModelError, Progress
from course_utils.models.card import ORIGINAL
from course_utils.models.hub_download import Lines, RemoteFile, fetch, partial, size

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# Files in folders, and a second copy of the weights in another layout.
UNWANTED = ("*/*", "consolidated*")
CHOICE = {"allow_patterns": list(WANTED), "ignore_patterns": list(UNWANTED)}
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
TIMEOUT_SECONDS = 30.0
# Both become names in the cache, so they are checked before they are used.
COMMIT, SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")


class _NoBar(tqdm):
    """huggingface_hub's progress bar, without a bar."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{**options, "disable": True})


def snapshot(
    name: str, *, revision: str | None = None, progress: Progress = print
) -> Path:
    """Return the folder of a model of the hub, downloading what is missing.

    Without a hub, a complete copy in the cache is enough. The folder's name is the
    commit.

    Args:
        name: `owner/model`.
        revision: Branch, tag or commit; None is the main branch.
        progress: Is told in plain lines what takes time, and how far it is.

    Raises: ModelError in one sentence that says what to do.
    """
    try:
        if constants.is_offline_mode() or not profile.hub_reachable():
            return _cached(name, revision)
        info = _ask(name, revision)
        if info is None:
            return _cached(name, revision)
        _fetch_large(name, info, progress)
        folder = snapshot_download(name, revision=revision, tqdm_class=_NoBar, **CHOICE)
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise hub_errors.explained(error, name, revision) from error
    return Path(folder)


def _ask(name: str, revision: str | None) -> ModelInfo | None:
    """Return what the hub says about a model, or None if it does not answer."""
    try:
        return HfApi().model_info(
            name, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
        )
    except (httpx.TransportError, OfflineModeIsEnabled):
        return None


def wanted(name: str) -> bool:
    """Return whether a file of a repository is one that loading may need."""
    return _matches(name, WANTED) and not _matches(name, UNWANTED)


def missing(folder: Path) -> list[str]:
    """Return the files that a model folder lacks.

    A list of weights that cannot be read counts as missing, and so does a file of the
    list that is not a safetensors file of this folder.
    """
    if not (folder / "config.json").is_file():
        return ["config.json"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _shards(index)
        return sorted(s for s in shards if not _usable(folder, s)) or (
            [] if shards else [index.name]
        )
    return [] if any(p.is_file() for p in folder.glob("*.safetensors")) else ["weights"]


def _shards(index: Path) -> set[str]:
    """Return the files that a list of weights names; none if it cannot be read."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return {str(shard) for shard in listed}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _usable(folder: Path, shard: str) -> bool:
    """Return whether a shard is a safetensors file directly in `folder`."""
    # transformers unpickles a listed file that has another ending.
    safe = _is_plain(shard) and shard.endswith(".safetensors")
    return safe and (folder / shard).is_file()


def _is_plain(name: str) -> bool:
    """Return whether a name stays in its folder, on every operating system."""
    # Windows' rules for names include those of the others.
    return name not in ("", "..") and PureWindowsPath(name).name == name


def _cached(name: str, revision: str | None) -> Path:
    """Return the folder of a complete copy in the cache, asking nobody.

    Raises: ModelError if there is none.
    """
    lacks = f"The hub is not reachable and the cache holds only a part of {name}"
    try:
        folder = Path(
            snapshot_download(name, revision=revision, local_files_only=True, **CHOICE)
        )
        if not missing(folder):
            return folder
    except (LocalEntryNotFoundError, ValueError) as error:
        if not isinstance(error, IncompleteSnapshotError):
            lacks = f"The hub is not reachable and {name} is not in the cache"
            lacks += f" in revision {revision}" if revision else ""
    raise ModelError(
        f"{lacks}; connect and run the same command again, or use "
        "COURSE_MODEL=embedded or a local folder."
    )


def _fetch_large(name: str, info: ModelInfo, progress: Progress) -> None:
    """Fetch every wanted file that the hub keeps outside git, by its sha256.

    Raises: ModelError if there is nothing safe to read, or no room.
    """
    _refuse_unsafe(name, [file.rfilename for file in info.siblings or ()])
    listed = _files(name, info)
    _refuse_strange_names(name, info.sha or "", listed)
    cache = Path(constants.HF_HUB_CACHE)
    store = cache / repo_folder_name(repo_id=name, repo_type="model")
    here = store / "snapshots" / info.sha
    files = [f for f in listed if not (here / f.name).exists()]
    blobs = {f: store / "blobs" / f.sha256 for f in files if f.sha256}
    blobs = {f: blob for f, blob in blobs.items() if not blob.exists()}
    small = sum(f.size for f in files if not f.sha256)
    total = sum(f.size for f in blobs)
    done = sum(_length(partial(blob)) for blob in blobs.values())
    _refuse_without_room(name, cache, total - done + small)
    verb = "Going on with" if done else "Downloading"
    lines = Lines(f"{verb} {name} ({size(total)}, once).", total, done, progress)
    for file, blob in blobs.items():
        fetch(file, blob, lines)


def _files(name: str, info: ModelInfo) -> list[RemoteFile]:
    """Return the wanted files; those that lie in git have no sha256."""
    return [
        RemoteFile(
            name=file.rfilename,
            url=hf_hub_url(name, file.rfilename, revision=info.sha),
            size=file.size or 0,
            sha256=file.lfs.sha256 if file.lfs else "",
        )
        for file in info.siblings or ()
        if wanted(file.rfilename)
    ]


def _refuse_unsafe(name: str, files: list[str]) -> None:
    """Raise ModelError for a repository without safetensors weights."""
    if any(f.endswith(".safetensors") and wanted(f) for f in files):
        return
    if any(_matches(f, PICKLED) for f in files):
        raise ModelError(
            f"{name} has its weights only as pickle files, which can run code when "
            "they are opened; choose a model with safetensors files."
        )
    raise ModelError(
        f"{name} holds no safetensors weights; choose a model that does, such as "
        f"{ORIGINAL}."
    )


def _refuse_strange_names(name: str, commit: str, files: list[RemoteFile]) -> None:
    """Raise ModelError if what the hub says would lead out of the cache."""
    strange = [] if COMMIT.fullmatch(commit) else [f"commit {commit!r}"]
    for file in files:
        if not _is_plain(file.name):
            strange.append(f"file name {file.name!r}")
        if file.sha256 and not SHA256.fullmatch(file.sha256):
            strange.append(f"sha256 {file.sha256!r}")
    if strange:
        raise ModelError(
            f"The hub gives {name} the {strange[0]}, which is not one; check "
            "HF_ENDPOINT, or choose another model."
        )


def _refuse_without_room(name: str, cache: Path, needs: int) -> None:
    """Raise ModelError if the disk of `cache` has fewer than `needs` bytes."""
    place = cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needs:
        raise ModelError(
            f"{cache} has {size(free)} free and {name} needs {size(needs)} more; make "
            "room there or set HF_HUB_CACHE to another folder."
        )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
