"""Functions that write the files of a report: the page, and the course's `submit.zip` of event files."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.report.assignment import assignment_report
from rl_il.report.page import Note, Table, shown_path, write_page
from rl_il.report.runs import Run
from rl_il.report.sections import runs_report
from rl_il.report.tables import plain
from rl_il.report.tasks import RANDOM_EPISODES, tasks_of
from rl_il.runs.folders import FOLDERS, new_folder
from rl_il.runs.tensorboard import read_events

MAX_BYTES = 15_000_000  # maximum size of submit.zip; the course accepts no larger file


def write_report(
    runs: Sequence[Run],
    out: Path | None,
    default: Path,
    title: str | None,
    random: bool,
    assignment: bool,
    unfinished: Sequence[Path] = (),
) -> str:
    """Write the page about the runs, as HTML and as Markdown with its figures. Return the text to print.

    Args:
      runs: the finished runs.
      out: the HTML file. With None, it is `report.html` or `assignment.html` in a new folder.
      default: the path of the new folder. If it exists, a number is appended.
      title: the title of the page. With None, it is the default title.
      random: whether to measure the random policy.
      assignment: whether to write the course's three parts and `submit.zip` instead. If `submit.zip` cannot be made,
        raise `InputError` before anything is written.
      unfinished: run folders without a result, for the table of runs in the assignment.
    """
    data, names = submission(runs) if assignment else (b"", {})
    tasks = tasks_of(runs, RANDOM_EPISODES * random)
    report = assignment_report(tasks, len(data), names, unfinished) if assignment else runs_report(tasks)
    report = replace(report, title=title or report.title)
    out = out or new_folder(default, numbered=True) / ("assignment.html" if assignment else "report.html")
    paths = write_page(report, out)
    if assignment:
        paths.append(out.with_name("submit.zip"))
        with atomic_write(paths[-1]) as file:
            file.write(data)
    tables = [table for table in report.blocks(Table) if not table.folded]
    tables = [table for table in tables if assignment or table.caption.startswith(("Returns in ", "Scores in "))]
    shown = [f"{table.caption}\n{plain(table.rows)}" for table in tables]
    notes = [f"note: {note.text.replace('`', '')}" for note in report.blocks(Note)]
    return "\n\n".join([*shown, *notes, "\n".join(map(shown_path, paths))])


def submission(runs: Sequence[Run], max_bytes: int = MAX_BYTES) -> tuple[bytes, dict[Path, str]]:
    """Return the bytes of submit.zip, and the name of each run folder in it: `q1_...` for BC, `q2_...` for DAgger.

    The file contains the event files without videos. The same runs give the same bytes. Raise `InputError` for a run
    without an event file, for a damaged event file, and if submit.zip would have more than `max_bytes` bytes.
    """
    names: dict[Path, str] = {}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for run in runs:
            prefix = f"{FOLDERS[run.config.algorithm][0]}_"
            name = prefix + run.folder.resolve().name.removeprefix(prefix)
            free = chain([name], (f"{name}_{i}" for i in count(2)))
            names[run.folder] = next(each for each in free if each not in names.values())
            if not (files := event_files(run.folder)):
                raise InputError(f"{run.folder}: has no event file (events.out.tfevents...); run the training again")
            for path, records in files.items():
                entry = zipfile.ZipInfo(f"run_logs/{names[run.folder]}/{path.name}")  # its date is 1980 by default
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, without_images(records))
    if data.tell() > max_bytes:
        raise InputError(
            f"submit.zip would have {data.tell() / 1e6:.1f} MB, more than the {max_bytes / 1e6:g} MB that the course"
            " accepts; give fewer runs"
        )
    return data.getvalue(), names


def event_files(folder: Path) -> dict[Path, list[tuple[bytes, Any]]]:
    """Return the records of the folder's event files, and the `Event` in each, as TensorBoard shows them.

    A run that was stopped and resumed has several files. Each file except the first replaces the earlier ones from
    some step on, and has a record with this step (`purge_step`). A record that a killed process did not finish is not
    read.
    """
    from tensorboardX.proto.event_pb2 import SessionLog

    paths = sorted(folder.glob("events.out.tfevents*"))
    files, end = {}, math.inf
    for path in reversed(paths):
        records = list(read_events(path, may_be_cut=path != paths[-1]))
        files[path] = [pair for pair in records if not (pair[1].HasField("summary") and pair[1].step >= end)]
        starts = [event.step for _, event in records if event.session_log.status == SessionLog.START]
        end = min([end, *starts])
    return {path: files[path] for path in paths}


def without_images(records: Sequence[tuple[bytes, Any]]) -> bytes:
    """Return the bytes of the records that do not contain a picture. They are not changed."""

    def is_image(event: Any) -> bool:
        return any(value.WhichOneof("value") == "image" for value in event.summary.value)

    return b"".join(record for record, event in records if not is_image(event))
