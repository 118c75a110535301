"""A page of results from one source: a self-contained HTML file, and the same as Markdown.

The HTML loads nothing from anywhere and runs nothing: figures are inline SVG, videos are data. The same page gives
the same bytes.
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
from rl_il.files import REPOSITORY, atomic_write, check_writable
from rl_il.report.tables import markdown

MAX_BYTES = 10_000_000  # of a page; videos that would make it larger are named instead

# The colours that figures.COLOURS have on a page: each has a contrast of 3 at least to the page's background.
LIGHT = ("#0072b2", "#c45600", "#008f68", "#b8659a", "#a67200", "#3f94c9", "#666a6f")
DARK = ("#4aa8e0", "#ff8a3d", "#2ec49a", "#e39cc4", "#f0b73a", "#a5d8f7", "#a0a4a8")
BACKGROUNDS = ("#ffffff", "#15181b")


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backquotes is code."""

    text: str


@dataclass(frozen=True)
class Note(Text):
    """A paragraph that warns."""


@dataclass(frozen=True)
class Heading(Text):
    """The title of what one environment has in a section."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, the header first. A folded one is opened by a click."""

    caption: str
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure, drawn for the page and as a file of its own."""

    name: str  # of the file, without its suffix
    caption: str
    alt: str  # what it shows, for those who cannot see it
    inline: str  # an <svg> element
    file: bytes  # an SVG file


@dataclass(frozen=True)
class Video:
    """A GIF of a run folder."""

    caption: str
    path: Path
    urgency: int = 0  # where not all fit into the page, those with the least number are shown


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


Block = Text | Table | Picture | Video | Commands


@dataclass(frozen=True)
class Section:
    """A titled part of the page."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Return what a link in the page leads to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """What is shown."""

    title: str
    lead: str
    sections: Sequence[Section] = ()

    def blocks(self, kind: type) -> list:
        """Return all blocks of one class, in their order."""
        return [block for section in self.sections for block in section.blocks if type(block) is kind]


def check_page_path(path: Path) -> None:
    """Raise `InputError` for a page that could not be written there, before any work."""
    if path.suffix != ".html":
        raise InputError(f"--out {path}: a page's name must end in .html; its Markdown gets the same name with .md")
    check_writable(path)


def write_page(page: Page, path: Path) -> list[Path]:
    """Write `NAME.html`, `NAME.md` and, if there are figures, the folder `NAME_figures/`; return these paths."""
    figures, twin = path.with_name(f"{path.stem}_figures"), path.with_suffix(".md")
    files = {figures / f"{picture.name}.svg": picture.file for picture in page.blocks(Picture)}
    files |= {path: render_html(page).encode(), twin: render_markdown(page, path.parent, figures.name).encode()}
    for target, content in files.items():
        with atomic_write(target) as file:
            file.write(content)
    return [path, twin, *([figures] if page.blocks(Picture) else [])]


def render_html(page: Page) -> str:
    """Return the page as one HTML file, with as many of its videos as keep it below `MAX_BYTES`."""
    import jinja2  # 0.1 s, and only here

    tidy = {"trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, **tidy)
    environment.filters |= {"spans": _spans, "kind": lambda block: type(block).__name__}
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    themes = [(f"--c{i}", *pair) for i, pair in enumerate(zip(LIGHT, DARK, strict=True), start=1)]
    settings = {"page": page, "themes": themes, "backgrounds": BACKGROUNDS}
    size = len(template.render(videos={}, **settings).encode())
    return template.render(videos=_videos(page.blocks(Video), MAX_BYTES - size), **settings)


def _videos(videos: Sequence[Video], room: int) -> dict[Path, str]:
    """Return the GIFs as data, the most urgent first, until `room` bytes are taken."""
    chosen: dict[Path, str] = {}
    for video in sorted(videos, key=lambda video: video.urgency):
        cost = video.path.stat().st_size * 4 // 3 + 1000  # the tags around it included
        if cost <= room and video.path not in chosen:
            chosen[video.path] = base64.b64encode(video.path.read_bytes()).decode()
            room -= cost
    return chosen


def _spans(text: str) -> list[tuple[bool, str]]:
    """Return the text in pieces, each with whether it is code."""
    return [(i % 2 == 1, piece) for i, piece in enumerate(text.split("`")) if piece]


def render_markdown(page: Page, folder: Path, figures: str) -> str:
    """Return the page as Markdown for a file in `folder`, next to the folder `figures`."""
    parts = [f"# {_plain(page.title)}", _prose(page.lead)]
    for section in page.sections:
        parts.append(f"## {_plain(section.title)}")
        parts += [_block_markdown(block, folder, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block_markdown(block: Block, folder: Path, figures: str) -> str:
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
            return f"![{_plain(caption)}]({quote(os.path.relpath(path, folder))})\n\n{_prose(caption)}"
        case Commands(lines):
            text = "\n".join(lines)
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}bash\n{text}\n{fence}"
    raise AssertionError(block)


def _prose(text: str) -> str:
    """Return text whose code stays code."""
    return "".join(f"`{piece}`" if code else _plain(piece) for code, piece in _spans(text))


def _plain(text: str) -> str:
    """Return text that Markdown and HTML show as it is."""
    text = re.sub(r"\s+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)


def shown_path(path: Path) -> str:
    """Return the path as a reader of the page finds it: from the repository's root where it lies in there."""
    resolved = path.resolve()
    return str(resolved.relative_to(REPOSITORY)) if resolved.is_relative_to(REPOSITORY) else str(path)
