"""Clonings of several lengths as one training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl_il.config import RunConfig
from rl_il.experiment import RunResult, begin_folder, finish_folder, load_checkpoint, prepare, tidy_up
from rl_il.infrastructure.trainer_state import restore
from rl_il.run_parts import Episodes, measure_expert

if TYPE_CHECKING:  # it imports torch
    from rl_il.infrastructure.rl_trainer import RLTrainer


def run_lengths(configs: Sequence[RunConfig], expert_episodes: Episodes | None = None) -> Iterator[RunResult]:
    """Clonings that differ in their length alone: one training, which is evaluated at each length on the way.

    Each leaves the run folder that `run` would, but for the times. The training is the longest one's: its checkpoint
    lies in that folder, and what was stopped goes on from there.

    Args:
      configs: in order of `num_agent_train_steps_per_iter` or `n_epochs`; all eager, or all compiled. Each names its
        folder, which is new, but for the longest one's.
      expert_episodes: as for `run`.
    """
    with prepare(configs[-1], verbose=False) as (trainer, expert):
        episodes, loggers = expert_episodes or measure_expert(trainer, expert), []
        for config in configs:
            begin_folder(Path(config.logdir), config, trainer, ())
            trainer.logger.log_episodes("expert", 0, *episodes)
            loggers.append(trainer.logger)
        begin_lengths(trainer, configs[0])
        minibatches, _ = trainer.minibatches(0)
        minibatches = itertools.islice(minibatches, trainer.fitting.steps_done, None)
        for trainer.config, trainer.logger in zip(configs, loggers, strict=True):
            _, steps = trainer.minibatches(0)
            training = trainer.fit(0, minibatches, steps - trainer.fitting.steps_done)
            trainer.write_checkpoint()
            trainer.results = [trainer.evaluate(0, training | trainer.describe_data(0, trainer.demonstrations))]
            trainer.save(0)
            trainer.fitting.steps_done = steps
            trainer.logger.close()
            yield finish_folder(trainer, episodes, "finished")
        tidy_up(trainer.logger.folder)


def begin_lengths(trainer: RLTrainer, shortest: RunConfig) -> None:
    """Fills the buffer, and goes on from a checkpoint unless that is beyond the shortest one's end."""
    saved, longest = load_checkpoint(trainer), trainer.config
    if saved:
        trainer.demonstrations = saved[1][0]
    trainer.normalize()
    trainer.store(0, trainer.demonstrations)
    trainer.config = shortest
    _, steps = trainer.minibatches(0)
    trainer.config = longest
    if saved and saved[0]["steps_done"] <= steps:
        restore(trainer, *saved)
    else:
        trainer.logger.start_again()
