"""TensorBoard's event files, read record by record.

A record is the length of its data (uint64, little-endian), the length's masked CRC-32C, the data (an `Event` of
TensorFlow), and the data's masked CRC-32C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_il.errors import InputError
from rl_il.files import atomic_write

LENGTH = struct.Struct("<QI")  # the data's length and the length's checksum
CHECKSUM_BYTES = 4


def read_events(path: Path, may_be_cut: bool = False) -> Iterator[tuple[bytes, Any]]:
    """Each record's bytes, and the `Event` in it.

    Raises `InputError` for another or a damaged file, and one that is cut short, unless it may be: what follows the
    last whole record is then left out.
    """
    from tensorboardX.proto.event_pb2 import Event  # imports torch
    from tensorboardX.record_writer import masked_crc32c

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    start = 0
    while start < len(content):
        head = content[start : start + LENGTH.size]
        length, checksum = LENGTH.unpack(head) if len(head) == LENGTH.size else (len(content), None)
        # The data's own checksum is left to whoever reads it: it takes long in Python.
        if checksum is not None and masked_crc32c(head[:8]) != checksum:
            raise InputError(f"{path}: is no event file of TensorBoard, or damaged; run it again")
        end = start + LENGTH.size + length + CHECKSUM_BYTES
        if end > len(content):
            if may_be_cut:
                return
            raise InputError(f"{path}: is cut short; run it again")
        try:
            event = Event.FromString(content[start + LENGTH.size : end - CHECKSUM_BYTES])
        except Exception as error:  # protobuf's own class, whose module has moved between versions
            raise InputError(f"{path}: is no event file of TensorBoard ({error}); run it again") from error
        yield content[start:end], event
        start = end


def drop_events(folder: Path, first_itr: int) -> None:
    """Takes from the folder's event files what iterations from `first_itr` on wrote: they are about to come again."""
    for path in sorted(folder.glob("events.out.tfevents*")):
        if first_itr == 0:
            path.unlink()
            continue
        kept = [record for record, event in read_events(path, may_be_cut=True) if event.step < first_itr]
        with atomic_write(path) as file:
            file.write(b"".join(kept))
