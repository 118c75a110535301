"""Training in a run folder: build the parts, train block by block, and write what each block produced."""

from __future__ import annotations

import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.commands import command_text
from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.errors import DivergedError, InputError, Interrupted, RemovedError, reported
from rl_il.infrastructure.dagger import ExpertTeacher
from rl_il.infrastructure.evaluation import Evaluation, Evaluator
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.replay_buffer import labels_ahead
from rl_il.infrastructure.rl_trainer import Block, RLTrainer
from rl_il.infrastructure.rollouts import NO_STATISTICS, EpisodeStatistics
from rl_il.infrastructure.validation import hold_out
from rl_il.infrastructure.workers import to_bytes
from rl_il.policies.base_policy import BasePolicy
from rl_il.runs.given import given_in, resume_call
from rl_il.runs.parts import Inputs, build_policy
from rl_il.runs.run_folder import RunFolder
from rl_il.runs.signals import GRACE, noted_signals
from rl_il.runs.summary import line_of, print_summary, summarise
from rl_il.seeding import stream
from rl_il.types import Expert


@dataclass(frozen=True)
class RunResult:
    """The result of a finished run."""

    folder: Path
    summary: dict[str, Any]  # what summary.json holds
    results: list[Evaluation]  # the rows of metrics.csv
    expert_returns: np.ndarray  # (episodes,) of the evaluated expert; empty without one


@dataclass(frozen=True)
class Parts:
    """The parts of a run."""

    config: RunConfig
    trainer: RLTrainer
    evaluator: Evaluator
    expert: Expert | None
    watch: Watch
    verbose: bool


def build(config: RunConfig, inputs: Inputs, verbose: bool, policy: BasePolicy | None = None) -> Parts:
    """Return the parts of a run; no folder is made yet. The demonstrations move from the inputs to the trainer.

    Raise `InputError` if the demonstrations are too short for the settings, or if the policy, the rule or the expert
    cannot be sent to the worker processes.
    """
    policy = policy or build_policy(config, inputs.env)
    if inputs.rule is not None:
        inputs.rule.check(config, policy.actor())
    if config.num_workers > 1:
        to_bytes((policy.actor(), inputs.rule, inputs.expert), "the policy, the rule or the expert")
    teacher = None if inputs.expert is None else ExpertTeacher(inputs.expert)
    watch = Watch(config.n_iter - 1, verbose)
    trainer = RLTrainer(config, inputs.source, policy, tuple(inputs.demonstrations), inputs.rule, teacher, watch)
    check_first_iteration(trainer)
    inputs.demonstrations.clear()  # pictures need much memory, so only the trainer's buffer keeps them
    # The evaluator compares expert and policy on recorded states, so both must be able to act on these.
    comparable = inputs.expert is not None and inputs.expert.answers_recorded and policy.answers_recorded
    expert = inputs.expert if comparable else None
    evaluator = Evaluator(config, inputs.source, inputs.n_eval_episodes, expert, trainer.validation, watch)
    watch.seconds["startup"] = time.perf_counter() - inputs.start
    return Parts(config, trainer, evaluator, inputs.expert, watch, verbose)


def check_first_iteration(trainer: RLTrainer) -> None:
    """Raise `InputError` if the demonstrations have no steps to train on, or too few for `--eval_interval`."""
    config, buffer, trajectories = trainer.config, trainer.buffer, trainer.demonstrations
    if config.val_fraction > 0:  # the same steps as the trainer
        rng = stream(config.seed, "validation", 0)
        trajectories, _ = hold_out(trajectories, config.val_fraction, rng, whole_ends=buffer.has_windows)
    rows = buffer.count_drawable(trajectories)
    if rows == 0:
        longest = 1 + max(int(labels_ahead(t.labelled_steps, len(t)).max(initial=-1)) for t in trajectories)
        if longest >= (1 if buffer.pad else buffer.chunk):
            raise InputError(
                f"--max_replay_buffer_size {buffer.max_size:,}: no chunk of labels is in the newest steps of the"
                " demonstrations, which it keeps; raise it"
            )
        held_out, or_less = "", ""
        if config.val_fraction > 0:
            held_out, or_less = f" without those of --val_fraction {config.val_fraction}", " or --val_fraction"
        raise InputError(
            f"--chunk {buffer.chunk}: training needs so many labelled steps in a row, but the demonstrations have at"
            f" most {longest:,}{held_out}; lower --chunk{or_less}, or add --pad_chunks"
        )
    config.evaluation_steps(config.steps_per_iteration(rows))


def train_in_folder(parts: Parts, folder: RunFolder, expert_episodes: EpisodeStatistics | None) -> RunResult:
    """Measure the expert, train, and write the summary. The message of an error says how to continue."""
    stopped: KeyboardInterrupt | None = None
    with noted_signals(GRACE) as check_signals:
        try:
            folder.start_tracker()
            if expert_episodes is None:
                expert_episodes = _measure_expert(parts)
            folder.log_expert(expert_episodes)
            with reported():  # the network, the loss and the rule may be the user's
                for block in parts.trainer.blocks():
                    _finish_block(parts, folder, block)
                    if not block.ends_run:
                        check_signals()
        except KeyboardInterrupt as interruption:
            stopped = interruption
            if getattr(interruption, "between_steps", False):
                folder.save_stopped(parts.trainer, parts.watch)
        except DivergedError as error:  # continuing would diverge again
            path = folder.path / "policy_last_good.pt"
            parts.trainer.policy.save(path)
            raise DivergedError(f"{error}; the last weights with finite numbers are in {path}") from None
        except RemovedError:
            raise
        except InputError as error:
            raise InputError(f"{error}{_how_to_continue(folder)}") from error
        finally:
            folder.close()
            parts.watch.close()
    result = _finish(parts, folder, "interrupted" if stopped else "finished")
    if stopped:
        how = f"interrupted; to continue: {_resume_command(folder)}"
        raise Interrupted(how, getattr(stopped, "signal_number", signal.SIGINT))
    check_signals()  # for a signal in the last block: this run is finished, but no other run may start
    return result


def _measure_expert(parts: Parts) -> EpisodeStatistics:
    if parts.expert is None:
        return NO_STATISTICS
    return parts.evaluator.measure(parts.expert)


def _finish_block(parts: Parts, folder: RunFolder, block: Block) -> None:
    """Evaluate if that is due, save, and print a line."""
    evaluation, due = None, block.last_iteration or parts.config.is_due(block.itr, parts.config.scalar_log_freq)
    if block.ends_iteration or (block.evaluate and due):
        evaluation = parts.evaluator(parts.trainer.policy, block.itr, roll_out=due)
    row = folder.save(block, evaluation, parts.trainer, parts.watch)
    if row and parts.verbose:
        measure = env_row(parts.config.env_name).measure
        print(line_of(row, block, parts.config.n_iter, parts.watch.elapsed(), measure), flush=True)


def _finish(parts: Parts, folder: RunFolder, status: str) -> RunResult:
    parts.watch.seconds["total"] = parts.watch.seconds["startup"] + parts.watch.elapsed()
    summary = summarise(folder, parts.trainer, parts.watch.seconds, status)
    folder.finish(summary)
    if status == "finished" and parts.verbose:
        print_summary(summary)
    return RunResult(folder.path, summary, folder.evaluations, folder.expert.returns)


def _how_to_continue(folder: RunFolder) -> str:
    """Return the end of an error message: how to continue."""
    kept = "there is a checkpoint; " if folder.checkpoint.exists() else ""
    return f" ({kept}when the cause is fixed, continue with {_resume_command(folder)})"


def _resume_command(folder: RunFolder) -> str:
    if given_in(folder.config):
        return resume_call(str(folder.path), folder.config)
    return f"{command_text(folder.config.command)} --resume {shlex.quote(str(folder.path))}"
