"""TensorBoard's event files without their pictures, and the course's `submit.zip` of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_il.errors import InputError
from rl_il.infrastructure.events import read_events
from rl_il.report.runs import Run

MOST_BYTES = 15_000_000  # of the zip; the course refuses larger ones


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
    return b"".join(
        record
        for record, event in read_events(path)
        if not any(value.WhichOneof("value") == "image" for value in event.summary.value)
    )
