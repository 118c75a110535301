"""From a config to a finished run folder."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.datasets.odd import quick_look
from rl_il.envs import make_env
from rl_il.errors import DivergedError, InputError, Interrupted
from rl_il.files import remove_leftovers
from rl_il.infrastructure.checkpoint import Checkpoints, lock_folder
from rl_il.infrastructure.interrupts import noted_signals
from rl_il.infrastructure.logger import Logger, is_finished, read_config
from rl_il.infrastructure.trainer_state import restore
from rl_il.infrastructure.workers import rollout_source
from rl_il.run_folder import describe_run, make_run_folder, print_summary, summarise
from rl_il.run_parts import (
    NO_EPISODES,
    Episodes,
    build_policy,
    build_trainer,
    count_eval_episodes,
    find_expert,
    load_demonstrations,
    measure_expert,
)
from rl_il.types import Expert, Trajectory

if TYPE_CHECKING:  # these import torch, which a mistake in the arguments should not wait for
    from rl_il.infrastructure.rl_trainer import RLTrainer


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    folder: Path
    summary: dict[str, Any]  # what summary.json holds
    results: list  # an IterationResult an iteration
    expert_returns: np.ndarray  # (episodes,) of the live expert; empty without one


def run(
    config: RunConfig,
    command_line: Sequence[str] = (),
    verbose: bool = True,
    expert_episodes: Episodes | None = None,
) -> RunResult:
    """Runs behavioural cloning or DAgger and leaves a run folder.

    Everything the user gave is read and checked before the folder is made.

    Args:
      config: the run.
      command_line: how it was asked for; kept in config.json.
      verbose: whether to print.
      expert_episodes: what `measure_expert` measured for this seed, if that was done already.

    Raises:
      InputError: something in the config does not exist or does not fit, or the run cannot go on.
      Interrupted: Ctrl-C or SIGTERM; the folder holds what `resume` goes on from.
    """
    with prepare(config, verbose) as (trainer, expert):
        folder = make_run_folder(config)
        with lock_folder(folder):
            begin_folder(folder, config, trainer, command_line)
            return train_in_folder(trainer, expert, expert_episodes)


def resume(folder: Path, num_workers: int = 1, verbose: bool = True) -> RunResult | None:
    """Goes on with a run that was stopped or killed, to the very result that it would have had.

    Args:
      folder: the run's.
      num_workers: processes that roll out from now on. A run with `--vec_env batched` keeps its own number, which its
        result depends on.
      verbose: whether to print.

    Returns:
      the result; None if the run was finished before.

    Raises:
      InputError: it is under way, or not to be read.
      Interrupted: as for `run`.
    """
    config = read_config(folder)
    if config.vec_env != "batched":  # where the workers are a part of the result
        config = replace(config, num_workers=num_workers)
    elif num_workers not in (1, config.num_workers):
        own = config.num_workers
        raise InputError(f"{folder}: goes on with its own --num_workers {own}, which --vec_env batched depends on")
    with lock_folder(folder):
        if is_finished(folder):
            tidy_up(folder)
            if verbose:
                print(f"{folder}: this run is finished")
            return None
        with prepare(config, verbose) as (trainer, expert):
            trainer.logger, trainer.checkpoints = Logger(folder), Checkpoints(folder)
            go_on_from_checkpoint(trainer)
            return train_in_folder(trainer, expert, None)


def train_in_folder(trainer: RLTrainer, expert: Expert | None, expert_episodes: Episodes | None) -> RunResult:
    """Measures the expert, trains, and writes the summary; where something stops it, says how to go on."""
    folder = trainer.logger.folder
    episodes, stopped = expert_episodes or NO_EPISODES, None
    with noted_signals() as trainer.check_signals:
        try:
            if trainer.resumed:
                episodes = trainer.logger.episodes("expert", 0)
            else:
                episodes = expert_episodes or measure_expert(trainer, expert)
                trainer.logger.log_episodes("expert", 0, *episodes)
            trainer.run_training_loop()
        except KeyboardInterrupt as interruption:
            stopped = interruption
            trainer.save_interrupted(getattr(interruption, "between_steps", False))
        except DivergedError:  # to go on would end there again
            raise
        except InputError as error:
            raise InputError(f"{error}{_how_to_go_on(trainer)}") from error
        finally:
            trainer.logger.close()
        result = finish_folder(trainer, episodes, "interrupted" if stopped else "finished")
    if stopped:
        how = f"interrupted; to go on: python scripts/run_hw1.py --resume {folder}"
        raise Interrupted(how, getattr(stopped, "signal_number", signal.SIGINT))
    tidy_up(folder)
    if trainer.verbose:
        print_summary(result.summary)
    return result


def tidy_up(folder: Path) -> None:
    """Removes what a finished run has no use for, and what it was writing when it was killed."""
    Checkpoints(folder).clear()
    remove_leftovers(folder)


def go_on_from_checkpoint(trainer: RLTrainer) -> None:
    """Puts the trainer where the run in its folder was stopped."""
    remove_leftovers(trainer.logger.folder)
    saved = load_checkpoint(trainer)
    if saved is None:
        trainer.logger.start_again()
        where = "nothing was saved yet: from its beginning"
    else:
        restore(trainer, *saved)
        where = f"going on after gradient step {trainer.fitting.steps_done:,} of iteration {trainer.first_itr}"
    if trainer.verbose:
        print(f"run folder: {trainer.logger.folder} ({where})", flush=True)


def load_checkpoint(trainer: RLTrainer) -> tuple[dict[str, Any], list[list[Trajectory]]] | None:
    """The last state and the data of the run in its folder, if there are any."""
    with closing(make_env(trainer.config.env_name)) as env:
        return trainer.checkpoints.load(env)


def _how_to_go_on(trainer: RLTrainer) -> str:
    """Behind the message of an error in the middle of a run."""
    if not trainer.checkpoints.exist():
        return ""
    return (
        f" (there is a checkpoint of iteration {trainer.checkpoints.saved_itr}; once the cause is mended, go on with"
        f" python scripts/run_hw1.py --resume {trainer.logger.folder})"
    )


@contextmanager
def prepare(config: RunConfig, verbose: bool) -> Iterator[tuple[RLTrainer, Expert | None]]:
    """The training loop with its parts in place, and the expert; no folder is made yet."""
    start = time.perf_counter()
    env = make_env(config.env_name)
    expert = find_expert(config, env)
    demonstrations = load_demonstrations(config, env)
    n_eval_episodes = count_eval_episodes(config, env)
    if verbose:
        print(quick_look(demonstrations, env), flush=True)
    # Workers start up while this process imports torch.
    with rollout_source(config.env_name, env, config.num_workers, config.vec_env) as source:
        policy = build_policy(config, env)
        trainer = build_trainer(config, source, policy, demonstrations, expert, n_eval_episodes, verbose)
        del demonstrations  # the trainer forgets them too, once they are in its buffer
        trainer.clock.seconds["startup"] = time.perf_counter() - start
        yield trainer, expert


def begin_folder(folder: Path, config: RunConfig, trainer: RLTrainer, command_line: Sequence[str]) -> None:
    """Gives the trainer what writes into its new folder, and writes config.json."""
    trainer.logger, trainer.checkpoints = Logger(folder), Checkpoints(folder)
    trainer.logger.write_config(describe_run(config, trainer, command_line))
    if trainer.verbose:
        steps = "compiled" if trainer.fitting.compiles else "eager"
        where = f"training on {trainer.policy.device}, {steps} gradient steps"
        print(f"run folder: {trainer.logger.folder} ({where})", flush=True)


def finish_folder(trainer: RLTrainer, expert_episodes: Episodes, status: str) -> RunResult:
    """Writes summary.json, which marks the folder as whole."""
    trainer.clock.seconds["total"] = trainer.clock.seconds["startup"] + trainer.clock.elapsed()
    summary = summarise(trainer, expert_episodes[0]) | {"status": status}
    trainer.logger.write_summary(summary)
    return RunResult(trainer.logger.folder, summary, trainer.results, expert_episodes[0])
