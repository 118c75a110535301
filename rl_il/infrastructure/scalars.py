"""What an iteration is judged by: the course's scalars, how far the policy is from its expert, a line of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_il.infrastructure.progress import seconds
from rl_il.statistics import bootstrap_interval
from rl_il.types import Actor, Expert, Trajectory


@dataclass(frozen=True)
class IterationResult:
    """One iteration: its scalars, and each evaluation episode's return and length (empty if not evaluated)."""

    itr: int
    scalars: dict[str, float]
    returns: np.ndarray
    lengths: np.ndarray


def return_scalars(prefix: str, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """The course's scalars for a set of episodes, under its names; std is the population's."""
    return {
        f"{prefix}_AverageReturn": float(np.mean(returns)),
        f"{prefix}_StdReturn": float(np.std(returns)),
        f"{prefix}_MaxReturn": float(np.max(returns)),
        f"{prefix}_MinReturn": float(np.min(returns)),
        f"{prefix}_AverageEpLen": float(np.mean(lengths)),
    }


def agreement(actor: Actor, expert: Expert, trajectories: Sequence[Trajectory], discrete: bool) -> dict[str, float]:
    """How the actor differs from the expert on the states of its own rollouts.

    Discrete: the fraction of states with the same action. Continuous: the root mean square difference of the
    unclipped actions.
    """
    obs = np.concatenate([t.obs[:-1] for t in trajectories])
    acs, labels = actor.get_action(obs), expert.get_action(obs)
    if discrete:
        return {"Eval_ExpertAgreement": float(np.mean(acs == labels))}
    return {"Eval_ExpertDistance": float(np.sqrt(np.mean((acs - labels) ** 2)))}


def line_of(result: IterationResult, n_iter: int, expert_labels: int, elapsed: float) -> str:
    """The iteration in one line, with the time that the rest will take if it goes on like these `elapsed` seconds."""
    itr, last, scalars = result.itr, n_iter - 1, result.scalars
    line = f"itr {itr:>{len(str(last))}}/{last} | loss {scalars['Training Loss']:.4f}"
    if len(result.returns):
        low, high = bootstrap_interval([result.returns], n_resamples=1000)
        interval = f" [{low:.1f}, {high:.1f}]" if len(result.returns) > 1 else ""
        episodes = "1 episode" if len(result.returns) == 1 else f"{len(result.returns)} episodes"
        line += f" | eval return {result.returns.mean():.1f}{interval} over {episodes}"
    line += f" | expert labels {expert_labels:,} | {seconds(elapsed)}"
    left = elapsed / (itr + 1) * (last - itr)
    return line + (f", about {seconds(left)} left" if itr < last else "")
