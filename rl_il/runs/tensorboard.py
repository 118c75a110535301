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

LENGTH = struct.Struct("<QI")  # the data's length and the length's checksum
CHECKSUM_BYTES = 4


def read_events(path: Path, may_be_cut: bool = False) -> Iterator[tuple[bytes, Any]]:
    """Yield each record's bytes, and the `Event` in it.

    Raise `InputError` for another or a damaged file. One that is cut short is refused too, unless it `may_be_cut`:
    what follows its last whole record is then left out.
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
        # The data's own checksum is not verified: in Python that takes long.
        if checksum is not None and masked_crc32c(head[:8]) != checksum:
            raise InputError(f"{path}: is no event file of TensorBoard, or damaged; run it again")
        end = start + LENGTH.size + length + CHECKSUM_BYTES
        if end > len(content):
            if may_be_cut:  # the process was killed while it wrote this record
                return
            raise InputError(f"{path}: is cut short; run it again")
        try:
            event = Event.FromString(content[start + LENGTH.size : end - CHECKSUM_BYTES])
        except Exception as error:  # protobuf's own class, whose module has moved between versions
            raise InputError(f"{path}: is no event file of TensorBoard ({error}); run it again") from error
        yield content[start:end], event
        start = end


class EventWriter:
    """A writer that appends records to a folder's event files one by one, so that none is lost with a killed process.

    (tensorboardX's `SummaryWriter` writes in a thread of its own and loses the last records there.)

    Args:
      folder: the files' folder; it is made with the first record.
    """

    def __init__(self, folder: Path):
        self.folder, self._writer, self._purge_step = folder, None, None

    def purge(self, step: int) -> None:
        """Let TensorBoard drop what earlier files hold of `step` and later steps, which will be written again."""
        self.close()
        self._purge_step = step

    def scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each scalar's curve."""
        from tensorboardX.summary import scalar

        for name, value in scalars.items():
            self._add(step, summary=scalar(name, value))

    def gif(self, step: int, name: str, gif: bytes, frame_shape: tuple[int, ...]) -> None:
        """Add a moving picture of `(height, width, channels)`, which TensorBoard plays among the images."""
        # add_video needs moviepy and silently logs nothing without it; a GIF is an image to TensorBoard.
        from tensorboardX.proto.summary_pb2 import Summary

        height, width, channels = frame_shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=gif)
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

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
            self._writer.write_event(Event(wall_time=time.time(), step=step, **what))
            self._writer.flush()
        except OSError as error:
            raise InputError(f"{self.folder}: TensorBoard's events cannot be written ({error.strerror})") from error

    def _open(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self.folder.mkdir(exist_ok=True)
        # A file is named by the second: a resumed run must not overwrite the file of the run before it.
        earlier = len(list(self.folder.glob("events.out.tfevents*")))
        self._writer = EventsWriter(str(self.folder / "events"), f".{earlier}" if earlier else "")
