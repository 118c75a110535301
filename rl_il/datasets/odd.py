"""What is odd about demonstrations: the cheap checks, which every run makes, and their one-line summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gymnasium as gym
import numpy as np

from rl_il.datasets.findings import NOTE, WARNING, Check, Demos, Finding, counted, ranges, run_checks
from rl_il.envs import episode_limit, is_discrete, name_of
from rl_il.types import Trajectory

RARE = 0.005
"""A class below this share of the labels is hardly seen."""
MANY = 10_000
"""With more classes than this their shares are not reported."""


def constant_numbers(demos: Demos) -> Iterator[Finding]:
    """Find observation or label dimensions with one value throughout."""
    for what, parts in _vectors(demos):
        constant = constant_columns(parts)
        if len(constant):
            values = np.unique(parts[0][0][constant])
            value = f"always {values[0]:g}" if len(values) == 1 else f"{len(values)} different values"
            yield Finding(
                WARNING,
                f"{len(constant)} of {parts[0].shape[1]} {what} numbers never change ({ranges(constant)}; {value}): a"
                " clone learns nothing from them, and they may change where it drifts",
                {"of": what, "dimensions": constant.tolist()},
                counted(len(constant), f"constant {what} number"),
            )


def duplicate_numbers(demos: Demos) -> Iterator[Finding]:
    """Find observation or label dimensions that repeat another one; constant ones are not counted again."""
    for what, parts in _vectors(demos):
        pairs = duplicate_columns(parts)
        if pairs:
            first = f"{pairs[0][1]} is {pairs[0][0]}{', ...' if len(pairs) > 1 else ''}"
            yield Finding(
                WARNING,
                f"{len(pairs)} of {parts[0].shape[1]} {what} numbers repeat another one ({first}): harmless, unless"
                " something was stored twice by mistake",
                {"of": what, "pairs": [list(pair) for pair in pairs]},
                counted(len(pairs), f"repeated {what} number"),
            )


def _vectors(demos: Demos) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield observations and labels where they are vectors: constant pixels or classes are nothing odd."""
    for what, parts in (("observation", demos.obs), ("label", demos.labels)):
        parts = [part for part in parts if len(part)]
        if parts and parts[0].ndim == 2 and parts[0].dtype != np.uint8 and sum(map(len, parts)) > 1:
            yield what, parts


def constant_columns(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the indices of the columns that are equal in all rows of all `parts (T, D)`."""
    first = parts[0][0]
    columns = np.arange(len(first))
    for part in parts:
        columns = columns[(part[:, columns] == first[columns]).all(axis=0)]
    return columns


def duplicate_columns(parts: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return (earlier, later) for each column of `parts (T, D)` that equals an earlier one and is not constant."""
    # A few rows rule out nearly all pairs.
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
    """Find episodes that repeat another one, and different ones that start in the same state."""
    copies = repeated_episodes(demos.trajectories)
    if copies:
        yield Finding(
            WARNING,
            f"{len(copies)} of {len(demos.trajectories)} episodes repeat an earlier one, state by state"
            f" ({ranges(copies)}): they add no information, and mistakes in them count double; record others",
            {"episodes": copies},
            counted(len(copies), "repeated episode"),
        )
    rest = [t for i, t in enumerate(demos.trajectories) if i not in set(copies)]
    same = len(rest) - len({t.obs[0].tobytes() for t in rest})
    if same:
        yield Finding(
            WARNING,
            f"{same} of {len(rest)} different episodes start in the state of an earlier one: unless the environment"
            " always starts there, its resets were given one seed; record with a seed for each episode",
            {"same_start": same},
            counted(same, "repeated start state"),
        )


def repeated_episodes(trajectories: Sequence[Trajectory]) -> list[int]:
    """Return the indices of the episodes whose observations and labels equal an earlier episode's."""
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
    """Note how often each discrete action is the label; find those that hardly ever are."""
    classes = demos.classes
    if classes is None or not len(classes):
        return
    n = int(demos.env.action_space.n) if demos.env else max(int(classes.max()) + 1, 1)
    if n > MANY:
        return
    counts = np.bincount(classes[(classes >= 0) & (classes < n)], minlength=n)
    shares = counts / max(counts.sum(), 1)
    numbers = {"counts": counts.tolist()}
    listed = ", ".join(f"{i}: {100 * share:.1f} %" for i, share in enumerate(shares[:32]))
    yield Finding(NOTE, f"shares of the actions among the labels: {listed}{', ...' if n > 32 else ''}", numbers)
    never, hardly = np.flatnonzero(counts == 0), np.flatnonzero((counts > 0) & (shares < RARE))
    if len(never):
        advice = "right if the expert never does that, otherwise the clone cannot learn it"
        said = f"{_classes(never)} never a label"
        yield Finding(WARNING, f"{said} ({n} actions): {advice}", numbers | {"never": never.tolist()}, said)
    if len(hardly):
        least = f"least: {counts[hardly].min():,} of {counts.sum():,} steps"
        advice = "the clone may ignore them; record more episodes where they matter"
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
    outside = (labels < low) | (labels > high)
    if not outside.any():
        return
    shares = outside.mean(axis=0)
    most = int(np.argmax(shares))
    # The course's experts have 20 to 44 % outside, by their nature; where most are, the scale is another one.
    wrong_scale = shares[most] > 0.5
    listed = ", ".join(f"{i}: {100 * share:.0f} %" for i, share in enumerate(shares[:8]))
    listed += ", ..." if len(shares) > 8 else ""
    usual = "usual for experts that the environment clips (20 to 44 % for the course's), and learnt as they are"
    advice = "were the labels scaled otherwise, or recorded elsewhere?" if wrong_scale else usual
    yield Finding(
        WARNING if wrong_scale else NOTE,
        f"{100 * outside.mean():.1f} % of the label entries lie outside {name_of(env)}'s bounds, the largest at"
        f" {np.abs(labels).max():.3g} (by dimension {listed}): {advice}",
        {"share": float(outside.mean()), "shares": shares.tolist(), "largest": float(np.abs(labels).max())},
        f"{100 * outside.mean():.0f} % of the label entries outside the bounds" if wrong_scale else "",
    )


def time_limits(demos: Demos) -> Iterator[Finding]:
    """Find episodes that end at the environment's limit as if the task had ended them, or that go on beyond it."""
    limit = episode_limit(demos.env) if demos.env else None
    if limit is None:
        return
    at_limit = [i for i, t in enumerate(demos.trajectories) if len(t) == limit and t.terminated]
    beyond = [i for i, t in enumerate(demos.trajectories) if len(t) > limit]
    n = len(demos.trajectories)
    if at_limit:
        yield Finding(
            WARNING,
            f"{len(at_limit)} of {n} episodes last exactly the limit of {limit:,} steps and are marked as"
            " terminated: time limits stored as ends of the task mislead what learns values; mark them truncated",
            {"episodes": at_limit},
            f"{counted(len(at_limit), 'time limit')} stored as terminations",
        )
    if beyond:
        longest = max(len(demos.trajectories[i]) for i in beyond)
        yield Finding(
            WARNING,
            f"{len(beyond)} of {n} episodes are longer than the limit of {limit:,} steps (the longest {longest:,}):"
            " are their ends missing from the file?",
            {"episodes": beyond, "longest": longest},
            f"{counted(len(beyond), 'episode')} beyond the time limit",
        )


def poor_episodes(demos: Demos) -> Iterator[Finding]:
    """Find episodes whose return lies far below the others'."""
    returns = np.array([t.episode_return for t in demos.trajectories])
    if np.isnan(returns).any():
        yield Finding(NOTE, "the file holds no rewards, so returns are unknown; nothing that learns needs them")
        return
    middle = np.median(returns)
    spread = 1.4826 * np.median(np.abs(returns - middle))  # a standard deviation that few outliers do not move
    poor = np.flatnonzero(returns < middle - max(10 * spread, 0.1 * abs(middle)))
    if len(returns) >= 5 and len(poor):
        yield Finding(
            WARNING,
            f"{len(poor)} of {len(returns)} episodes return far less than the others ({ranges(poor)}; least"
            f" {returns.min():,.1f}, median {middle:,.1f}): failures teach failing; leave them out"
            " (record_demos.py --min_return)",
            {"episodes": poor.tolist(), "least": float(returns.min()), "median": float(middle)},
            f"{counted(len(poor), 'episode')} of far smaller return",
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
"""A new cheap check is a function and its row here."""


def quick_look(trajectories: Sequence[Trajectory], env: gym.Env | None = None) -> str:
    """Return one line: how much there is, what it returns, and what the cheap checks find odd."""
    returns = [t.episode_return for t in trajectories]
    said = f"returns {min(returns):.1f} to {max(returns):.1f}" if len(returns) > 1 else f"return {returns[0]:.1f}"
    said = "returns unknown" if np.isnan(returns).any() else said
    steps = counted(sum(map(len, trajectories)), "step")
    line = f"demonstrations: {counted(len(trajectories), 'episode')}, {steps}, {said}"
    odd = [finding.short for finding in run_checks(CHEAP_CHECKS, Demos(trajectories, env)) if finding.short]
    return line + (f"; odd: {', '.join(odd)}; see scripts/doctor.py" if odd else "")
