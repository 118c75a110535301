"""The slow checks: comparisons with the environment, with similar states, and with the expert."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from rl_il.datasets.findings import NOTE, WARNING, Check, Demos, Finding, counted, ranges
from rl_il.datasets.odd import CHEAP_CHECKS, constant_columns, constant_numbers, duplicate_numbers
from rl_il.envs import is_discrete
from rl_il.infrastructure.rollouts import sample_trajectories
from rl_il.policies.actors import RandomActor
from rl_il.studies.diagnosis.measures import nearest_rows
from rl_il.types import Expert

QUERIES, REFERENCES = 500, 20_000
"""How many states the nearest neighbour is searched for, and among how many: ten million distances, half a second."""
NEAR = 0.05
"""The distance of two nearly equal states: root mean square, in standard deviations."""
NOTE_SHARE, WARNING_SHARE = 0.1, 1 / 3
"""Shares of nearly equal pairs with different labels for a note and for a warning. LunarLander's expert: 0.22."""
FAR = 0.1
"""The expert disagrees with an entry of a continuous label if it differs by more than this."""
RANDOM_STEPS = 300


def compared_with_environment(check: Check) -> Check:
    """Return the check of constant or repeated numbers, extended: it says whether the environment has them too.

    Its findings are then notes, since every recording has them.
    """

    def compare(demos: Demos) -> Iterator[Finding]:
        """Yield the findings of the check, with the environment's numbers where they can be compared."""
        for finding in check(demos):
            comparable = demos.env and finding.numbers["of"] == "observation"
            if not comparable or demos.trajectories[0].obs.shape[1:] != demos.env.observation_space.shape:
                yield finding
                continue
            rows = random_states(demos.env)
            constant = constant_columns([rows])
            pairs = finding.numbers.get("pairs", [])
            otherwise = [d for d in finding.numbers.get("dimensions", []) if d not in constant]
            otherwise += [later for earlier, later in pairs if (rows[:, earlier] != rows[:, later]).any()]
            said = f"is not so for {len(otherwise)} of them" if otherwise else "is so for all of them"
            yield dataclasses.replace(
                finding,
                severity=WARNING if otherwise else NOTE,
                text=f"{finding.text}; in {len(rows)} random steps of the environment this {said}",
                numbers=finding.numbers | {"otherwise_in_environment": otherwise},
            )

    return compare


def random_states(env: gym.Env) -> np.ndarray:
    """Return the observations `(RANDOM_STEPS, *ob_shape)` of the random policy."""
    rng = np.random.default_rng(0)
    trajectories = sample_trajectories(env, RandomActor(env), RANDOM_STEPS, rng, max_path_length=RANDOM_STEPS)
    return np.concatenate([t.obs[1:] for t in trajectories])[:RANDOM_STEPS]


def equal_states(demos: Demos) -> Iterator[Finding]:
    """Find states that occur more than once with different labels."""
    obs, labels = _rows(demos)
    if not obs.size:
        return
    flat = np.ascontiguousarray(obs.reshape(len(obs), -1))
    _, first, group = np.unique(flat.view(f"V{flat.strides[0]}")[:, 0], return_index=True, return_inverse=True)
    differs = _differ(labels, labels[first[group]], 0.05)
    if differs.any():
        repeated = len(obs) - len(first)
        yield Finding(
            WARNING,
            f"{differs.sum():,} of {repeated:,} repeated states have another label than the first time: a policy can"
            " only learn their mean, or the most frequent one; was the expert random, or were there two?",
            {"contradictory": int(differs.sum()), "repeated": repeated},
        )


def near_states(demos: Demos) -> Iterator[Finding]:
    """Find pairs of nearest neighbours, in a sample, whose labels differ although the states hardly do."""
    obs, labels = _rows(demos)
    if len(obs) < 2 or obs.ndim != 2:
        return
    chosen = np.random.default_rng(0).permutation(len(obs))[:REFERENCES]
    obs, labels = _standardised(obs[chosen]), labels[chosen]
    if not obs.shape[1]:
        return
    nearest, distances = nearest_rows(obs[:QUERIES], obs, "comparing neighbours", but_itself=True)
    near = distances < NEAR * np.sqrt(obs.shape[1])
    pairs, differ = int(near.sum()), int(_differ(labels[: len(nearest)], labels[nearest], 0.5)[near].sum())
    if pairs < 20 or differ < NOTE_SHARE * pairs:
        return
    many = differ > WARNING_SHARE * pairs
    reason = "does the observation lack something that the expert used (memory, time), or was the expert random?"
    yield Finding(
        WARNING if many else NOTE,
        f"{differ} of {pairs} sampled pairs of nearly equal states have different labels: "
        + (reason if many else "usual where a discrete expert changes from one action to another"),
        {"contradictory": differ, "pairs": pairs},
    )


CHECKS: dict[str, Check] = CHEAP_CHECKS | {
    "constant_numbers": compared_with_environment(constant_numbers),
    "duplicate_numbers": compared_with_environment(duplicate_numbers),
    "equal_states": equal_states,
    "near_states": near_states,
}
"""All checks of trajectories, except for the comparison with the expert, which needs an expert."""


def expert_disagreement(demos: Demos, expert: Expert, name: str, is_theirs: bool) -> Iterator[Finding]:
    """Compare the stored labels with the expert's actions, and find episodes in which they differ most.

    `is_theirs` says whether the labels should be this expert's. If not, a difference is only a note.
    """
    differences = []
    for trajectory, labels in zip(demos.trajectories, demos.labels, strict=True):
        expert.reset(0)
        obs = trajectory.obs[:-1][trajectory.labelled_steps]
        differences.append(labels.astype(np.float64) - expert.get_action(obs) if len(obs) else np.empty(0))
    discrete = is_discrete(demos.env.action_space)
    differs = [np.abs(difference) > (0 if discrete else FAR) for difference in differences]
    if discrete:  # several integers are one label
        differs = [each.any(axis=tuple(range(1, each.ndim))) for each in differs]
    everywhere = np.concatenate([each.ravel() for each in differs])
    if not len(everywhere):
        return
    share = float(everywhere.mean())
    shares = np.array([each.mean() if len(each) else np.nan for each in differs])
    numbers = {"expert": name, "share": share, "share_by_episode": shares.tolist()}
    measure = f"{100 * share:.1f} % of the labels"
    if not discrete:
        rms = numbers["rms"] = float(np.sqrt(np.square(np.concatenate([d.ravel() for d in differences])).mean()))
        measure = f"{100 * share:.1f} % of the label entries by more than {FAR} (root mean square {rms:.3g})"
    odd, advice = share > 0.05, ""
    if odd:
        advice = ": is the file from another expert or another version of the environment? Use that one for DAgger"
    text = f"the expert {name} disagrees with {measure}{advice}"
    yield Finding(WARNING if odd and is_theirs else NOTE, text, numbers)
    yield from other_policies(shares)


def other_policies(shares: np.ndarray) -> Iterator[Finding]:
    """Find episodes in which the expert disagrees far more than in most; `shares (episodes,)` may hold NaN."""
    middle, largest = float(np.nanmedian(shares)), float(np.nanmax(shares))
    worst = np.flatnonzero(shares > max(3 * middle, middle + 0.1))
    if len(worst):
        yield Finding(
            WARNING,
            f"the expert disagrees far more in {len(worst)} of {counted(len(shares), 'episode')} ({ranges(worst)}: up"
            f" to {100 * largest:.0f} %, median {100 * middle:.1f} %): are they from another policy?",
            {"episodes": worst.tolist(), "max": largest, "median": middle},
        )


def _differ(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """Return `(N,)` bool: whether labels differ; continuous ones by a root mean square of more than `tolerance`."""
    return a != b if a.ndim == 1 else ((a - b) ** 2).sum(axis=1) > tolerance**2 * a.shape[1]


def _rows(demos: Demos) -> tuple[np.ndarray, np.ndarray]:
    """Return the observations and labels of all labelled steps; continuous labels are standardised."""
    obs = np.concatenate([t.obs[:-1][t.labelled_steps] for t in demos.trajectories])
    labels = np.concatenate(demos.labels)
    return obs, labels if labels.ndim == 1 else _standardised(
        labels.reshape(len(labels), int(np.prod(labels.shape[1:])))
    )


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Return `rows (N, D)` minus their mean, divided by their standard deviation, without constant columns."""
    rows = rows.astype(np.float64)
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0))[:, spread > 1e-8] / spread[spread > 1e-8]
