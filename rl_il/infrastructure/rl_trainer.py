"""The training loop of behavioural cloning and DAgger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from torch import Tensor

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Rule, Teacher, label_round
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import RolloutSource, begin_episodes, enough
from rl_il.infrastructure.validation import hold_out
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import stream
from rl_il.types import Trajectory


@dataclass(frozen=True)
class Block:
    """What happened between two boundaries of a training."""

    itr: int
    steps: int  # gradient steps of this iteration so far
    ends_iteration: bool
    evaluate: bool  # whether an evaluation is due here
    gradient_steps: int  # of the run so far
    env_steps: int  # collected so far, without the demonstrations
    expert_labels: int  # so far, with the demonstrations
    losses: np.ndarray  # (n,) of each gradient step in the block
    trajectories: Sequence[Trajectory]  # the iteration's data, in its first block; empty in the others


class RLTrainer:
    """A training: behavioural cloning in iteration 0, DAgger in every iteration after it.

    Args:
      config: the run; the trainer reads its numbers of iterations and steps, its sizes, and its seed.
      env: an environment, or worker processes that hold one each.
      policy: what is trained.
      demonstrations: the first iteration's data.
      rule: decides who acts and which states get a label; None for behavioural cloning alone.
      teacher: whom the rule asks.
      watch: wraps slow work, `watch(items, kind, itr, total, done)`, to show progress and take the time.
    """

    def __init__(
        self,
        config: RunConfig,
        env: RolloutSource,
        policy: BasePolicy,
        demonstrations: Sequence[Trajectory],
        rule: Rule | None = None,
        teacher: Teacher | None = None,
        watch: Callable[..., Iterator] = lambda items, *_: items,
    ):
        if config.do_dagger and (rule is None or teacher is None):
            raise ValueError(f"config.do_dagger needs a rule and a teacher; got {rule} and {teacher}")
        self.config, self.env, self.policy, self.demonstrations = config, env, policy, demonstrations
        self.rule, self.teacher, self.watch = rule, teacher, watch
        storage = (config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view)
        self.buffer, self.validation = ReplayBuffer(*storage), ReplayBuffer(*storage)
        compiles = config.compiles(sum(int(t.labelled_steps.sum()) for t in demonstrations))
        compiles &= policy.compile_pays or config.compile == "on"
        self.fit = GradientSteps(config, policy, self.buffer, compiles)
        self.itr = self.steps_done = 0  # where the training stands: so many steps of this iteration are done
        self.gradient_steps = self.env_steps = self.expert_labels = 0
        if config.normalize_obs:
            policy.fit_normalization(np.concatenate([t.obs[:-1] for t in demonstrations]))

    def run_training_loop(self) -> list[Block]:
        """Train to the end."""
        return list(self.blocks())

    def blocks(self) -> Iterator[Block]:
        """Train, and yield after each block of gradient steps: the only places to evaluate, save or stop."""
        for itr in range(self.itr, self.config.n_iter):
            trajectories: Sequence[Trajectory] = ()
            if self.steps_done == 0:
                trajectories = self.demonstrations if itr == 0 else self.collect(itr)
                self.add(itr, trajectories)
            for minibatches, total in self.remaining_blocks(itr):
                yield self.train(itr, minibatches, total, trajectories)
                trajectories = ()

    def collect(self, itr: int) -> list[Trajectory]:
        """Roll out the actor that the rule chooses at each step, and label the states that it selects."""
        learner = self.policy.actor()
        self.rule.begin_round(learner, self.buffer, itr)
        config, rng = self.config, stream(self.config.seed, "collection", itr)
        ask = {"n": config.batch_episodes, "rule": self.rule, "teacher": self.teacher}
        episodes = begin_episodes(self.env, learner, rng, config.ep_len, **ask)
        trajectories = enough(self.watch(episodes, "collect", itr), config.batch_size, config.batch_episodes)
        episodes.close()  # workers have begun more of them
        rng = stream(config.seed, "selection", itr)
        return label_round(trajectories, self.rule, self.teacher, rng)

    def add(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Add the labelled steps to the buffer, less the fraction that is held out for validation."""
        self.env_steps += sum(map(len, trajectories)) if itr else 0
        self.expert_labels += sum(int(t.labelled_steps.sum()) for t in trajectories)
        if self.config.val_fraction > 0:
            rng, stacked = stream(self.config.seed, "validation", itr), self.policy.frame_stack > 1
            trajectories, held = hold_out(trajectories, self.config.val_fraction, rng, whole_ends=stacked)
            self.validation.add(held)
        self.buffer.add(trajectories)
        self.demonstrations = ()  # the buffer has them, and pictures are large
        if len(self.buffer) == 0:
            raise InputError("there are no labelled steps to train on")

    def remaining_blocks(self, itr: int) -> Iterator[tuple[list[Tensor], int]]:
        """Yield the minibatches of each block, as row numbers of the buffer, and how many the whole iteration has."""
        config, rng = self.config, stream(self.config.seed, "training", itr)
        total, rows = config.steps_per_iteration(len(self.buffer)), config.train_batch_size
        if config.n_epochs is None:
            minibatches = self.buffer.draws(rows, rng, total)
        else:
            minibatches = self.buffer.passes(rows, rng, config.n_epochs)
        minibatches, done = islice(minibatches, self.steps_done, None), self.steps_done
        while done < total:
            end = config.block_end(done, total)
            yield list(islice(minibatches, end - done)), total
            done = end

    def train(
        self, itr: int, minibatches: Sequence[Tensor], total: int, trajectories: Sequence[Trajectory] = ()
    ) -> Block:
        """Take a gradient step on each minibatch, from the weights that the policy has now."""
        watched = self.watch(minibatches, "train", itr, total, self.steps_done)
        losses = self.fit(watched, itr, self.steps_done)
        steps, self.gradient_steps = self.steps_done + len(losses), self.gradient_steps + len(losses)
        last = steps == total
        self.itr, self.steps_done = (itr + 1, 0) if last else (itr, steps)
        counts = (self.gradient_steps, self.env_steps, self.expert_labels)
        due = steps in self.config.evaluation_steps(total)
        return Block(itr, steps, last, due, *counts, losses, trajectories)

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed, with the data of the iterations so far, to continue from this boundary."""
        state = {name: getattr(self, name) for name in ("itr", "steps_done", "gradient_steps")}
        parts = {"policy": self.policy, "optimizer": self.policy.optimizer, "rule": self.rule}
        return state | {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any], collected: Iterable[Sequence[Trajectory]]) -> None:
        """Take back what `state_dict` returned; `collected` are the data of the iterations from 1 on."""
        for itr, trajectories in enumerate(chain([self.demonstrations], collected)):
            self.add(itr, trajectories)
        for name, part in (("policy", self.policy), ("optimizer", self.policy.optimizer), ("rule", self.rule)):
            if part is not None:
                part.load_state_dict(state[name])
        self.itr, self.steps_done, self.gradient_steps = state["itr"], state["steps_done"], state["gradient_steps"]
