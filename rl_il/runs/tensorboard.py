"""TensorBoard's event files, written and read record by record.

A record is the length of its data (uint64, little-endian), the length's masked CRC-32C, the data (an `Event` of
TensorFlow), and the data's masked CRC-32C.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_il.errors import InputError
from rl_il.files import make_folder_of

LENGTH = struct.Struct("<QI")  # the data's length and the length's checksum
CHECKSUM_BYTES = 4


def read_events(path: Path, may_be_cut: bool = False) -> Iterator[tuple[bytes, Any]]:
    """Yield each record's bytes, and the `Event` in it.

    Raise `InputError` if the file is damaged, truncated, or of another format. If it `may_be_cut`, a truncated file
    raises no error, and its incomplete last record is ignored.
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
        # The checksum of the data is not verified: that would be slow in Python.
        if checksum is not None and masked_crc32c(head[:8]) != checksum:
            raise InputError(f"{path}: is not an event file of TensorBoard, or is damaged; run the training again")
        end = start + LENGTH.size + length + CHECKSUM_BYTES
        if end > len(content):
            if may_be_cut:  # the process was killed while it wrote this record
                return
            raise InputError(f"{path}: is truncated; run the training again")
        try:
            event = Event.FromString(content[start + LENGTH.size : end - CHECKSUM_BYTES])
        except Exception as error:  # a class of protobuf, whose module depends on the version
            raise InputError(f"{path}: is not an event file ({error}); run the training again") from error
        yield content[start:end], event
        start = end


class EventWriter:
    """A writer of a folder's event files. It writes each record at once, so that a killed process loses none.

    (tensorboardX's `SummaryWriter` writes in another thread, and would lose the last records.)

    Args:
      folder: the files' folder; it is created with the first record.
    """

    def __init__(self, folder: Path):
        self.folder, self._writer, self._purge_step = folder, None, None

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

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _add(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        try:
            if self._writer is None:
                self._open()
                if self._purge_step is not None:
                    restart = SessionLog(status=SessionLog.START)
                    self._writer.write_event(Event(wall_time=time.time(), step=self._purge_step, session_log=restart))
                    self._purge_step = None
            self._writer.write_event(Event(wall_time=time.time(), step=step, **what))
            self._writer.flush()
        except OSError as error:
            raise InputError(f"{self.folder}: TensorBoard's events cannot be written ({error.strerror})") from error

    def _open(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        make_folder_of(self.folder / "events")
        # The file's name has the time in whole seconds. The number prevents that a resumed run overwrites a file.
        earlier = len(list(self.folder.glob("events.out.tfevents*")))
        self._writer = EventsWriter(str(self.folder / "events"), f".{earlier}" if earlier else "")
