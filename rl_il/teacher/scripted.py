"""Teaching by the stand-in, without a page and as fast as it goes: the same seed gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.report.tables import plain
from rl_il.teacher.teaching import Teaching

EPISODES = 10  # where nobody says how many


def run_scripted(teaching: Teaching, check_signals: Callable[[], None]) -> None:
    """Let the stand-in teach until as many episodes are finished as the settings say, from the run's beginning on.

    Print a line an episode, then a table; leave `curve.png` in the run folder.
    """
    config = teaching.config
    teaching.tell = print_message
    history = teaching.metrics.history
    while len(history) < (config.episodes or EPISODES):
        check_signals()
        teaching.session.step()
        teaching.learner.work()
    print(plain(summary_table(history)), flush=True)
    path = teaching.folder / "curve.png"
    plot_teaching(path, f"{config.env_name}, taught by its expert's keys", history)
    print(f"curve: {path}")


def print_message(message: dict[str, Any]) -> None:
    """Print what is told of an episode, and of a snapshot, as a line each."""
    if message["type"] == "snapshot_return":
        print(
            f"    the newest snapshot alone: {message['return']:.1f}, over {message['episodes']} episodes", flush=True
        )
    if message["type"] != "episode":
        return
    labels = message["labels"]
    loss = "" if message["loss"] is None else f" | loss {message['loss']:.4f}"
    print(
        f"episode {message['episode'] + 1:>3} | return {message['return']:8.1f} | {message['length']:>4} steps"
        f" | {message['intervention_rate']:4.0%} by the teacher | labels {labels['human']:,} + {labels['approved']:,}"
        f" approved{loss} | {message['updates']:,} updates",
        flush=True,
    )


def summary_table(history: list[dict[str, Any]]) -> list[list[str]]:
    """Return a header, then a row for each tenth of the episodes (for each episode, if there are fewer than ten)."""
    rows = [["episodes", "mean return", "by the teacher", "labels by the teacher", "approved"]]
    for part in np.array_split(np.arange(len(history)), min(10, len(history))):
        episodes = [history[i] for i in part]
        first, last = episodes[0]["episode"] + 1, episodes[-1]["episode"] + 1
        steps = sum(episode["length"] for episode in episodes)
        taken_over = sum(episode["length"] * episode["intervention_rate"] for episode in episodes)
        numbers, labels = f"{first}" if first == last else f"{first} to {last}", episodes[-1]["labels"]
        mean = np.mean([episode["return"] for episode in episodes])
        rows.append([numbers, f"{mean:.1f}", f"{taken_over / steps:.0%}"])
        rows[-1] += [f"{labels['human']:,}", f"{labels['approved']:,}"]
    return rows


def plot_teaching(path: Path, title: str, history: list[dict[str, Any]]) -> None:
    """Draw return and intervention rate of each episode against the number of labels at its end."""
    from rl_il.report.figures import COLOURS, new_figure, save

    labels = [sum(episode["labels"].values()) for episode in history]
    with new_figure(columns=2, size=(10, 4)) as (figure, (left, right)):
        together = [episode["return"] for episode in history]
        left.plot(labels, together, "o-", color=COLOURS[0], markersize=4, label="teacher and agent together")
        measured = [i for i, episode in enumerate(history) if episode["snapshot_return"] is not None]
        if measured:
            alone = [history[i]["snapshot_return"] for i in measured]
            left.plot([labels[i] for i in measured], alone, "D--", color=COLOURS[2], label="the agent alone, mean")
        left.set_ylabel("return")
        left.legend()
        rates = [100 * episode["intervention_rate"] for episode in history]
        right.plot(labels, rates, "s-", color=COLOURS[1], markersize=4)
        right.set_ylabel("steps by the teacher, %")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel("labels")
        figure.suptitle(title)
        save(figure, path)
