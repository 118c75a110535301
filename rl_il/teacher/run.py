"""Running a session from its settings, with a person at the page or with the scripted teacher."""

from __future__ import annotations

import signal
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_il.commands import command_text
from rl_il.datasets import load_trajectories
from rl_il.datasets.writing import check_target, write_demonstrations
from rl_il.errors import DivergedError, InputError, Interrupted
from rl_il.options import from_json
from rl_il.report.tables import count
from rl_il.runs.folders import read_record
from rl_il.runs.signals import GRACE, noted_signals
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import Teaching, open_teaching
from rl_il.types import Trajectory

CheckSignals = Callable[[], None]  # raises KeyboardInterrupt after SIGINT or SIGTERM


def teach(config: TeachConfig, command_line: Sequence[str] = (), resume: Path | None = None) -> Path:
    """Run a session and return its run folder.

    Args:
      config: the settings of the session.
      command_line: the command that started the session, for config.json.
      resume: the folder of the session to continue; None means a new session.

    Raises:
      InputError: something in the settings does not exist or does not fit.
      Interrupted: after Ctrl-C or SIGTERM. Everything is saved, and the message says how to resume.
    """
    if not config.teacher:
        check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, resume, command_line)
        print(f"run folder: {teaching.folder}" + (" (resumed)" if resume else ""), flush=True)
        history = teaching.metrics.history
        goal = None if config.episodes is None else len(history) + config.episodes

        def work(check_signals: CheckSignals) -> None:
            if config.teacher:
                from rl_il.teacher.scripted import run_scripted

                run_scripted(teaching, check_signals)
            else:
                run_page(teaching, check_signals, lambda: len(history) == goal or teaching.session.used_up)

        stopped = until_stopped(stack, teaching, work)
        path = teaching.close(keep_running_episode=not (stopped and config.teacher))
        say_what_next(teaching, path)
        if stopped:
            raise Interrupted(
                f"interrupted; to continue: {command_text('teach')} --resume {teaching.folder}", stopped
            )
        return teaching.folder


def check_port(port: int) -> None:
    """Raise `InputError` if the port cannot be used."""
    from rl_il.teacher.server import listen

    listen(port).close()


def until_stopped(stack: ExitStack, teaching: Teaching, work: Callable[[CheckSignals], None]) -> int | None:
    """Do the work; return the number of the signal that stopped it, or None if it finished.

    Until `stack` ends, another signal does not interrupt saving. After any other error the session is closed. If the
    environment failed, the steps of a person are saved before that, and the message says how to continue.
    """
    try:
        work(stack.enter_context(noted_signals(GRACE if teaching.scripted else None)))
    except KeyboardInterrupt as interruption:
        return getattr(interruption, "signal_number", signal.SIGINT)
    except BaseException as error:
        if isinstance(error, InputError) and not teaching.scripted:
            with suppress(InputError):  # the running episode may hold the number that is not finite
                teaching.save()
        teaching.abandon()
        if isinstance(error, InputError) and not isinstance(error, DivergedError):
            how = f"when the cause is fixed, continue with {command_text('teach')} --resume {teaching.folder}"
            raise InputError(f"{error} ({how})") from error
        raise
    return None


def settings_to_go_on(folder: Path, **changes: object) -> TeachConfig:
    """Return the settings of the session in the folder, with `changes`.

    Raise `InputError` if its config.json is missing, damaged, or from another kind of run.
    """
    settings = read_record(folder).get("teaching")
    try:
        if not isinstance(settings, dict):
            raise InputError(f"holds no settings of a teaching session; maybe {folder} is not its folder")
        config = from_json(TeachConfig, settings)
    except InputError as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from error
    return replace(config, **changes)


def run_page(teaching: Teaching, check_signals: CheckSignals, finished: Callable[[], bool]) -> None:
    """Serve the page until `finished()` returns true."""
    from rl_il.teacher.page_loop import PageLoop

    page = PageLoop(teaching, teaching.config.port)
    page.server.start()
    try:
        print(f"open this page: {page.server.url}", "Ctrl-C saves the session and ends it.", sep="\n", flush=True)
        with opened(page.server.url) if teaching.config.open else nullcontext():
            page.run(check_signals, finished)
    finally:
        page.server.stop()


@contextmanager
def opened(url: str) -> Iterator[None]:
    """Open the page in the browser, through a temporary file that only its owner can read.

    Every user of the machine can read the browser's command line, so it must not contain the token.
    """
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        file = Path(folder) / "teach.html"
        file.write_text(f'<meta http-equiv="refresh" content="0; url={url}">', encoding="utf-8")
        webbrowser.open(file.as_uri())
        yield


def say_what_next(teaching: Teaching, path: Path | None) -> None:
    """Print what was saved, where, and the commands that use it."""
    labels = teaching.labels.counts
    flags, folder = teaching.config.run_config().env_flags, teaching.folder
    episodes = len(teaching.recording.episodes)
    by_teacher, approved = count(labels["human"], "label"), f"{labels['approved']:,}"
    print(f"saved: {count(episodes, 'episode')}, {by_teacher} by the teacher, {approved} approved")
    if path:
        print(f"all episodes in one file: {path}")
    print(f"continue:      {command_text('teach')} --resume {folder}")
    if labels["human"] + labels["approved"]:
        print(f"train on them: {command_text('run_hw1')} {flags} --expert_data {folder}")
        print(f"measure:       {command_text('evaluate')} --policy {folder}", flush=True)


def record_human_demos(
    config: TeachConfig,
    out: Path,
    n_demos: int,
    min_return: float = -np.inf,
    command_line: Sequence[str] = (),
    to: str = "npz",
) -> list[Trajectory]:
    """Let a person act until `n_demos` whole episodes reach `min_return`. Write these to `out` and return them.

    The session's run folder keeps every episode.

    Args:
      config: the settings; the mode must be `demonstrate`.
      out: the file to write, or the folder of a Minari data set.
      n_demos: the number of episodes to record.
      min_return: the smallest return or score of an episode that counts.
      command_line: the command that started it, for config.json.
      to: the format of `out`.

    Raises:
      InputError: `out` cannot be written, or no episode was finished.
      Interrupted: after Ctrl-C or SIGTERM; the episodes so far are written.
    """
    check_target(to, out)
    check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, command_line=command_line, modes=["demonstrate"])

        def finished() -> bool:
            whole = [episode["return"] for episode in teaching.metrics.history if episode["ended"] != "reset"]
            return sum(value >= min_return for value in whole) >= n_demos

        stopped = until_stopped(stack, teaching, lambda check_signals: run_page(teaching, check_signals, finished))
        teaching.close()
        kept = write_demos(teaching, out, n_demos, min_return, to)
    if stopped:
        raise Interrupted(f"interrupted; {count(len(kept), 'episode')} written to {out}", stopped)
    if not kept:
        raise InputError("the session ended before an episode was finished; nothing was written")
    return kept


def write_demos(teaching: Teaching, out: Path, n_demos: int, min_return: float, to: str = "npz") -> list[Trajectory]:
    """Write the first `n_demos` whole episodes that reach `min_return` to `out`; return them."""
    if not teaching.recording.episodes:
        return []
    episodes = load_trajectories(teaching.folder, teaching.env, may_lack_labels=True)
    score = teaching.metrics.row.score
    whole = [t for t in episodes if (t.terminated or t.truncated) and score(t) >= min_return][:n_demos]
    if whole:
        meta = teaching.config.run_config().env_settings | {"policy": "human", "seed": teaching.config.seed}
        write_demonstrations(to, out, whole, meta, teaching.env)
    return whole
