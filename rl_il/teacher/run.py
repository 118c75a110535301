"""From the settings to a finished teaching run: through the page, or by the stand-in."""

from __future__ import annotations

import signal
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from rl_il.errors import Interrupted
from rl_il.infrastructure.interrupts import noted_signals
from rl_il.teacher.recording import read_teach_config
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import Teaching, open_teaching


def teach(config: TeachConfig, command_line: Sequence[str] = (), resume: Path | None = None) -> Path:
    """Teaches as the settings say; returns the run folder.

    Raises:
      InputError: something in the settings does not exist or does not fit.
      Interrupted: Ctrl-C or SIGTERM; everything is saved, and the message says how to go on.
    """
    if not config.teacher:
        from rl_il.teacher.server import check_port

        check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, config.teacher is not None, resume, command_line)
        print(f"run folder: {teaching.folder}" + (" (going on)" if resume else ""), flush=True)
        check_signals = stack.enter_context(noted_signals())
        try:
            if config.teacher:
                from rl_il.teacher.scripted import run_scripted

                run_scripted(teaching, check_signals)
            else:
                goal = None if config.episodes is None else len(teaching.metrics.history) + config.episodes
                run_page(teaching, check_signals, lambda: len(teaching.metrics.history) == goal)
        except KeyboardInterrupt as interruption:
            path = teaching.close(keep_running_episode=config.teacher is None)
            say_what_next(teaching, path)
            how = f"interrupted; to go on: python scripts/teach.py --resume {teaching.folder}"
            raise Interrupted(how, getattr(interruption, "signal_number", signal.SIGINT)) from None
        except BaseException:
            teaching.abandon()
            raise
        say_what_next(teaching, teaching.close())
        return teaching.folder


def settings_to_go_on(folder: Path, **changes: object) -> TeachConfig:
    """The settings of the run in the folder, with those changed that say how it is shown and how long it goes on."""
    return replace(read_teach_config(folder), **{name: value for name, value in changes.items() if value is not None})


def run_page(teaching: Teaching, check_signals: Callable[[], None], finished: Callable[[], bool]) -> None:
    """Serves the page until `finished()`."""
    from rl_il.teacher.page import Page

    page = Page(teaching, teaching.config.port)
    page.server.start()
    try:
        print(f"open this page: {page.server.url}", "Ctrl-C saves and ends.", sep="\n", flush=True)
        with opened(page.server.url) if teaching.config.open else nullcontext():
            page.run(check_signals, finished)
    finally:
        page.server.stop()


@contextmanager
def opened(url: str) -> Iterator[None]:
    """Opens the page in the browser, by a file that only its owner can read: every user of the machine can read a
    command line, and so a token in it."""
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        file = Path(folder) / "teach.html"
        file.write_text(f'<meta http-equiv="refresh" content="0; url={url}">')
        webbrowser.open(file.as_uri())
        yield


def say_what_next(teaching: Teaching, path: Path | None) -> None:
    """Where everything lies, and the commands that come next."""
    labels = teaching.labels.counts
    name, folder = teaching.config.env_name, teaching.folder
    episodes = len(teaching.recording.episodes)
    print(f"saved: {episodes} episodes, {labels['human']:,} labels by the teacher, {labels['approved']:,} approved")
    if path:
        print(f"all episodes in one file: {path}")
    print(f"teach on:      python scripts/teach.py --resume {folder}")
    if labels["human"] + labels["approved"]:
        print(f"train on them: python scripts/run_hw1.py --env_name {name} --expert_data {folder}")
        print(f"measure:       python scripts/evaluate.py --env_name {name} --policy {folder}", flush=True)
