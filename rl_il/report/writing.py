"""From runs to the files of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rl_il.files import atomic_write
from rl_il.infrastructure.logger import new_folder
from rl_il.report.assignment import assignment_page
from rl_il.report.events import submission
from rl_il.report.page import Note, Page, Table, check_page_path, shown_path, write_page
from rl_il.report.runs import Run
from rl_il.report.sections import runs_page
from rl_il.report.tables import plain
from rl_il.report.tasks import RANDOM_EPISODES, tasks_of


def write_report(
    runs: Sequence[Run], out: Path | None, default: Path, title: str | None = None, random: bool = True
) -> str:
    """Writes the page about the runs, as HTML and as Markdown with its figures.

    Args:
      out: the HTML file; None: `report.html` in the new folder `default`, with a number behind it if it is taken.
      random: whether to measure the random policy.

    Returns:
      what to print: the tables of returns and the files.
    """
    if out:
        check_page_path(out)
    page = runs_page(tasks_of(runs, RANDOM_EPISODES * random), title or "Imitation learning: results")
    return _finish(page, out or new_folder(default, numbered=True) / "report.html", "Returns in ", [])


def write_assignment(
    runs: Sequence[Run], out: Path | None, default: Path, title: str | None = None, random: bool = True
) -> str:
    """Writes the course's three parts, as `write_report` does, and `submit.zip` beside them.

    Raises `InputError`, before anything is written, for a run without event file and a zip that is too large.
    """
    if out:
        check_page_path(out)
    packed = submission(runs)
    page = assignment_page(
        tasks_of(runs, RANDOM_EPISODES * random), title or "Homework 1: imitation learning", packed
    )
    out = out or new_folder(default, numbered=True) / "assignment.html"
    target = out.with_name("submit.zip")
    with atomic_write(target) as file:
        file.write(packed.data)
    return _finish(page, out, "", [target])


def _finish(page: Page, out: Path, tables: str, others: Sequence[Path]) -> str:
    paths = [*write_page(page, out), *others]
    shown = [
        f"{table.caption}\n{plain(table.rows)}"
        for table in page.blocks(Table)
        if table.caption.startswith(tables) and not table.folded
    ]
    notes = [f"note: {note.text.replace('`', '')}" for note in page.blocks(Note)]
    return "\n\n".join([*shown, *notes, "\n".join(shown_path(path) for path in paths if path.exists())])
