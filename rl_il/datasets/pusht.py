"""The demonstrations of Push-T: 206 episodes by people (Diffusion Policy, Chi et al. 2023), found or downloaded."""

from __future__ import annotations

import http.client
import importlib.util
import io
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

from rl_il.commands import install_text
from rl_il.datasets.zarr_files import METADATA, is_zip
from rl_il.errors import InputError
from rl_il.files import atomic_write, check_writable, one_line

URL = "https://diffusion-policy.cs.columbia.edu/data/training/pusht.zip"  # as in CS285's data.py, spring 2026
STORE = "pusht_cchi_v7_replay.zarr"  # the name in the zip
ZIP = "pusht.zip"
TIMEOUT = 30  # seconds without an answer
PIECE = 1 << 16  # bytes


def find_demonstrations(folder: Path) -> Path:
    """Return what `load_trajectories` reads: the demonstrations in the folder, or the zip downloaded into it.

    The zip is read as it is: nothing is unpacked.

    Args:
      folder: where the course's `data.py` puts them (`pusht/pusht_cchi_v7_replay.zarr`, or pusht.zip), the Zarr
        folder itself, or a file of demonstrations.

    Raise `InputError` if the zip is damaged, or if it cannot be downloaded. It says what to put where.
    """
    if folder.suffix and not folder.exists():  # a download would make a folder of the name of a file
        raise InputError(f"{folder}: no such file; give a file of demonstrations, or a folder for the download")
    if folder.is_file() or any((folder / name).exists() for name in METADATA):
        return folder
    for path in (folder / "pusht" / STORE, folder / STORE):
        if path.is_dir():
            return path
    path = folder / ZIP
    if not path.exists():
        download(path)
    elif not is_zip(path):
        raise InputError(f"{path}: is not a complete zip of {STORE}; remove it, and it is downloaded again")
    return path


def download(path: Path) -> None:
    """Download the zip to `path`, completely or not at all, and show the progress on stderr."""
    if importlib.util.find_spec("zarr") is None:
        raise InputError(f"zarr is needed to read the demonstrations of Push-T: {install_text('zarr')}")
    check_writable(path)
    try:
        content = _receive()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            whole = any(STORE in name for name in archive.namelist()) and archive.testzip() is None
    except urllib.error.HTTPError as error:
        raise _refusal(path, f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        why = one_line(str(getattr(error, "reason", error)))  # urllib wraps the cause
        raise _refusal(path, why or type(error).__name__) from error
    except Exception as error:  # zipfile and zlib raise several classes for damaged files
        raise _refusal(path, "what came is not a zip") from error
    if not whole:
        raise _refusal(path, "what came is damaged")
    with atomic_write(path) as file:
        file.write(content)


def _receive() -> bytes:
    """Return the content of `URL`, which has about 30 MB."""
    with urllib.request.urlopen(URL, timeout=TIMEOUT) as response:
        size = int(response.headers.get("Content-Length") or 0)
        pieces: list[bytes] = []
        terminal = sys.stderr is not None and sys.stderr.isatty()
        shown = {"unit": "B", "unit_scale": True, "leave": False, "delay": 1, "mininterval": 0.1 if terminal else 10}
        with tqdm(desc=f"download of {ZIP}", total=size or None, **shown) as bar:
            while piece := response.read(PIECE):
                pieces.append(piece)
                bar.update(len(piece))
    content = b"".join(pieces)
    if len(content) < size:
        raise ConnectionError(f"the connection ended after {len(content):,} of {size:,} bytes")
    return content


def _refusal(path: Path, why: str) -> InputError:
    where = path.absolute()
    return InputError(f"{URL} cannot be downloaded ({why}); download it in another way, and put it at {where}")
