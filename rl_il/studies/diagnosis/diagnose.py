"""Diagnosis of drift: why a policy leaves the states of its expert. `scripts/diagnose.py` calls it.

A BC policy makes mistakes on the expert's states. These mistakes lead it to states that no demonstration contains.
There it makes more mistakes (Ross and Bagnell 2010, "Efficient Reductions for Imitation Learning"). Therefore each
policy is compared with the expert at each time step, on its own states and on the expert's states. The distance of
these states from the policy's training states is measured too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import EnvRow, env_of, env_row, is_discrete, name_of
from rl_il.experts.loading import load_expert
from rl_il.files import atomic_write, data_folder
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.infrastructure.video import RenderError, frames_at
from rl_il.infrastructure.workers import rollout_source
from rl_il.report.drift import Drift, OnStates, Strip, draw_drift, draw_strip, drift_caption, drift_table
from rl_il.report.tables import markdown
from rl_il.runs.folders import new_folder
from rl_il.seeding import episode_seeds, stream
from rl_il.studies.diagnosis.measures import WINDOW, action_errors, first_divergence, nearest_distances, state_scale
from rl_il.studies.diagnosis.subjects import (
    Subject,
    check_reads_observations,
    common_config,
    find_policies,
    read_subject,
    states_of,
)
from rl_il.types import EXPERT, Expert, Trajectory

OFFSETS = (-20, -10, 0, 10, 20, 40, 80)  # steps between the first divergence and each frame of the strip
TIMES = 3  # continuous actions diverge if they differ by more than 3 times the difference on the expert's states
ABOUT_LOSSES = (
    "For all losses the expert labelled the states again, also those of the demonstrations. So the losses differ only"
    " in their states."
)


@dataclass(frozen=True)
class Diagnosis:
    """The measurements, the table and the files of a diagnosis."""

    folder: Path
    drifts: list[Drift]
    table: str  # Markdown
    files: list[Path]


def diagnose(
    policies: Sequence[str],
    names: Sequence[str] | None = None,
    expert: str | None = None,
    env_name: str | None = None,
    episodes: int = 50,
    seed: int = 0,
    ep_len: int | None = None,
    num_workers: int = 1,
    demos: str | None = None,
    activation: str | None = None,
    no_normalizer: bool = False,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """Measure each policy on the states of its episodes and of the expert's episodes. Write figures and a table.

    Args:
      policies: run folders (for their latest policy), policy files in them, or anything that `load_actor` accepts.
      names: the policies' names (default: `BC`, or `DAgger, iteration N`, or the file's name).
      expert, env_name, ep_len, demos: the default is the setting of the first run folder, or else what is included.
      episodes: the number of episodes of each policy and of the expert. All have the same seeds.
      seed: the root of the episodes' seeds.
      activation, no_normalizer: for the expert and for those policies whose format takes them, as `load_actor` does.
      out: the new folder; a number is appended to its name if it exists (default: `diagnosis` in `data_folder()`).
      settings: other settings of the config: how `demos` is read (`config.READING`), and the environment's arguments
        and wrappers.

    Raises:
      InputError: something is missing or does not fit. No episode was rolled out and no folder was made.
    """
    stream(seed, "evaluation")  # raises an error for a negative seed
    found = find_policies(policies, names)
    given = {"expert_policy_file": expert, "expert_activation": activation, "ep_len": ep_len, "expert_data": demos}
    given |= {"no_normalizer": no_normalizer or None, **(settings or {})}
    config = common_config(found, env_name, given)
    env = env_of(config)
    own_flags = (config.expert_activation, config.no_normalizer) if config.expert_policy_file else ()
    judge = load_expert(config.expert_policy_file, env, *own_flags)  # the shipped expert takes no flags
    check_reads_observations("the expert", judge, env)
    flags = {"activation": activation, "no_normalizer": no_normalizer}
    subjects = [read_subject(each, config, demos, env, flags) for each in found]
    folder = new_folder(Path(out or data_folder() / "diagnosis"), numbered=True)
    with rollout_source(env, num_workers) as source:
        rolled = []
        for name, actor in [("the expert", judge), *((each.name, each.actor) for each in subjects)]:
            # With the source EXPERT, a trajectory also keeps the actions before they were clipped, as labels.
            rollouts = sample_n_trajectories(
                source, actor, episodes, stream(seed, "evaluation"), config.ep_len, EXPERT
            )
            rolled.append(list(progress(rollouts, episodes, f"{name}, rolling out")))
    experts, *own = rolled
    row = env_row(config.env_name)
    discrete, scale = is_discrete(env.action_space), state_scale(states_of(subjects[0].demonstrations))
    drifts = [measure(*each, experts, judge, scale, discrete, row) for each in zip(subjects, own, strict=True)]
    table, caption = markdown(drift_table(drifts)), drift_caption(config.env_title, drifts)
    files = draw_drift(folder, f"{config.env_title}: where drift comes from", drifts, caption)
    files.append(folder / "losses.md")
    with atomic_write(files[-1]) as file:
        file.write(f"{table}\n\n{caption} {ABOUT_LOSSES}\n".encode())
    strip = film_divergence(config, env, subjects[0], drifts[0], own[0], judge, seed)
    if strip is not None:
        files.append(folder / "divergence.png")
        draw_strip(files[-1], strip)
    return Diagnosis(folder, drifts, table, files)


def measure(
    subject: Subject,
    own: Sequence[Trajectory],
    experts: Sequence[Trajectory],
    expert: Expert,
    scale: np.ndarray,
    discrete: bool,
    row: EnvRow,
) -> Drift:
    """Return the measurements of one policy on its own episodes, on the expert's, and on the demonstrations."""

    def on_states(trajectories: Sequence[Trajectory], acs: np.ndarray | None = None, whose: str = "") -> OnStates:
        """Return how far the actions on these states are from the expert's, how new the states are, and the loss."""
        obs = np.concatenate([t.obs[:-1] for t in trajectories])
        subject.actor.reset()  # its draws must not depend on the process that rolled out the last episode
        acs = subject.actor.get_action(obs) if acs is None else acs
        labels = expert.get_action(obs)
        ends = np.cumsum([len(t) for t in trajectories])[:-1]
        distances = []
        if whose:
            what = f"{subject.name}, distances of {whose} states"
            distances = np.split(nearest_distances(obs, subject.training_states, scale, what), ends)
        return OnStates(np.split(action_errors(acs, labels, discrete), ends), distances, subject.loss(obs, labels))

    return Drift(
        subject.name,
        scores=np.array([row.score(t) for t in own]),
        measure=row.measure,
        own=on_states(own, np.concatenate([t.labels for t in own]), whose="its own"),
        experts=on_states(experts, whose="the expert's"),
        demonstrated=on_states(subject.demonstrations),
        loss_name=subject.loss_name,
        training_states=len(subject.training_states),
        all_known=subject.all_known,
        discrete=discrete,
    )


def film_divergence(
    config: RunConfig,
    env: gym.Env,
    subject: Subject,
    drift: Drift,
    own: Sequence[Trajectory],
    expert: Expert,
    seed: int,
) -> Strip | None:
    """Return frames around the first divergence in the policy's episode of median score.

    Print a note and return None if the environment cannot be drawn.
    """
    number = int(np.argsort(drift.scores, kind="stable")[(len(own) - 1) // 2])
    episode, errors = own[number], drift.own.errors[number]
    limit = 0.5 if drift.discrete else TIMES * drift.experts.disagreement(False)
    step, diverges = first_divergence(errors if drift.discrete else np.sqrt(errors), limit)
    steps = sorted({min(max(step + offset, 0), len(episode) - 1) for offset in OFFSETS})
    start = next(islice(episode_seeds(stream(seed, "evaluation")), number, None))
    try:
        frames, again = frames_at(env, subject.actor, start, steps)
    except RenderError as error:
        print(f"note: divergence.png is not written: {error}", file=sys.stderr)
        return None
    if not np.array_equal(again.obs, episode.obs[: len(again.obs)]):
        print(
            "note: divergence.png is not written: with rendering, the same seed gave another episode",
            file=sys.stderr,
        )
        return None
    window = f"{WINDOW} steps in a row "
    if drift.discrete:
        window += "of which more than half have another action than the expert's"
    else:
        window += f"that differ by more than {limit:.2f} on average, {TIMES} times the value on the expert's states"
    caption = (
        f"{config.env_title}, seed {seed}: the episode of {subject.name} with the median {drift.measure.name} of"
        f" {len(own)}, {drift.scores[number]:{drift.measure.digits}} after {len(episode)} steps."
        f" First divergence: step {step}. "
    )
    if diverges:
        caption += f"It is the first such step in the first {window}."
    else:
        caption += f"The episode has no {window}, so it is the step with the largest difference."
    labels = expert.get_action(episode.obs[:-1])
    keys = env_row(name_of(env)).keys
    names = keys.names if keys else ()
    return Strip(frames, steps, episode.labels[steps], labels[steps], step, subject.name, caption, names)
