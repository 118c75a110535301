"""Demonstrations by a person: `record_demos.py --human`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.errors import InputError, Interrupted
from rl_il.files import check_writable
from rl_il.infrastructure.interrupts import noted_signals
from rl_il.teacher.run import run_page
from rl_il.teacher.server import check_port
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import Teaching, open_teaching
from rl_il.teacher.window import check_display, run_window
from rl_il.types import Trajectory


def record_human_demos(
    config: TeachConfig,
    out: Path,
    n_demos: int,
    min_return: float = -np.inf,
    local: bool = False,
    command_line: Sequence[str] = (),
) -> list[Trajectory]:
    """A person acts until `n_demos` whole episodes reach `min_return`; those are written to `out` and returned.

    The session's own folder keeps every episode as it ends.

    Args:
      config: with the mode `demonstrate`.
      local: in a window of this machine, not in the browser.

    Raises:
      InputError: `out` cannot be written, or there is no display for a window.
      Interrupted: Ctrl-C; what there is by then is written.
    """
    if out.suffix != ".npz":
        raise InputError(f"{out}: a demonstration file's name must end in .npz")
    check_writable(out)
    if local:
        check_display()
    else:
        check_port(config.port)
    with ExitStack() as stack:
        teaching = open_teaching(stack, config, inline=False, command_line=command_line, modes=["demonstrate"])

        def finished() -> bool:
            whole = [episode["return"] for episode in teaching.metrics.history if episode["ended"] != "reset"]
            return sum(value >= min_return for value in whole) >= n_demos

        check_signals, stopped = stack.enter_context(noted_signals()), None
        try:
            (run_window if local else run_page)(teaching, check_signals, finished)
        except KeyboardInterrupt as interruption:
            stopped = interruption
        except BaseException:
            teaching.abandon()
            raise
        teaching.close()
        kept = write_demos(teaching, out, n_demos, min_return)
    if stopped:
        how = f"interrupted; {out} holds {len(kept)} episodes" if kept else "interrupted; no episode was finished"
        raise Interrupted(how, getattr(stopped, "signal_number", signal.SIGINT))
    if not kept:
        raise InputError("the window was closed before an episode was finished; nothing is written")
    return kept


def write_demos(teaching: Teaching, out: Path, n_demos: int, min_return: float) -> list[Trajectory]:
    """The session's first `n_demos` whole episodes that reach `min_return`, in one file."""
    if not teaching.recording.episodes:
        return []
    episodes = load_trajectories(teaching.folder, teaching.env, may_lack_labels=True)
    whole = [t for t in episodes if (t.terminated or t.truncated) and t.episode_return >= min_return][:n_demos]
    if whole:
        meta = {"env_name": teaching.config.env_name, "policy": "human", "seed": teaching.config.seed}
        save_trajectories(out, whole, meta)
    return whole
