"""TensorBoard's event files, written and read record by record.

A record is the length of its data (uint64, little-endian), the length's masked CRC-32C, the data (an `Event` of
TensorFlow), and the data's masked CRC-32C.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_il.errors import InputError
from rl_il.files import make_folder_of

LENGTH = struct.Struct("<QI")  # the data's length and the length's checksum
CHECKSUM_BYTES = 4


def read_events(path: Path, may_be_cut: bool = False) -> Iterator[tuple[bytes, Any]]:
    """Yield each record's bytes, and the `Event` in it.

    Raise `InputError` if the file is damaged, truncated, or of another format. If it `may_be_cut`, this is no error,
    and what follows the last good record is ignored: a part of a record, or the zeros that a power failure leaves.
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
        end, why = start + LENGTH.size + length + CHECKSUM_BYTES, None
        # The data's checksum would be slow to verify in Python. If it is 0, the end of the record was lost.
        if checksum is not None and masked_crc32c(head[:8]) != checksum:
            why = "is not an event file of TensorBoard, or is damaged"
        elif end > len(content) or not any(content[end - CHECKSUM_BYTES : end]):
            why = "is truncated"
        else:
            try:
                event = Event.FromString(content[start + LENGTH.size : end - CHECKSUM_BYTES])
            except Exception as error:  # a class of protobuf, whose module depends on the version
                why = f"is not an event file ({error})"
        if why and may_be_cut:  # the process was killed while it wrote this record, or the machine lost its power
            return
        if why:
            raise InputError(f"{path}: {why}; run the training again")
        yield content[start:end], event
        start = end


class EventWriter:
    """A writer of a folder's event files. It writes each record at once, so that a killed process loses none.

    (tensorboardX's `SummaryWriter` writes in another thread, and would lose the last records. Its `EventsWriter`
    waits for the disk after each record; here only `sync` does.)

    Args:
      folder: the files' folder; it is created with the first record.
    """

    def __init__(self, folder: Path):
        self.folder, self._purge_step = folder, None
        self._file: io.BufferedWriter | None = None

    def purge(self, step: int) -> None:
        """Make TensorBoard ignore what earlier files hold from `step` on. These steps will be written again."""
        self.close()
        self._purge_step = step

    def scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each scalar's curve."""
        from tensorboardX.summary import scalar

        for name, value in scalars.items():
            self._add(step, summary=scalar(name, value))

    def gif(self, step: int, name: str, gif: bytes, frame_shape: tuple[int, ...]) -> None:
        """Add a GIF with frames of shape `(height, width, channels)`. TensorBoard shows it among the images."""
        # Without moviepy, add_video logs nothing and gives no error. TensorBoard treats a GIF as an image.
        from tensorboardX.proto.summary_pb2 import Summary

        height, width, channels = frame_shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=gif)
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

    def settings(self, step: int, settings: dict[str, Any]) -> None:
        """Add the run to the tab HParams, which shows settings next to the last point of each of the folder's curves.

        Settings that are None are left out. TensorBoard finds the columns of the tab itself. A list of them, which
        `SummaryWriter.add_hparams` writes, would hide what only other runs have, since one such list is read.
        """
        from tensorboardX.summary import hparams

        given = {name: value for name, value in settings.items() if value is not None}
        plain = {
            name: value if isinstance(value, bool | int | float) else str(value) for name, value in given.items()
        }
        _, start, end = hparams(plain, {})
        self._add(step, summary=start)
        self._add(step, summary=end)

    def sync(self) -> None:
        """Wait until all records are on disk, where a power failure does not remove them."""
        if self._file is not None:
            with self._reported():
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the event file."""
        self.sync()
        if self._file is not None:
            self._file.close()
        self._file = None

    def _add(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog

        with self._reported():
            if self._file is None:
                self._open()
                if self._purge_step is not None:
                    self._write(step=self._purge_step, session_log=SessionLog(status=SessionLog.START))
                    self._purge_step = None
            self._write(step=step, **what)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise `InputError` for an `OSError` inside, and give the file up."""
        try:
            yield
        except OSError as error:
            if self._file is not None:
                self._file.raw.close()  # without what is in the buffer, which cannot be written
                self._file = None
            raise InputError(f"{self.folder}: TensorBoard's events cannot be written ({error.strerror})") from error

    def _open(self) -> None:
        path = self.folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        make_folder_of(path)
        # The file's name has the time in whole seconds. The number prevents that a resumed run overwrites a file.
        earlier = len(list(self.folder.glob("events.out.tfevents*")))
        self._file = Path(f"{path}.{earlier}" if earlier else path).open("wb")  # noqa: SIM115
        self._write(file_version="brain.Event:2")

    def _write(self, **fields: Any) -> None:
        """Append a record with an `Event` of these fields, and pass it to the operating system."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import masked_crc32c

        data = Event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
        self._file.write(b"".join((length, next(checksums), data, next(checksums))))
        self._file.flush()
