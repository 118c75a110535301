"""Reports as a single HTML file, and as Markdown.

The HTML file loads no other file and runs no code: figures are inline SVG, and videos are embedded. The same report
gives the same bytes.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rl_il.errors import InputError
from rl_il.files import atomic_write, check_writable
from rl_il.report.tables import markdown

MAX_BYTES = 10_000_000  # of a page; a video for which there is no room is only named

# These replace figures.COLOURS on a page. Each has a contrast of at least 3 to the background of the page.
LIGHT = ("#0072b2", "#c45600", "#008f68", "#b8659a", "#a67200", "#3f94c9", "#666a6f")
DARK = ("#4aa8e0", "#ff8a3d", "#2ec49a", "#e39cc4", "#f0b73a", "#a5d8f7", "#a0a4a8")
BACKGROUNDS = ("#ffffff", "#15181b")


@dataclass(frozen=True)
class Text:
    """A paragraph. Text between backquotes is code."""

    text: str


@dataclass(frozen=True)
class Note(Text):
    """A paragraph with a warning."""


@dataclass(frozen=True)
class Heading(Text):
    """The name of an environment, above the blocks of a section about it."""


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first row is the header. A folded table is opened by a click."""

    caption: str
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure, as an element of the page and as a separate file."""

    name: str  # of the file, without its suffix
    caption: str
    alt: str  # a description for people who cannot see the figure
    inline: str  # an <svg> element
    file: bytes  # an SVG file


@dataclass(frozen=True)
class Video:
    """A GIF in a run folder."""

    caption: str
    path: Path
    urgency: int = 0  # if there is no room for all videos, those with the lowest numbers are shown


@dataclass(frozen=True)
class Commands:
    """Command lines for a shell."""

    lines: Sequence[str]


PageBlock = Text | Table | Picture | Video | Commands


@dataclass(frozen=True)
class Section:
    """A part of the page with a title."""

    title: str
    blocks: Sequence[PageBlock]

    @property
    def anchor(self) -> str:
        """Return the id of the section, for links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Report:
    """The content of a page, from which the HTML and the Markdown are made."""

    title: str
    lead: str
    sections: Sequence[Section] = ()

    def blocks(self, kind: type) -> list:
        """Return all blocks of one class, in order."""
        return [block for section in self.sections for block in section.blocks if type(block) is kind]


def check_page_path(path: Path) -> None:
    """Raise `InputError` if a page cannot be written to this path. Call it before any work."""
    if path.suffix != ".html":
        raise InputError(f"--out {path}: a page's name must end in .html (its Markdown ends in .md)")
    check_writable(path)


def write_page(report: Report, path: Path) -> list[Path]:
    """Write `NAME.html`, `NAME.md` and, if there are figures, the folder `NAME_figures/`. Return these paths."""
    figures, twin = path.with_name(f"{path.stem}_figures"), path.with_suffix(".md")
    files = {figures / f"{picture.name}.svg": picture.file for picture in report.blocks(Picture)}
    files |= {path: render_html(report).encode(), twin: render_markdown(report, path.parent, figures.name).encode()}
    for target, content in files.items():
        with atomic_write(target) as file:
            file.write(content)
    return [path, twin, *([figures] if report.blocks(Picture) else [])]


def render_html(report: Report) -> str:
    """Return the report as one HTML file. It contains only as many videos as fit into `MAX_BYTES`."""
    import jinja2  # this import takes 0.1 s, and is needed only here

    tidy = {"trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, **tidy)
    environment.filters |= {"spans": _spans, "kind": lambda block: type(block).__name__}
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    themes = [(f"--c{i}", *pair) for i, pair in enumerate(zip(LIGHT, DARK, strict=True), start=1)]
    settings = {"report": report, "themes": themes, "backgrounds": BACKGROUNDS}
    size = len(template.render(videos={}, **settings).encode())
    return template.render(videos=_videos(report.blocks(Video), MAX_BYTES - size), **settings)


def _videos(videos: Sequence[Video], room: int) -> dict[Path, str]:
    """Return the GIFs as base64 text, in the order of their urgency, if they fit into `room` bytes."""
    chosen: dict[Path, str] = {}
    for video in sorted(videos, key=lambda video: video.urgency):
        cost = video.path.stat().st_size * 4 // 3 + 1000  # with the tags around it
        if cost <= room and video.path not in chosen:
            chosen[video.path] = base64.b64encode(video.path.read_bytes()).decode()
            room -= cost
    return chosen


def _spans(text: str) -> list[tuple[bool, str]]:
    """Return the pieces of the text. The first item of each pair says whether the piece is code."""
    return [(i % 2 == 1, piece) for i, piece in enumerate(text.split("`")) if piece]


def render_markdown(report: Report, folder: Path, figures: str) -> str:
    """Return the report as Markdown for a file in `folder`, next to the folder `figures`."""
    parts = [f"# {_plain(report.title)}", _prose(report.lead)]
    for section in report.sections:
        parts.append(f"## {_plain(section.title)}")
        parts += [_block_markdown(block, folder, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block_markdown(block: PageBlock, folder: Path, figures: str) -> str:
    match block:
        case Note(text):
            return f"> **Note:** {_prose(text)}"
        case Heading(text):
            return f"### {_plain(text)}"
        case Text(text):
            return _prose(text)
        case Table(caption, rows):
            return f"{_prose(caption)}\n\n{markdown([[_plain(cell) for cell in row] for row in rows])}"
        case Picture(name, caption, alt):
            return f"![{_plain(alt)}]({quote(figures)}/{quote(name)}.svg)\n\n{_prose(caption)}"
        case Video(caption, path):
            place = Path(os.path.relpath(path, folder)).as_posix()
            return f"![{_plain(caption)}]({quote(place)})\n\n{_prose(caption)}"
        case Commands(lines):
            text = "\n".join(lines)
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}bash\n{text}\n{fence}"
    raise AssertionError(block)


def _prose(text: str) -> str:
    """Return the text as Markdown, with its code between backquotes."""
    return "".join(f"`{piece}`" if code else _plain(piece) for code, piece in _spans(text))


def _plain(text: str) -> str:
    """Return the text with escapes, so that Markdown and HTML show it unchanged."""
    text = re.sub(r"\s+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)


def shown_path(path: Path) -> str:
    """Return the path as text, relative to the working folder if it is inside."""
    resolved, here = path.resolve(), Path.cwd().resolve()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(path)
