"""From the settings to a finished teaching run: by a person through the page, or by the stand-in."""

from __future__ import annotations

import signal
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.errors import InputError, Interrupted
from rl_il.files import check_writable
from rl_il.options import from_json
from rl_il.runs.folders import read_record
from rl_il.runs.signals import noted_signals
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import Teaching, open_teaching
from rl_il.types import Trajectory

CheckSignals = Callable[[], None]  # raises KeyboardInterrupt once a signal came


def teach(config: TeachConfig, command_line: Sequence[str] = (), resume: Path | None = None) -> Path:
    """Teach as the settings say; return the run folder.

    Raises:
      InputError: something in the settings does not exist or does not fit.
      Interrupted: Ctrl-C or SIGTERM; everything is saved, and the message says how to go on.
    """
    if not config.teacher:
        check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, resume, command_line)
        print(f"run folder: {teaching.folder}" + (" (going on)" if resume else ""), flush=True)
        history = teaching.metrics.history
        goal = None if config.episodes is None else len(history) + config.episodes

        def work(check_signals: CheckSignals) -> None:
            if config.teacher:
                from rl_il.teacher.scripted import run_scripted

                run_scripted(teaching, check_signals)
            else:
                run_page(teaching, check_signals, lambda: len(history) == goal)

        stopped = until_stopped(stack, teaching, work)
        path = teaching.close(keep_running_episode=not (stopped and config.teacher))
        say_what_next(teaching, path)
        if stopped:
            raise Interrupted(f"interrupted; to go on: python scripts/teach.py --resume {teaching.folder}", stopped)
        return teaching.folder


def check_port(port: int) -> None:
    """Raise `InputError` for a port that is taken, before anything is made."""
    from rl_il.teacher.server import listen

    listen(port).close()


def until_stopped(stack: ExitStack, teaching: Teaching, work: Callable[[CheckSignals], None]) -> int | None:
    """Do the work; return the number of the signal that stopped it, None if it came to its end.

    Signals are noted until `stack` ends, so that saving is not stopped. Any other error closes the teaching.
    """
    try:
        work(stack.enter_context(noted_signals()))
    except KeyboardInterrupt as interruption:
        return getattr(interruption, "signal_number", signal.SIGINT)
    except BaseException:
        teaching.abandon()
        raise
    return None


def settings_to_go_on(folder: Path, **changes: object) -> TeachConfig:
    """Return the settings of the run in the folder, with some of them changed.

    Raises `InputError` where its config.json is missing or broken.
    """
    settings = read_record(folder).get("teaching")
    try:
        if not isinstance(settings, dict):
            raise InputError(f"holds no settings of a teaching run; is {folder} the folder of one?")
        config = from_json(TeachConfig, settings)
    except InputError as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from error
    return replace(config, **changes)


def run_page(teaching: Teaching, check_signals: CheckSignals, finished: Callable[[], bool]) -> None:
    """Serve the page until `finished()`."""
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
    """Open the page in the browser, by a file that only its owner can read.

    Every user of the machine can read a command line, and so a token in it.
    """
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        file = Path(folder) / "teach.html"
        file.write_text(f'<meta http-equiv="refresh" content="0; url={url}">')
        webbrowser.open(file.as_uri())
        yield


def say_what_next(teaching: Teaching, path: Path | None) -> None:
    """Print where everything is, and the commands that come next."""
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


def record_human_demos(
    config: TeachConfig, out: Path, n_demos: int, min_return: float = -np.inf, command_line: Sequence[str] = ()
) -> list[Trajectory]:
    """Let a person act until `n_demos` whole episodes reach `min_return`; write those to `out` and return them.

    The session's own folder keeps every episode as it ends.

    Args:
      config: with the mode `demonstrate`.

    Raises:
      InputError: `out` cannot be written, or no episode was finished.
      Interrupted: Ctrl-C; what there is by then is written.
    """
    if out.suffix != ".npz":
        raise InputError(f"{out}: a demonstration file's name must end in .npz")
    check_writable(out)
    check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, command_line=command_line, modes=["demonstrate"])

        def finished() -> bool:
            whole = [episode["return"] for episode in teaching.metrics.history if episode["ended"] != "reset"]
            return sum(value >= min_return for value in whole) >= n_demos

        stopped = until_stopped(stack, teaching, lambda check_signals: run_page(teaching, check_signals, finished))
        teaching.close()
        kept = write_demos(teaching, out, n_demos, min_return)
    if stopped:
        raise Interrupted(f"interrupted; {len(kept)} episodes are written to {out}", stopped)
    if not kept:
        raise InputError("the session ended before an episode was finished; nothing is written")
    return kept


def write_demos(teaching: Teaching, out: Path, n_demos: int, min_return: float) -> list[Trajectory]:
    """Write the session's first `n_demos` whole episodes that reach `min_return` to one file; return them."""
    if not teaching.recording.episodes:
        return []
    episodes = load_trajectories(teaching.folder, teaching.env, may_lack_labels=True)
    whole = [t for t in episodes if (t.terminated or t.truncated) and t.episode_return >= min_return][:n_demos]
    if whole:
        meta = {"env_name": teaching.config.env_name, "policy": "human", "seed": teaching.config.seed}
        save_trajectories(out, whole, meta)
    return whole
