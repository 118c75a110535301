"""The parts of result pages that studies write: a block between two marks, and what the runs were made with."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from rl_il.runs.folders import read_record


def marks_of(script: str) -> tuple[str, str]:
    """Return the marks of the part of a page that a script writes."""
    return f"<!-- written by {script}.py: begin -->", f"<!-- written by {script}.py: end -->"


def page_with(page: Path, block: str, script: str, title: str) -> str:
    """Return the text of the page, with `block` in place of what was between the two marks.

    If there is no page, it is a new one with this title.
    """
    begin, end = marks_of(script)
    text = page.read_text(encoding="utf-8") if page.exists() else f"# {title}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{block}\n\n{end}{rest.partition(end)[2]}"


def made_with(folders: Sequence[Path], file: str = "summary.json") -> str:
    """Return the date of the newest run, at which this file of its folder was written, and the versions it used."""
    ended = {(folder / file).stat().st_mtime: folder for folder in folders}
    date, versions = datetime.date.fromtimestamp(max(ended)), read_record(ended[max(ended)])["versions"]
    names = ("python", "torch", "gymnasium", "mujoco", "stable-baselines3")
    return f"{date}, {', '.join(f'{name} {versions[name]}' for name in names if name in versions)}."
