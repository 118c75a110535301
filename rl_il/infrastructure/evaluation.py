"""Evaluation of a policy: new episodes, agreement with the expert, and the loss on held-out steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.pytorch_utils import threads
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import EpisodeStatistics, RolloutSource, begin_episodes, look_at
from rl_il.infrastructure.validation import validate
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import evaluation_seeds, stream
from rl_il.statistics import bootstrap_interval
from rl_il.types import SCORE, Actor, Expert, Trajectory


@dataclass(frozen=True)
class Evaluation:
    """The measurements after one block of a training. It has no episodes if no evaluation was due."""

    itr: int
    gradient_steps: int = 0  # of the run so far
    scalars: dict[str, float] = field(default_factory=dict)
    returns: np.ndarray = field(default_factory=lambda: np.empty(0))  # (episodes,) float64
    lengths: np.ndarray = field(default_factory=lambda: np.empty(0, int))  # (episodes,)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))  # (episodes,) float64: `EnvRow.score`

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of this policy's mean score, or NaN for fewer than five episodes."""
        return bootstrap_interval([self.scores])


class Evaluator:
    """The measurements of a policy in a run.

    Args:
      config: the settings of the run. Only `env_name`, `seed`, `eval_seeds`, `ep_len` and
        `torch_threads` are read.
      env: an environment, or worker processes.
      n_episodes: the number of whole episodes in an evaluation.
      expert: an expert with which the policy is compared on the states of the evaluation, or None. It must be able to
        return actions for recorded observations.
      validation: the labelled steps that were held out. It may be empty.
      watch: shows the progress and measures time.
    """

    def __init__(
        self,
        config: RunConfig,
        env: RolloutSource,
        n_episodes: int,
        expert: Expert | None,
        validation: ReplayBuffer,
        watch: Watch,
    ):
        self.config, self.env, self.n_episodes = config, env, n_episodes
        self.expert, self.validation, self.watch = expert, validation, watch

    def __call__(self, policy: BasePolicy, itr: int, roll_out: bool = True) -> Evaluation:
        """Return the policy's evaluation. All evaluations of a run use the same episode seeds, so they are paired.

        Args:
          policy: the policy, at the end of a block.
          itr: the iteration of the block.
          roll_out: whether new episodes are rolled out. If not, only the held-out steps are used.
        """
        rng = stream(self.config.seed, "noise", itr)
        with threads(self.config.torch_threads):
            validation = validate(policy, self.validation, rng) if len(self.validation) else {}
        if not roll_out:
            return Evaluation(itr, scalars=validation)
        actor = policy.actor()
        episodes = self._roll_out(actor, "evaluate", itr, self.n_episodes)
        # Episodes are kept only if the expert is asked about them, since pictures need much memory.
        kept = [] if self.expert is None else list(episodes)
        found, success = look_at(kept or episodes, self.config.env_name)
        scalars = return_scalars("Eval", found.returns, found.lengths)
        if env_row(self.config.env_name).measure is SCORE:
            scalars |= spread_scalars("Eval", "Score", found.scores)
        scalars |= validation
        if success is not None:
            scalars["Eval_SuccessRate"] = float(success.mean())
        if self.expert is not None:
            scalars |= agreement(actor, self.expert, kept, policy.discrete)
        return Evaluation(itr, scalars=scalars, **found._asdict())

    def measure(self, expert: Expert) -> EpisodeStatistics:
        """Return the numbers of the live expert's episodes, on the same episodes as the learner's evaluations.

        Stored returns are not used, because they may come from another version of the physics.
        """
        return look_at(self._roll_out(expert, "expert", 0, self.n_episodes), self.config.env_name)[0]

    def _roll_out(self, actor: Actor, kind: str, itr: int, n: int) -> Iterator[Trajectory]:
        """Return `n` whole episodes. The i-th episode has the same seed for every actor and iteration of a run."""
        seeds = evaluation_seeds(self.config.seed, self.config.fixed_seeds)
        episodes = begin_episodes(self.env, actor, seeds, self.config.ep_len, n=n)
        return self.watch(episodes, kind, itr, n)


def return_scalars(prefix: str, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Return the scalars that the course logs for a set of episodes."""
    return spread_scalars(prefix, "Return", returns) | {f"{prefix}_AverageEpLen": float(np.mean(lengths))}


def spread_scalars(prefix: str, name: str, values: np.ndarray) -> dict[str, float]:
    """Return the mean, standard deviation, maximum and minimum. As in the course, std is divided by n."""
    return {
        f"{prefix}_Average{name}": float(np.mean(values)),
        f"{prefix}_Std{name}": float(np.std(values)),
        f"{prefix}_Max{name}": float(np.max(values)),
        f"{prefix}_Min{name}": float(np.min(values)),
    }


def agreement(actor: Actor, expert: Expert, trajectories: Sequence[Trajectory], discrete: bool) -> dict[str, float]:
    """Return how well the actor agrees with the expert on the states of its rollouts.

    For discrete actions, it is the fraction of states with the same action, in all its integers. For continuous
    actions, it is the root mean square difference of the unclipped actions.
    """
    obs = np.concatenate([t.obs[:-1] for t in trajectories])
    actor.reset()  # its draws must not depend on the process that rolled out the last episode
    acs, labels = actor.get_action(obs), expert.get_action(obs)
    if discrete:
        same = np.reshape(acs == labels, (len(obs), -1)).all(axis=1)
        return {"Eval_ExpertAgreement": float(np.mean(same))}
    return {"Eval_ExpertDistance": float(np.sqrt(np.mean((acs - labels) ** 2)))}
