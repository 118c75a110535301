"""The cheap checks of demonstrations, which every run makes, and their summary in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gymnasium as gym
import numpy as np

from rl_il.commands import command_text
from rl_il.datasets.findings import NOTE, WARNING, Check, Demos, Finding, counted, ranges, run_checks
from rl_il.envs import action_form, episode_limit, is_discrete, name_of
from rl_il.types import Trajectory

RARE = 0.005
"""The share of the labels below which an action counts as rare."""
MAX_CLASSES = 10_000
"""The number of discrete actions up to which their shares are reported."""


def constant_numbers(demos: Demos) -> Iterator[Finding]:
    """Find dimensions of observations or labels whose value never changes."""
    for what, parts in _vectors(demos):
        constant = constant_columns(parts)
        if len(constant):
            values = np.unique(parts[0][0][constant])
            value = f"always {values[0]:g}" if len(values) == 1 else f"{len(values)} different values"
            yield Finding(
                WARNING,
                f"{len(constant)} of {parts[0].shape[1]} {what} numbers never change ({ranges(constant)}; {value}): a"
                " policy learns nothing from them, and they may change in states that only the policy reaches",
                {"of": what, "dimensions": constant.tolist()},
                counted(len(constant), f"constant {what} number"),
            )


def duplicate_numbers(demos: Demos) -> Iterator[Finding]:
    """Find dimensions of observations or labels that equal an earlier one; constant ones are not counted again."""
    for what, parts in _vectors(demos):
        pairs = duplicate_columns(parts)
        if pairs:
            first = f"{pairs[0][1]} equals {pairs[0][0]}{', ...' if len(pairs) > 1 else ''}"
            yield Finding(
                WARNING,
                f"{len(pairs)} of {parts[0].shape[1]} {what} numbers equal another one ({first}): harmless, unless"
                " something was stored twice by mistake",
                {"of": what, "pairs": [list(pair) for pair in pairs]},
                counted(len(pairs), f"repeated {what} number"),
            )


def _vectors(demos: Demos) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield observations and labels if they are vectors: constant pixels or discrete labels are not odd."""
    for what, parts in (("observation", demos.obs), ("label", demos.labels)):
        parts = [part for part in parts if len(part)]
        if parts and parts[0].ndim == 2 and parts[0].dtype != np.uint8 and sum(map(len, parts)) > 1:
            yield what, parts


def constant_columns(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the indices of the columns with the same value in all rows of all `parts (T, D)`."""
    first = parts[0][0]
    columns = np.arange(len(first))
    for part in parts:
        columns = columns[(part[:, columns] == first[columns]).all(axis=0)]
    return columns


def duplicate_columns(parts: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return (earlier, later) for each column of `parts (T, D)` that equals an earlier one and is not constant."""
    # A few rows are enough to exclude nearly all pairs.
    some_rows = np.concatenate([part[:: len(part) // 8 + 1] for part in parts[:16]])
    constant = set(constant_columns(parts).tolist())
    earliest: dict[bytes, int] = {}
    pairs = []
    for column in range(some_rows.shape[1]):
        if column in constant:
            continue
        earlier = earliest.setdefault(some_rows[:, column].tobytes(), column)
        if earlier != column and all((part[:, earlier] == part[:, column]).all() for part in parts):
            pairs.append((earlier, column))
    return pairs


def duplicate_episodes(demos: Demos) -> Iterator[Finding]:
    """Find episodes that repeat another one, and different episodes that start in the same state."""
    copies = repeated_episodes(demos.trajectories)
    if copies:
        yield Finding(
            WARNING,
            f"{len(copies)} of {len(demos.trajectories)} episodes repeat an earlier one, state by state"
            f" ({ranges(copies)}): they add no information, and their mistakes count twice; record others",
            {"episodes": copies},
            counted(len(copies), "repeated episode"),
        )
    rest = [t for i, t in enumerate(demos.trajectories) if i not in set(copies)]
    same = len(rest) - len({t.obs[0].tobytes() for t in rest})
    if same:
        yield Finding(
            WARNING,
            f"{same} of {len(rest)} different episodes start in the state of an earlier one: unless the environment"
            " always starts there, all its resets had the same seed; record each episode with its own seed",
            {"same_start": same},
            counted(same, "repeated start state"),
        )


def repeated_episodes(trajectories: Sequence[Trajectory]) -> list[int]:
    """Return the indices of the episodes whose observations and labels equal those of an earlier episode."""
    seen: dict[tuple[int, bytes, bytes], list[int]] = {}
    copies = []
    for i, t in enumerate(trajectories):
        alike = seen.setdefault((len(t), t.obs[0].tobytes(), t.obs[-1].tobytes()), [])
        if any(
            np.array_equal(t.obs, trajectories[j].obs) and np.array_equal(t.labels, trajectories[j].labels)
            for j in alike
        ):
            copies.append(i)
        else:
            alike.append(i)
    return copies


def class_balance(demos: Demos) -> Iterator[Finding]:
    """Report how often each discrete action is the label, and find those that hardly ever are."""
    classes = demos.classes
    if classes is None or not len(classes):
        return
    form = action_form(demos.env.action_space) if demos.env else None
    first = form.start[0] if form and form.start else 0
    n = form.choices[0] if form else max(int(classes.max()) + 1, 1)
    if n > MAX_CLASSES:
        return
    classes = classes - first
    counts = np.bincount(classes[(classes >= 0) & (classes < n)], minlength=n)
    shares = counts / max(counts.sum(), 1)
    numbers = {"counts": counts.tolist()}
    listed = ", ".join(f"{i}: {100 * share:.1f} %" for i, share in enumerate(shares[:32], first))
    yield Finding(NOTE, f"share of each action among the labels: {listed}{', ...' if n > 32 else ''}", numbers)
    never, hardly = np.flatnonzero(counts == 0) + first, np.flatnonzero((counts > 0) & (shares < RARE)) + first
    if len(never):
        advice = "right if the expert never takes it; otherwise the policy cannot learn it"
        said = f"{_classes(never)} never a label"
        yield Finding(WARNING, f"{said} ({n} actions): {advice}", numbers | {"never": never.tolist()}, said)
    if len(hardly):
        least = f"the rarest: {counts[hardly - first].min():,} of {counts.sum():,} steps"
        advice = "the policy may ignore them; record more episodes in which they matter"
        said = f"{_classes(hardly)} hardly ever a label"
        yield Finding(WARNING, f"{said} ({least}): {advice}", numbers | {"hardly": hardly.tolist()}, said)


def _classes(numbers: np.ndarray) -> str:
    return f"action {numbers[0]} is" if len(numbers) == 1 else f"actions {ranges(numbers)} are"


def bounds(demos: Demos) -> Iterator[Finding]:
    """Find continuous labels outside the action space, by dimension."""
    env, labels = demos.env, np.concatenate(demos.labels)
    if env is None or is_discrete(env.action_space) or labels.shape[1:] != env.action_space.shape or not len(labels):
        return
    low, high = env.action_space.low, env.action_space.high
    outside = ((labels < low) | (labels > high)).reshape(len(labels), -1)
    if not outside.any():
        return
    shares = outside.mean(axis=0)
    most = int(np.argmax(shares))
    # 20 to 44 % of the labels of the course's experts are outside. If most are, their scale is probably wrong.
    wrong_scale = shares[most] > 0.5
    listed = ", ".join(f"{i}: {100 * share:.0f} %" for i, share in enumerate(shares[:8]))
    listed += ", ..." if len(shares) > 8 else ""
    usual = "usual for experts whose actions the environment clips (20 to 44 % for the course's); not clipped here"
    advice = "do the labels have another scale, or come from another environment?" if wrong_scale else usual
    yield Finding(
        WARNING if wrong_scale else NOTE,
        f"{100 * outside.mean():.1f} % of the label entries are outside {name_of(env)}'s bounds, the largest is"
        f" {np.abs(labels).max():.3g} (by dimension {listed}): {advice}",
        {"share": float(outside.mean()), "shares": shares.tolist(), "largest": float(np.abs(labels).max())},
        f"{100 * outside.mean():.0f} % of the label entries outside the bounds" if wrong_scale else "",
    )


def time_limits(demos: Demos) -> Iterator[Finding]:
    """Find episodes that end at the time limit but are marked as terminated, and episodes longer than the limit."""
    limit = episode_limit(demos.env) if demos.env else None
    if limit is None:
        return
    at_limit = [i for i, t in enumerate(demos.trajectories) if len(t) == limit and t.terminated]
    beyond = [i for i, t in enumerate(demos.trajectories) if len(t) > limit]
    n = len(demos.trajectories)
    if at_limit:
        yield Finding(
            WARNING,
            f"{len(at_limit)} of {n} episodes have exactly the {limit:,} steps of the time limit and are marked as"
            " terminated: that is wrong for methods that learn values; mark them as truncated",
            {"episodes": at_limit},
            f"{counted(len(at_limit), 'time limit')} stored as terminations",
        )
    if beyond:
        longest = max(len(demos.trajectories[i]) for i in beyond)
        yield Finding(
            WARNING,
            f"{len(beyond)} of {n} episodes are longer than the time limit of {limit:,} steps (the longest:"
            f" {longest:,}): does the file lack their ends?",
            {"episodes": beyond, "longest": longest},
            f"{counted(len(beyond), 'episode')} beyond the time limit",
        )


def poor_episodes(demos: Demos) -> Iterator[Finding]:
    """Find episodes whose return is far below that of the others."""
    returns = np.array([t.episode_return for t in demos.trajectories])
    if np.isnan(returns).any():
        yield Finding(NOTE, "the file has no rewards, so returns are unknown; training does not need them")
        return
    middle = np.median(returns)
    spread = 1.4826 * np.median(np.abs(returns - middle))  # a standard deviation, robust to outliers
    poor = np.flatnonzero(returns < middle - max(10 * spread, 0.1 * abs(middle)))
    if len(returns) >= 5 and len(poor):
        yield Finding(
            WARNING,
            f"{len(poor)} of {len(returns)} episodes have a far lower return than the others ({ranges(poor)}; lowest"
            f" {returns.min():,.1f}, median {middle:,.1f}): the policy would imitate failures; leave them out"
            f" ({command_text('record_demos')} --min_return)",
            {"episodes": poor.tolist(), "min": float(returns.min()), "median": float(middle)},
            f"{counted(len(poor), 'episode')} with a far lower return",
        )


CHEAP_CHECKS: dict[str, Check] = {
    "constant_numbers": constant_numbers,
    "duplicate_numbers": duplicate_numbers,
    "duplicate_episodes": duplicate_episodes,
    "class_balance": class_balance,
    "bounds": bounds,
    "time_limits": time_limits,
    "poor_episodes": poor_episodes,
}
"""A new cheap check is a function and a row here."""


def quick_look(trajectories: Sequence[Trajectory], env: gym.Env | None = None) -> str:
    """Return one line with the numbers of episodes and steps, the returns, and what the cheap checks found."""
    returns = [t.episode_return for t in trajectories]
    said = f"returns {min(returns):.1f} to {max(returns):.1f}" if len(returns) > 1 else f"return {returns[0]:.1f}"
    said = "returns unknown" if np.isnan(returns).any() else said
    steps = counted(sum(map(len, trajectories)), "step")
    line = f"demonstrations: {counted(len(trajectories), 'episode')}, {steps}, {said}"
    odd = [finding.short for finding in run_checks(CHEAP_CHECKS, Demos(trajectories, env)) if finding.short]
    return line + (f"; odd: {', '.join(odd)}; see `{command_text('doctor')}`" if odd else "")
