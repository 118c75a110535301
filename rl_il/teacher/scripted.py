"""A session with the scripted teacher, without a page and at full speed. A seed always gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.report.tables import count, plain, span
from rl_il.statistics import MIN_EPISODES
from rl_il.teacher.settings import EPISODES
from rl_il.teacher.teaching import Teaching
from rl_il.types import RETURN, Measure


def run_scripted(teaching: Teaching, check_signals: Callable[[], None]) -> None:
    """Let the scripted teacher teach until the session has `episodes` episodes, counted from its beginning.

    Print a line for each episode, then a table, then the expert's return. Write `curve.png` into the run folder.
    """
    config = teaching.config
    history, measure = teaching.metrics.history, teaching.metrics.row.measure
    teaching.tell = partial(print_message, measure=measure)
    while len(history) < (config.episodes or EPISODES) and not teaching.session.used_up:
        check_signals()
        teaching.session.step()
        teaching.learner.work()
    print(plain(summary_table(history, measure)), flush=True)
    expert = None
    if config.eval_every > 0:
        expert = float(teaching.measure_expert().mean())
        known = f"mean {measure.name} {expert:{measure.digits}}"
        print(f"the expert, on the same episodes as the snapshots: {known}", flush=True)
    path = teaching.folder / "curve.png"
    title = f"{config.run_config().env_title}, taught by its expert's keys"
    plot_teaching(path, title, history, config.eval_episodes, expert, measure)
    print(f"curve: {path}")


def print_message(message: dict[str, Any], measure: Measure = RETURN) -> None:
    """Print one line for an episode or for the measurement of a snapshot."""
    if message["type"] == "snapshot_return":
        episodes, interval = count(message["episodes"], "episode"), message["interval"]
        known = f", 95 % interval of this policy {span(interval, measure.digits)}" if interval else ""
        print(
            f"    the newest snapshot, alone: mean {measure.name} {message['return']:{measure.digits}} over"
            f" {episodes}{known}",
            flush=True,
        )
    if message["type"] != "episode":
        return
    labels = message["labels"]
    loss = "" if message["loss"] is None else f" | loss {message['loss']:.4f}"
    value = f"{measure.name} {message['return']:8{measure.digits}}"
    print(
        f"episode {message['episode'] + 1:>3} | {value} | {message['length']:>4} steps"
        f" | {message['intervention_rate']:4.0%} by the teacher | labels {labels['human']:,} + {labels['approved']:,}"
        f" approved{loss} | {message['updates']:,} updates",
        flush=True,
    )


def summary_table(history: list[dict[str, Any]], measure: Measure = RETURN) -> list[list[str]]:
    """Return a header, then a row for each tenth of the episodes, or for each episode if there are at most ten."""
    rows = [["episodes", f"mean {measure.name}", "by the teacher", "labels by the teacher", "approved"]]
    for part in np.array_split(np.arange(len(history)), min(10, len(history))):
        episodes = [history[i] for i in part]
        first, last = episodes[0]["episode"] + 1, episodes[-1]["episode"] + 1
        steps = sum(episode["length"] for episode in episodes)
        taken_over = sum(episode["length"] * episode["intervention_rate"] for episode in episodes)
        numbers, labels = f"{first}" if first == last else f"{first} to {last}", episodes[-1]["labels"]
        mean = np.mean([episode["return"] for episode in episodes])
        rows.append([numbers, f"{mean:{measure.digits}}", f"{taken_over / steps:.0%}"])
        rows[-1] += [f"{labels['human']:,}", f"{labels['approved']:,}"]
    return rows


def plot_teaching(
    path: Path,
    title: str,
    history: list[dict[str, Any]],
    eval_episodes: int,
    expert: float | None = None,
    measure: Measure = RETURN,
) -> None:
    """Draw each episode's return or score, and intervention rate, against the number of labels at its end.

    Args:
      path: the file of the figure; its suffix gives the format.
      title: the figure's title.
      history: the messages about the session's episodes.
      eval_episodes: the number of episodes in each evaluation of the agent acting alone.
      expert: the expert's mean, drawn as a horizontal line; None means no line.
      measure: what the returns in the history are.
    """
    from rl_il.report.figures import COLOURS, add_caption, new_figure, save

    labels = [sum(episode["labels"].values()) for episode in history]
    with new_figure(columns=2, size=(10, 4)) as (figure, (left, right)):
        together = [episode["return"] for episode in history]
        left.plot(labels, together, "o-", color=COLOURS[0], markersize=4, label="teacher and agent together")
        measured = [i for i, episode in enumerate(history) if episode["snapshot_return"] is not None]
        if measured:
            alone = np.array([history[i]["snapshot_return"] for i in measured])
            ends = np.array([history[i].get("snapshot_interval") or [np.nan] * 2 for i in measured])
            bars = np.abs(ends.T - alone)
            settings = {"fmt": "D--", "color": COLOURS[2], "capsize": 3, "elinewidth": 1, "markersize": 4}
            left.errorbar([labels[i] for i in measured], alone, bars, label="the agent alone, mean", **settings)
        if expert is not None:
            left.axhline(expert, color=COLOURS[3], linestyle=":", label=f"the expert ({expert:{measure.digits}})")
        left.set_ylabel(measure.name)
        left.legend(fontsize=9, framealpha=0.6)
        rates = [100 * episode["intervention_rate"] for episode in history]
        right.plot(labels, rates, "s-", color=COLOURS[1], markersize=4)
        right.set_ylabel("steps by the teacher, %")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel("labels")
        figure.suptitle(title)
        if measured:
            add_caption(figure, caption(eval_episodes, expert is not None, measure))
        save(figure, path)


def caption(eval_episodes: int, with_expert: bool, measure: Measure = RETURN) -> str:
    """Return a caption that explains the figure's evaluations and bars."""
    text = f"The agent alone: mean {measure.name} over {count(eval_episodes, 'episode')}, the same in each"
    text += " evaluation" + (" and for the expert." if with_expert else ".")
    if eval_episodes < MIN_EPISODES:
        return f"{text} No interval is given below {MIN_EPISODES} episodes."
    return f"{text} Bars: 95 % interval of this policy (over its episodes; other seeds are not covered)."
