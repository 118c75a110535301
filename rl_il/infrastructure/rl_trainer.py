"""The training loop of behavioural cloning and DAgger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
from torch import Tensor

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.counting import Counts, count_collected, count_demonstrations
from rl_il.infrastructure.dagger import Rule, Teacher
from rl_il.infrastructure.gradient_steps import GradientSteps, pays
from rl_il.infrastructure.labelling import label_round
from rl_il.infrastructure.normalisation import fit_normalisation, noise_std
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import RolloutSource, begin_episodes, enough
from rl_il.infrastructure.validation import hold_out
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import stream
from rl_il.types import Trajectory


@dataclass(frozen=True)
class Block:
    """A block of gradient steps, with the counts of the training after it."""

    itr: int
    steps: int  # of the iteration so far
    ends_iteration: bool
    evaluate: bool  # whether an evaluation is due after it
    last_iteration: bool  # whether no iteration follows
    gradient_steps: int  # of the run so far
    counts: Counts  # of the run so far
    losses: np.ndarray  # (n,) loss before each gradient step of the block
    trajectories: Sequence[Trajectory] = ()  # the iteration's data if this is its first block, else empty
    scalars: dict[str, float] = field(default_factory=dict)  # what else the trainer measured in the iteration

    @property
    def ends_run(self) -> bool:
        """Return whether it is the last block of the run."""
        return self.last_iteration and self.ends_iteration


class RLTrainer:
    """A training: behavioural cloning in iteration 0, and DAgger in all later iterations.

    Args:
      config: the settings of the run.
      env: an environment, or worker processes with one environment each.
      policy: the policy to train.
      demonstrations: the data of iteration 0.
      rule: decides who acts and which states get a label. Only DAgger needs it.
      teacher: the expert or person that the rule asks. Only DAgger needs it.
      watch: a function `watch(items, kind, itr, total, done)` that returns the items of slow work. It can show the
        progress and measure time.
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
            raise ValueError(f"config.do_dagger needs a rule and a teacher, got {rule} and {teacher}")
        self.config, self.env, self.policy, self.demonstrations = config, env, policy, demonstrations
        self.rule, self.teacher, self.watch = rule, teacher, watch
        storage = (config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view, policy.to_labels)
        self.buffer, self.validation = (ReplayBuffer(*storage, policy.chunk, config.pad_chunks) for _ in range(2))
        compiles = pays(config, policy, sum(int(t.labelled_steps.sum()) for t in demonstrations))
        fit_normalisation(config, policy, demonstrations)
        self.fit = GradientSteps(config, policy, self.buffer, compiles, noise_std(config, policy, demonstrations))
        self.itr = self.steps_done = 0  # the iteration, and the number of its gradient steps so far
        self.gradient_steps, self.counts = 0, Counts()

    def run_training_loop(self) -> list[Block]:
        """Train to the end, and return all blocks."""
        return list(self.blocks())

    def blocks(self) -> Iterator[Block]:
        """Train, and yield after each block of gradient steps. A run is evaluated, saved and stopped only there."""
        while self.steps_done or self.itr == 0 or not self.is_last(self.itr - 1):
            itr, trajectories = self.itr, ()
            if self.steps_done == 0:
                trajectories = self.demonstrations if itr == 0 else self.collect(itr)
                self.add(itr, trajectories)
            for minibatches, total in self.remaining_blocks(itr):
                yield self.train(itr, minibatches, total, trajectories)
                trajectories = ()

    def collect(self, itr: int) -> list[Trajectory]:
        """Return new episodes. The rule decides who acts in them and which of their states get a label."""
        learner = self.policy.actor()
        self.rule.begin_round(learner, self.buffer, itr)
        config, rng = self.config, stream(self.config.seed, "collection", itr)
        ask = {"n": config.batch_episodes, "rule": self.rule, "teacher": self.teacher}
        episodes = begin_episodes(self.env, learner, rng, config.ep_len, **ask)
        trajectories = enough(self.watch(episodes, "collect", itr), config.batch_size, config.batch_episodes)
        episodes.close()  # worker processes have started more of them
        rng, budget = stream(config.seed, "selection", itr), config.label_budget(self.counts.expert_labels)
        return label_round(trajectories, self.rule, self.teacher, rng, budget, self.policy.chunk)

    def add(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Add the labelled steps to the buffer, except those that are held out for validation."""
        self.counts += count_collected(trajectories) if itr else count_demonstrations(trajectories)
        if self.config.val_fraction > 0:
            rng, fraction = stream(self.config.seed, "validation", itr), self.config.val_fraction
            trajectories, held = hold_out(trajectories, fraction, rng, whole_ends=self.buffer.has_windows)
            self.validation.add(held)
        self.buffer.add(trajectories)
        self.demonstrations = ()  # they are in the buffer now, and pictures need much memory
        if len(self.buffer) == 0:
            wanted = f"{self.policy.chunk} labelled steps in a row to train on; lower --chunk or --val_fraction"
            raise InputError(f"there are no {wanted}, or give other --expert_data")

    def remaining_blocks(self, itr: int) -> Iterator[tuple[list[Tensor], int]]:
        """Yield the minibatches of each block, as row numbers, and the number of minibatches in the iteration."""
        config, rng = self.config, stream(self.config.seed, "training", itr)
        total, rows = config.steps_per_iteration(len(self.buffer)), config.train_batch_size
        minibatches = self.buffer.minibatches(rows, rng, total, config.n_epochs, self.policy.minibatches)
        minibatches, done = islice(minibatches, self.steps_done, None), self.steps_done
        while done < total:
            end = config.block_end(done, total)
            yield list(islice(minibatches, end - done)), total
            done = end

    def train(
        self, itr: int, minibatches: Sequence[Tensor], total: int, trajectories: Sequence[Trajectory] = ()
    ) -> Block:
        """Make a gradient step on each minibatch, and return the block. The iteration has `total` steps."""
        losses = self.fit(self.watch(minibatches, "train", itr, total, self.steps_done), itr, self.steps_done)
        steps, self.gradient_steps = self.steps_done + len(losses), self.gradient_steps + len(losses)
        self.itr, self.steps_done = (itr + 1, 0) if steps == total else (itr, steps)
        due = steps in self.config.evaluation_steps(total)
        return Block(
            itr, steps, steps == total, due, self.is_last(itr), self.gradient_steps, self.counts, losses, trajectories
        )

    def is_last(self, itr: int) -> bool:
        """Return whether no iteration follows: it is the last of all, or has used up `max_labels`."""
        return itr == self.config.n_iter - 1 or (itr > 0 and self.config.label_budget(self.counts.expert_labels) == 0)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to continue, without the data of the iterations so far."""
        state = {name: getattr(self, name) for name in ("itr", "steps_done", "gradient_steps")}
        return state | {name: part.state_dict() for name, part in _parts(self).items()}

    def load_state_dict(self, state: dict[str, Any], collected: Iterable[Sequence[Trajectory]]) -> None:
        """Restore the state that `state_dict` returned. `collected` has the data of each iteration from 1 on."""
        for itr, trajectories in enumerate(chain([self.demonstrations], collected)):
            self.add(itr, trajectories)
        for name, part in _parts(self).items():
            part.load_state_dict(state.get(name, {}))  # older runs lack some of them
        self.itr, self.steps_done, self.gradient_steps = state["itr"], state["steps_done"], state["gradient_steps"]


def _parts(trainer: RLTrainer) -> dict[str, Any]:
    """Return the parts of a trainer that have a state, by their names in a checkpoint."""
    policy, rule = trainer.policy, trainer.rule or Rule()
    return {"policy": policy, "optimizer": policy.optimizer, "rule": rule, "fit": trainer.fit}
