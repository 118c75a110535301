"""The file formats: how each is recognised, which function reads it, and what is lost."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_il.commands import install_text
from rl_il.datasets.zarr_files import is_zip
from rl_il.errors import InputError
from rl_il.files import LEGACY_TORCH, reading
from rl_il.plugins import load

HEAD = 4096  # bytes of a file that recognise its format


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
      name: what messages call it.
      recognised: a function of the path and of the file's first bytes (none for a folder); gzip is taken off before.
      reader: `module:function`. The function returns, for a path, a tree of dicts, lists and arrays, whose names and
        layout `columns.find_content` interprets.
      extra: the optional dependency, as in `pip install "rl_il[hdf5]"`; the reader imports it.
      lost: what is not read.
    """

    name: str
    recognised: Callable[[Path, bytes], bool]
    reader: str
    extra: str = ""
    lost: str = ""

    def read(self, path: Path) -> Any:
        """Return the tree. Raise `InputError` for a damaged file, and if the optional dependency is missing."""
        try:
            with reading(f"{self.name} file"):
                return load(self.reader)(path)
        except InputError as error:
            missing = _missing_package(error)
            if missing and self.extra:
                install = install_text(self.extra)
                raise InputError(f"{missing} is needed to read a {self.name} file: {install}") from error
            raise


def _missing_package(error: BaseException | None) -> str | None:
    """Return the package whose absence is the cause of an error; None if there is another cause."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or (error.__context__ if isinstance(error, ImportError) else None)
    return error.name if error else None


def _starts(*magic: bytes) -> Callable[[Path, bytes], bool]:
    return lambda path, head: head.startswith(magic)


def _folder_with(*names: str) -> Callable[[Path, bytes], bool]:
    return lambda path, head: path.is_dir() and any(any(path.glob(name)) for name in names)


def _is_json(path: Path, head: bytes) -> bool:
    return head.lstrip()[:1] in (b"{", b"[")


def _is_text(path: Path, head: bytes) -> bool:
    line = head.split(b"\n")[0]
    return any(mark in line for mark in (b",", b";", b"\t")) and all(byte >= 32 or byte in b"\r\n\t" for byte in line)


def _is_pickle(path: Path, head: bytes) -> bool:
    return head[:1] == b"\x80" or head[:1] in (b"(", b"]", b"}", b"c")


def _is_zarr_zip(path: Path, head: bytes) -> bool:
    return head.startswith(b"PK") and is_zip(path)


def _is_torch(path: Path, head: bytes) -> bool:
    return LEGACY_TORCH in head[:64] or (head.startswith(b"PK") and b"data.pkl" in head[:512])


FORMATS: list[Format] = [
    Format("torch.save", _is_torch, "rl_il.datasets.torch_files:read"),
    Format("Zarr", _is_zarr_zip, "rl_il.datasets.zarr_files:read", "zarr"),
    Format("npz", _starts(b"PK"), "rl_il.datasets.npz:read", lost="pickled objects that are not needed"),
    Format("npy", _starts(b"\x93NUMPY"), "rl_il.datasets.npy:read"),
    Format("HDF5", _starts(b"\x89HDF"), "rl_il.datasets.hdf5:read", "hdf5", "attributes; `mask`"),
    Format("Parquet", _starts(b"PAR1"), "rl_il.datasets.arrow:read", "arrow"),
    Format("Arrow", _starts(b"ARROW1", b"\xff\xff\xff\xff"), "rl_il.datasets.arrow:read", "arrow"),
    Format("JSON", _is_json, "rl_il.datasets.text:read_json"),
    Format(
        "pickle", _is_pickle, "rl_il.datasets.pickles:load_pickle", lost="objects other than arrays and plain data"
    ),
    Format("CSV", _is_text, "rl_il.datasets.text:read_csv"),
    Format("Zarr", _folder_with(".zgroup", "zarr.json", ".zarray"), "rl_il.datasets.zarr_files:read", "zarr"),
    Format("LeRobot", _folder_with("meta/info.json"), "rl_il.datasets.arrow:read_lerobot", "arrow", "videos"),
    Format(
        "Minari",
        _folder_with("data/main_data.hdf5", "main_data.hdf5"),
        "rl_il.datasets.hdf5:read_minari",
        "hdf5",
        "infos",
    ),
    Format(
        "Minari (Arrow)",
        _folder_with("data/*/part-*.arrow", "*/part-*.arrow"),
        "rl_il.datasets.arrow:read_minari",
        "arrow",
        "infos",
    ),
    Format(
        "Hugging Face datasets",
        _folder_with("state.json", "*-of-[0-9]*.arrow", "*-of-[0-9]*.parquet", "data/*-of-[0-9]*.parquet"),
        "rl_il.datasets.arrow:read_folder",
        "arrow",
        "infos, and other text",
    ),
    Format("pair of npy", _folder_with("*.npy"), "rl_il.datasets.npy:read_folder"),
]
"""A new format is a function of a path that returns a tree, and its row here; the first that fits is taken."""


def find_format(path: Path) -> Format | None:
    """Return the format of a file or folder, by its content; None if it is none of them."""
    head = b"" if path.is_dir() else first_bytes(path)
    return next((each for each in FORMATS if each.recognised(path, head)), None)


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, uncompressed if it is compressed by gzip."""
    with reading("file"):
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                head = file.read(HEAD)
        return head


def read_bytes(path: Path) -> bytes:
    """Return the whole content of a file, uncompressed if it is compressed by gzip."""
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
