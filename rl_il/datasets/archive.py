"""Zip archives from strangers: what a member claims is checked before anything of that size is made."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rl_il.errors import InputError

MOST_UNPACKED = 128_000_000  # bytes that any archive may unpack to
MOST_EXPANSION = 64  # or this many times its own size: frames of a game pack well, a bomb a thousandfold
DEFLATE_LIMIT = 1032  # times; what the format can do


@contextmanager
def open_archive(file: Path | BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive, whose members may then be read whole.

    Raises `InputError` for a member that is encrypted, packed by another method than deflate (the others announce
    how much memory they need, up to gigabytes), or larger than it can be, and for members that are too large
    together. A damaged archive raises what `zipfile` raises: callers turn it into their own sentence.
    """
    with zipfile.ZipFile(file) as archive:
        archive.fp.seek(0, 2)
        size = archive.fp.tell()
        members = archive.infolist()
        for member in members:
            _check(member, size)
        unpacked, most = sum(member.file_size for member in members), max(MOST_UNPACKED, MOST_EXPANSION * size)
        if unpacked > most:
            raise InputError(f"would unpack to {unpacked:,} bytes, of a file of {size:,}; expected at most {most:,}")
        yield archive


def read_member(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    """The member's bytes. Raises `InputError` above `most` of them; not more are unpacked than it announces.

    `most` is for what grows when it is read: JSON becomes some 30 times as large, a pickle 300 times.
    """
    size = archive.getinfo(name).file_size
    if most is not None and size > most:
        raise InputError(f"holds {size:,} bytes of {name[:100]!r}, expected at most {most:,}")
    with archive.open(name) as file:
        return file.read(size)  # `archive.read` would unpack everything there is, and then cut it


def _check(member: zipfile.ZipInfo, size: int) -> None:
    name = member.filename[:100]
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"has {name!r} encrypted or packed by a method that is not read; expected stored or deflated"
        )
    if member.compress_size > size:
        raise InputError(f"announces {member.compress_size:,} bytes of {name!r}, but has {size:,} itself")
    most = member.compress_size
    if member.compress_type == zipfile.ZIP_DEFLATED:
        most = DEFLATE_LIMIT * most + 64
    if member.file_size > most:
        raise InputError(
            f"announces {member.file_size:,} bytes of {name!r}, which {member.compress_size:,} cannot hold"
        )
