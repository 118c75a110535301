"""Starting and resuming a run: from a config to a finished run folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rl_il.commands import command_text
from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import named_run
from rl_il.infrastructure.dagger import Rule
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.folders import AnyConfig, is_finished, make_run_folder, read_config, read_record
from rl_il.runs.given import Given
from rl_il.runs.inputs import (
    Input,
    changed_files,
    changed_inputs,
    changed_settings,
    check_unchanged,
    located,
    read_inputs,
    recorded_start,
    with_accepted,
)
from rl_il.runs.parts import gather_inputs

if TYPE_CHECKING:  # it imports torch: a mistake in the arguments is reported without it
    from rl_il.policies.mlp_policy import MLPPolicySL
    from rl_il.runs.training import Parts, RunResult


@dataclass(frozen=True)
class Kind:
    """A kind of runs: how what it needs is read, and how its parts are made.

    Attributes:
      command: the script that makes such runs.
      gather: takes the config, the given objects and whether to print; a context manager of the `Inputs`.
      build: takes the config, the inputs, whether to print and the given policy; returns the `Parts`.
      read_inputs: takes the config, the demonstrations and the config as the user wrote it; returns what is read.
    """

    command: str
    gather: Callable[..., Any]
    build: Callable[..., Parts]
    read_inputs: Callable[..., list[Input]]


def _build(*settings: Any) -> Parts:
    from rl_il.runs.training import build

    return build(*settings)


CLONING = Kind("run_hw1", gather_inputs, _build, read_inputs)
"""Behavioural cloning and DAgger."""


def run(
    config: AnyConfig,
    command_line: Sequence[str] = (),
    verbose: bool = True,
    expert_episodes: EpisodeStatistics | None = None,
    keep_data: bool = True,
    env: gym.Env | None = None,
    expert: Any = None,
    policy: MLPPolicySL | None = None,
    rule: Rule | None = None,
    kind: Kind = CLONING,
) -> RunResult:
    """Run behavioural cloning or DAgger, or another kind of run, in a new run folder, and return the result.

    Everything that the user gave is read and checked before the folder is made.

    Args:
      config: the run.
      command_line: the command that started it; kept in config.json.
      verbose: whether to print.
      expert_episodes: the numbers of the expert's episodes for this seed, if they were measured already.
      keep_data: whether to keep the data of each iteration in the folder.
      env, expert, policy, rule: objects to use instead of those that the config names. The environment is not closed,
        and the policy is trained from its present weights. The expert may be a function or an object, as in
        `own_actor`. If no command could make an object again, the run can be continued only from
        Python, with `resume(folder, env=env, ...)`.
      kind: the kind of run that the config describes.

    Raises:
      InputError: something in the config does not exist or does not fit, or the run cannot continue.
      Interrupted: after Ctrl-C or SIGTERM. `resume` can continue the run from its folder.
    """
    if config.expert_policy_file:  # so that `latest` names the same run when this one is resumed
        config = replace(config, expert_policy_file=named_run(config.expert_policy_file))
    given = Given(env, expert, policy, rule)
    config = given.name_in(config)
    with kind.gather(config, given, verbose) as inputs:
        from rl_il.runs.run_folder import RunFolder
        from rl_il.runs.summary import describe_run
        from rl_il.runs.training import train_in_folder

        parts = kind.build(config, inputs, verbose, policy)
        read = kind.read_inputs(config, parts.trainer.demonstrations, config)
        description = describe_run(config, parts.trainer, parts.evaluator.n_episodes, command_line, read)
        folder = RunFolder(make_run_folder(config), config, keep_data, inputs.env)
        with lock_folder(folder.path):
            folder.begin(description)
            if verbose:
                device = parts.trainer.policy.device
                steps = (
                    ("captured" if device.type == "cuda" else "compiled") if parts.trainer.fit.compiles else "eager"
                )
                print(f"run folder: {folder.path} (training on {device}, {steps} gradient steps)", flush=True)
            return train_in_folder(parts, folder, expert_episodes)


def resume(
    folder: Path,
    num_workers: int = 1,
    verbose: bool = True,
    keep_data: bool = True,
    env: gym.Env | None = None,
    expert: Any = None,
    policy: MLPPolicySL | None = None,
    rule: Rule | None = None,
    torch_threads: int | None = None,
    accept_changes: bool = False,
    kind: Kind = CLONING,
) -> RunResult | None:
    """Continue a run that was stopped or killed, and return the result that it would have had without the stop.

    Return None if the run is already finished. Raise `InputError` if it is still running or cannot be read, or if
    settings or files that it reads were changed, and `Interrupted` as for `run`.

    Args:
      folder: the run's folder, or `latest` for the newest run folder.
      num_workers: the number of processes that roll out from now on.
      verbose: whether to print.
      keep_data, env, expert, policy, rule: as for `run`.
      torch_threads: the run's number. Another one changes the result, as a changed setting.
      accept_changes: whether to continue with changed settings and files. config.json then lists the changes.
      kind: the kind of run that the folder must hold.
    """
    given = Given(env, expert, policy, rule)
    folder = Path(named_run(str(folder)))
    config = replace(read_config(folder), num_workers=num_workers)
    if config.command != kind.command:
        raise InputError(
            f"{folder}: is a run of {config.command}.py; continue it with {command_text(config.command)}"
        )
    config = replace(config, torch_threads=torch_threads or config.torch_threads)
    with lock_folder(folder):
        if is_finished(folder):
            _tidy_up(folder, config, keep_data)
            if verbose:
                print(f"{folder}: this run is already finished")
            return None
        given.check_same(config)
        record = read_record(folder)
        before, recorded, edits = recorded_start(folder, record)
        settings = [*edits, *changed_settings(before, config)]
        check_unchanged(folder, [*settings, *changed_files(recorded, config)], accept_changes)
        if verbose and "inputs" not in record:
            print(f"note: {folder} is of an earlier version, which compares only the demonstrations", file=sys.stderr)
        found_here = located(config, recorded)
        with kind.gather(found_here, given, verbose) as inputs:
            from rl_il.runs.run_folder import RunFolder
            from rl_il.runs.training import train_in_folder

            parts = kind.build(config, inputs, verbose, policy)
            read = kind.read_inputs(found_here, parts.trainer.demonstrations, config)
            changes = [*settings, *changed_inputs(recorded, read)]
            check_unchanged(folder, changes, accept_changes)
            run_folder = RunFolder(folder, config, keep_data, inputs.env)
            try:
                found = run_folder.restore(parts.trainer, parts.watch)
            except Exception as error:  # of torch or of the user's rule, which have other shapes than the checkpoint
                if not settings:
                    raise
                raise InputError(
                    f"{folder}: the checkpoint does not fit: {', '.join(settings)}; undo this"
                ) from error
            parts.trainer.fit.must_compile &= not accept_changes
            if changes:
                run_folder.begin(with_accepted(record, config, read, changes, parts.trainer.gradient_steps))
            if verbose:
                where = f"resumed after gradient step {parts.trainer.steps_done:,} of iteration {parts.trainer.itr}"
                print(f"run folder: {folder} ({where if found else 'nothing was saved yet, so it starts again'})")
            return train_in_folder(parts, run_folder, run_folder.expert if found else None)


def _tidy_up(folder: Path, config: RunConfig, keep_data: bool) -> None:
    """Remove the checkpoint that is left if a process is killed just after it wrote the summary."""
    from rl_il.runs.run_folder import RunFolder

    RunFolder(folder, config, keep_data).tidy_up()
