"""TensorBoard's event files without their pictures, and the course's `submit.zip` of them.

A record of such a file is the length of its data (uint64, little-endian), the length's masked CRC-32C, the data (an
`Event` of TensorFlow), and the data's masked CRC-32C.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_il.errors import InputError
from rl_il.report.runs import Run

MOST_BYTES = 15_000_000  # of the zip; the course refuses larger ones
LENGTH = struct.Struct("<QI")  # the data's length and the length's checksum
CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Submission:
    """A zip and what it holds."""

    data: bytes
    names: dict[Path, str]  # run folder to its folder in the zip


def submission(runs: Sequence[Run], most_bytes: int = MOST_BYTES) -> Submission:
    """`run_logs/q1_...` for cloning and `run_logs/q2_...` for DAgger, each with its event files without videos.

    The same runs give the same bytes. Raises `InputError` for a run without event file, a broken one, and a zip above
    `most_bytes`.
    """
    names: dict[Path, str] = {}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for run in runs:
            names[run.folder] = _free_name(run, {*names.values()})
            files = sorted(run.folder.glob("events.out.tfevents*"))
            if not files:
                raise InputError(f"{run.folder}: has no event file (events.out.tfevents...); run it again")
            for file in files:
                entry = zipfile.ZipInfo(f"run_logs/{names[run.folder]}/{file.name}")  # dated 1980 unless told
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, without_images(file))
    if data.tell() > most_bytes:
        raise InputError(
            f"submit.zip would have {data.tell() / 1e6:.1f} MB, more than the {most_bytes / 1e6:g} MB that the course"
            " takes; give fewer runs"
        )
    return Submission(data.getvalue(), names)


def _free_name(run: Run, taken: set[str]) -> str:
    prefix = "q2_" if run.config.do_dagger else "q1_"
    name = run.folder.resolve().name.removeprefix(prefix)
    count = 1
    while True:
        free = f"{prefix}{name}" + (f"_{count}" if count > 1 else "")
        if free not in taken:
            return free
        count += 1


def without_images(path: Path) -> bytes:
    """The event file less the records that hold a picture; the others are the same to the byte."""
    from tensorboardX.proto.event_pb2 import Event  # imports torch

    kept = []
    for record, data in _records(path):
        try:
            values = Event.FromString(data).summary.value
        except Exception as error:  # protobuf's own class, whose module has moved between versions
            raise InputError(f"{path}: is no event file of TensorBoard ({error}); run it again") from error
        if not any(value.WhichOneof("value") == "image" for value in values):
            kept.append(record)
    return b"".join(kept)


def _records(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Each record with its frame, and its data."""
    from tensorboardX.record_writer import masked_crc32c

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    start = 0
    while start < len(content):
        head = content[start : start + LENGTH.size]
        if len(head) < LENGTH.size:
            raise InputError(f"{path}: is cut short; run it again")
        length, checksum = LENGTH.unpack(head)
        if masked_crc32c(head[:8]) != checksum:  # the data's own is left to whoever reads it: it takes long in Python
            raise InputError(f"{path}: is no event file of TensorBoard, or damaged; run it again")
        end = start + LENGTH.size + length + CHECKSUM_BYTES
        if end > len(content):
            raise InputError(f"{path}: is cut short; run it again")
        yield content[start:end], content[start + LENGTH.size : end - CHECKSUM_BYTES]
        start = end
