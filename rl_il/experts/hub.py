"""Policies of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from types import ModuleType

from rl_il.errors import InputError
from rl_il.experts.normaliser import SETTINGS, file_names


def fetch(name: str, with_normaliser: bool = True) -> Path:
    """Return the path of `hf:ORG/REPO/FILE`, which the hub's library downloads or finds in its cache.

    With a zip come its normaliser and its settings, into the same folders as in the repository, if it has them. Raise
    `InputError` if something cannot be downloaded.
    """
    parts = name.removeprefix("hf:").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"{name}: must be hf:ORG/REPO/FILE, for example hf:sb3/a2c-CartPole-v1/a2c-CartPole-v1.zip")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"{name}: needs `pip install huggingface_hub`") from error
    repo, file = "/".join(parts[:2]), PurePosixPath(parts[2])
    path = _download(huggingface_hub, name, repo, file)
    if with_normaliser and file.suffix == ".zip":
        names = (*file_names(file.stem), *SETTINGS)
        wanted = [folder / each for folder in (file.with_suffix(""), file.parent) for each in names]
        for other in _listed(huggingface_hub, name, repo, path, file, wanted):
            _download(huggingface_hub, name, repo, other)
    return path


def _listed(
    hub: ModuleType, name: str, repo: str, path: Path, file: PurePosixPath, wanted: list[PurePosixPath]
) -> list[PurePosixPath]:
    """Return those of the wanted files that the repository has.

    Without a connection, return none if some of them are already in the cache; else raise `InputError`.
    """
    try:
        listed = {*hub.list_repo_files(repo)}
    except Exception as error:  # from the hub or its HTTP library
        root = path.parents[len(file.parts) - 1]
        if any((root / each).is_file() for each in wanted):
            return []
        raise InputError(
            f"{name}: its repository cannot be listed, so it is unknown whether it has a normaliser"
            f" ({_first_line(error)}); connect to the hub, or give --no_normalizer if it has none"
        ) from error
    return [each for each in wanted if str(each) in listed]


def _download(hub: ModuleType, name: str, repo: str, file: PurePosixPath) -> Path:
    try:
        return Path(hub.hf_hub_download(repo, str(file)))
    except Exception as error:  # from the hub, its HTTP library, or the disk
        raise InputError(f"{name}: {file} cannot be downloaded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
