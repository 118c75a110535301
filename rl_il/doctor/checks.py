"""The checks that take time: beside the environment, beside the neighbours, beside the expert."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from rl_il.datasets.findings import NOTE, WARNING, Check, Demos, Finding, counted, ranges
from rl_il.datasets.odd import constant_columns
from rl_il.policies.actors import RandomActor
from rl_il.types import Expert

QUERIES, REFERENCES = 500, 20_000
"""States whose nearest neighbour is sought, and among how many: ten million distances, half a second."""
NEAR = 0.05
"""States are nearly equal if they differ by less than this, in standard deviations, root mean square."""
SOME, MANY = 0.1, 1 / 3
"""Shares of nearly equal pairs with different labels: worth a note (LunarLander's expert has 22 %), and odd."""
FAR = 0.1
"""A continuous label differs if a number of it is further off than this."""
RANDOM_STEPS = 300


def beside_the_environment(check: Check) -> Check:
    """A check of constant or repeated numbers that says whether they are so in the environment too: then they are a
    note, since no recording could be otherwise."""

    def compare(demos: Demos) -> Iterator[Finding]:
        for finding in check(demos):
            comparable = demos.env and finding.numbers["of"] == "observation"
            if not comparable or demos.trajectories[0].obs.shape[1:] != demos.env.observation_space.shape:
                yield finding
                continue
            rows = random_states(demos.env)
            constant = set(constant_columns([rows]).tolist())
            pairs = finding.numbers.get("pairs", [])
            otherwise = [d for d in finding.numbers.get("dimensions", []) if d not in constant]
            otherwise += [later for earlier, later in pairs if (rows[:, earlier] != rows[:, later]).any()]
            said = f"does not hold for {len(otherwise)} of them" if otherwise else "holds for all of them"
            yield dataclasses.replace(
                finding,
                severity=WARNING if otherwise else NOTE,
                text=f"{finding.text}; in {len(rows)} random steps of the environment this {said}",
                numbers=finding.numbers | {"otherwise_in_environment": otherwise},
            )

    return compare


def random_states(env: gym.Env) -> np.ndarray:
    """`(RANDOM_STEPS, *ob_shape)`: what the random policy sees."""
    actor, rows = RandomActor(env), []
    actor.reset(0)
    while len(rows) < RANDOM_STEPS:
        ob, _ = env.reset(seed=len(rows))
        ended = False
        while not ended and len(rows) < RANDOM_STEPS:
            ob, _, terminated, truncated, _ = env.step(actor.get_action(ob))
            rows.append(ob)
            ended = terminated or truncated
    return np.stack(rows)


def equal_states(demos: Demos) -> Iterator[Finding]:
    """States that occur more than once with labels that differ."""
    obs, labels = _rows(demos)
    if not obs.size:
        return
    flat = np.ascontiguousarray(obs.reshape(len(obs), -1))
    rows = flat.view(f"V{flat.strides[0]}")[:, 0]
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    differs = _differ(labels, labels[first[group]], 0.05)
    if differs.any():
        repeated = len(obs) - len(first)
        yield Finding(
            WARNING,
            f"{differs.sum():,} of {repeated:,} states that occur again have another label than the first time: the"
            " clone can only learn the mean, or the commoner one; a random expert, or two of them?",
            {"contradictory": int(differs.sum()), "repeated": repeated},
        )


def near_states(demos: Demos) -> Iterator[Finding]:
    """Nearest neighbours, on a sample, whose labels differ although the states hardly do."""
    obs, labels = _rows(demos)
    if len(obs) < 2 or obs.ndim != 2:
        return
    chosen = np.random.default_rng(0).permutation(len(obs))[:REFERENCES]
    obs, labels = _standardised(obs[chosen]), labels[chosen]
    if not obs.shape[1]:
        return
    nearest, distances = nearest_neighbours(obs, min(QUERIES, len(obs)))
    near = distances < NEAR
    pairs, differ = int(near.sum()), int(_differ(labels[: len(nearest)], labels[nearest], 0.5)[near].sum())
    if pairs < 20 or differ < SOME * pairs:
        return
    many = differ > MANY * pairs
    reason = "does the observation lack what the expert looked at (memory, time), or does it act at random?"
    yield Finding(
        WARNING if many else NOTE,
        f"{differ} of {pairs} sampled pairs of nearly equal states have different labels: "
        + (reason if many else "usual along the edges of a discrete expert's decisions"),
        {"contradictory": differ, "pairs": pairs},
    )


def nearest_neighbours(obs: np.ndarray, n_queries: int) -> tuple[np.ndarray, np.ndarray]:
    """For the first `n_queries` rows of `obs (N, D)`: the nearest other row, and its root mean square distance."""
    squares = (obs**2).sum(axis=1)
    distances = squares[:n_queries, None] + squares - 2 * obs[:n_queries] @ obs.T
    distances[np.arange(n_queries), np.arange(n_queries)] = np.inf
    nearest = distances.argmin(axis=1)
    # Computed again, since the difference of large squares is not exact near 0.
    return nearest, np.sqrt(((obs[:n_queries] - obs[nearest]) ** 2).mean(axis=1))


def expert_disagreement(demos: Demos, expert: Expert, name: str, is_theirs: bool) -> Iterator[Finding]:
    """The stored labels beside what the expert says now, and the episodes in which it disagrees most.

    Args:
      demos: what to look at.
      expert: one that reads observations.
      name: what to call it.
      is_theirs: whether the labels ought to be this expert's; it need not be the only good one.
    """
    shares = np.full(len(demos.trajectories), np.nan)  # where an episode has no labels
    all_labels = demos.labels
    errors, sizes = np.zeros(len(shares)), np.array(list(map(len, all_labels)))
    for i in np.flatnonzero(sizes):
        trajectory, labels = demos.trajectories[i], all_labels[i]
        expert.reset(0)
        wanted = expert.get_action(trajectory.obs[:-1][trajectory.labelled_steps])
        shares[i] = _far(labels, wanted).mean()
        errors[i] = np.square(labels.astype(np.float64) - wanted).mean()
    if not sizes.any():
        return
    share = float(np.average(shares[sizes > 0], weights=sizes[sizes > 0]))
    numbers = {"expert": name, "share": share, "share_by_episode": shares.tolist()}
    if demos.classes is None:
        rms = float(np.sqrt(np.average(errors, weights=sizes)))
        numbers["rms"] = rms
        measure = f"{100 * share:.1f} % of the label entries by more than {FAR} (root mean square {rms:.3g})"
    else:
        measure = f"{100 * share:.1f} % of the labels"
    odd = share > 0.05
    advice = ""
    if odd and is_theirs:
        advice = ": was another expert, or another version of the environment, at work?"
    elif odd:
        advice = ": another one made this file; for DAgger give that one, or two experts' labels are mixed"
    text = f"the expert {name} disagrees with {measure}{advice}"
    yield Finding(WARNING if odd and is_theirs else NOTE, text, numbers)
    yield from other_policies(shares)


def other_policies(shares: np.ndarray) -> Iterator[Finding]:
    """Episodes in which the expert disagrees far more than in most; `shares (n,)`, one an episode, or NaN."""
    middle, most = float(np.nanmedian(shares)), float(np.nanmax(shares))
    worst = np.flatnonzero(shares > max(3 * middle, middle + 0.1))
    if len(worst):
        yield Finding(
            WARNING,
            f"the expert disagrees far more in {len(worst)} of {counted(len(shares), 'episode')} ({ranges(worst)}: up"
            f" to {100 * most:.0f} %, median {100 * middle:.1f} %): did another policy make them?",
            {"episodes": worst.tolist(), "most": most, "median": middle},
        )


def _far(labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Per entry: whether two discrete labels differ, or two continuous numbers by more than `FAR`."""
    return labels != wanted if wanted.dtype.kind in "iu" else np.abs(labels - wanted) > FAR


def _differ(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """`(N,)` bool: whether two rows of labels differ; continuous ones by more than `tolerance`, root mean square."""
    return a != b if a.ndim == 1 else ((a - b) ** 2).sum(axis=1) > tolerance**2 * a.shape[1]


def _rows(demos: Demos) -> tuple[np.ndarray, np.ndarray]:
    """Observations and labels of all labelled steps; continuous labels in standard deviations."""
    obs = np.concatenate([t.obs[:-1][t.labelled_steps] for t in demos.trajectories])
    labels = np.concatenate(demos.labels)
    return obs, labels if labels.ndim == 1 else _standardised(labels)


def _standardised(rows: np.ndarray) -> np.ndarray:
    """`rows (N, D)` less their mean, by their standard deviation, without the constant columns."""
    rows = rows.astype(np.float64)
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0))[:, spread > 1e-8] / spread[spread > 1e-8]
