"""Measuring a run of `study.py`: some of its policies are evaluated after the training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_of
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import write_json
from rl_il.infrastructure.counting import SCALARS
from rl_il.infrastructure.rollouts import EpisodeStatistics, look_at, sample_n_trajectories
from rl_il.report.runs import Run, read_run
from rl_il.runs.folders import is_finished
from rl_il.runs.parts import find_expert
from rl_il.seeding import episode_seeds, stream
from rl_il.studies.ablation.jobs import train
from rl_il.studies.label_cost.results import EVALUATIONS, REACHED, reached
from rl_il.types import Actor

FEW, FRESH = 4, 50  # episodes: the first ones of an evaluation, and those on which the expert must be reached again
CLOSE = 0.85  # share of the expert's mean return from which an evaluation has all episodes
GROWTH = (6, 5)  # an iteration is evaluated if it has at least 6/5 of the labels of the one evaluated before


def train_and_measure(config: RunConfig, expert_episodes: EpisodeStatistics | None, outdir: Path) -> None:
    """Make a run, as `train` does, and evaluate the policies of its iterations."""
    folder = outdir / config.logdir
    if not is_finished(folder):
        train(config, expert_episodes, outdir)
    measure_run(folder)


def due_iterations(labels: Sequence[int]) -> list[int]:
    """Return the iterations that are evaluated: the first, the last, and those where labels have grown by a fifth."""
    due, (more, than) = [0], GROWTH
    for itr, n in enumerate(labels):
        if itr == len(labels) - 1 or than * n >= more * labels[due[-1]]:
            due.append(itr)
    return list(dict.fromkeys(due))


def is_measured(folder: Path) -> bool:
    """Return whether all evaluations of the run were made."""
    path = folder / EVALUATIONS
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["complete"]


def measure_run(folder: Path) -> None:
    """Evaluate the policies of a finished run, and write the results into its folder. Those that exist are kept.

    In the end the policies are removed, except the last one: all of a study would take some GB.
    """
    run, path = read_run(folder), folder / EVALUATIONS
    start = {"expert": run.expert.scores.tolist(), "expert_fresh": [], "evaluations": [], "complete": False}
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else start
    if not run.expert.scores.mean() > 0:
        raise InputError(f"{run.config.env_name}: the expert's mean return is not above 0, so it has no percentage")
    due = due_iterations([int(row["Expert_LabelsSoFar"]) for row in run.metrics])
    with closing(env_of(run.config)) as env:
        for itr in due[len(found["evaluations"]) :]:
            actor = load_actor(folder / f"policy_itr_{itr}.pt", env)
            found["evaluations"].append(_evaluate(run, itr, actor, env, found))
            write_json(path, found)
    write_json(path, found | {"complete": True})
    for policy in folder.glob("policy_itr_*.pt"):
        if policy.name != f"policy_itr_{run.last}.pt":
            policy.unlink()


def _evaluate(run: Run, itr: int, actor: Actor, env: gym.Env, found: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of the policy of an iteration, and what was used until then.

    There are `FEW` episodes. Until a policy has reached the expert twice, there are all those of the run's own
    evaluation if the mean of the few is `CLOSE` to the expert's, and `FRESH` others if the mean of all reaches it.
    """
    expert, fresh = run.expert.scores, []
    seeds = list(islice(episode_seeds(stream(run.config.seed, "evaluation")), len(expert)))  # those of the run
    scores, searching = _scores(run, actor, env, seeds[:FEW]), reached(found) is None
    if searching and scores.mean() >= CLOSE * expert[:FEW].mean():
        scores = np.concatenate([scores, _scores(run, actor, env, seeds[FEW:])])
    if searching and len(scores) == len(expert) and scores.mean() >= REACHED * expert.mean():
        others = list(islice(episode_seeds(stream(run.config.seed, "evaluation", 1)), FRESH))
        fresh = _scores(run, actor, env, others).tolist()
        if not found["expert_fresh"]:
            found["expert_fresh"] = _scores(run, find_expert(run.config, env), env, others).tolist()
    used = {name: int(run.metrics[itr][name]) for name in SCALARS}
    return {"iteration": itr, **used, "scores": scores.tolist(), "fresh": fresh}


def _scores(run: Run, actor: Actor, env: gym.Env, seeds: Sequence[int]) -> np.ndarray:
    """Return the scores of episodes with these seeds, `(len(seeds),)` float64."""
    episodes = sample_n_trajectories(env, actor, len(seeds), seeds, run.config.ep_len)
    return look_at(episodes, run.config.env_name)[0].scores
