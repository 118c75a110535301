"""Starting and resuming a run: from a config to a finished run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import named_run
from rl_il.infrastructure.dagger import Rule
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.plugins import is_own
from rl_il.runs.checkpoint import check_unchanged, checksum_of, lock_folder
from rl_il.runs.folders import is_finished, make_run_folder, read_config, read_record
from rl_il.runs.given import Given
from rl_il.runs.parts import gather_inputs

if TYPE_CHECKING:  # it imports torch: a mistake in the arguments is reported without it
    from rl_il.policies.mlp_policy import MLPPolicySL
    from rl_il.runs.training import RunResult


def run(
    config: RunConfig,
    command_line: Sequence[str] = (),
    verbose: bool = True,
    expert_episodes: EpisodeStatistics | None = None,
    keep_data: bool = True,
    env: gym.Env | None = None,
    expert: Any = None,
    policy: MLPPolicySL | None = None,
    rule: Rule | None = None,
) -> RunResult:
    """Run behavioural cloning or DAgger in a new run folder, and return the result.

    Everything that the user gave is read and checked before the folder is made.

    Args:
      config: the run.
      command_line: the command that started it; kept in config.json.
      verbose: whether to print.
      expert_episodes: the expert's returns and lengths for this seed, if they were measured already.
      keep_data: whether to keep the data of each iteration in the folder.
      env, expert, policy, rule: objects to use instead of those that the config names. The environment is not closed,
        and the policy is trained from its present weights. The expert may be a function or an object, as in
        `own_actor`. If no command could make an object again, the run can be continued only from
        Python, with `resume(folder, env=env, ...)`.

    Raises:
      InputError: something in the config does not exist or does not fit, or the run cannot continue.
      Interrupted: after Ctrl-C or SIGTERM. `resume` can continue the run from its folder.
    """
    if config.expert_policy_file:  # so that `latest` names the same run when this one is resumed
        config = replace(config, expert_policy_file=named_run(config.expert_policy_file))
    given = Given(env, expert, policy, rule)
    config = given.name_in(config)
    with gather_inputs(config, given, verbose) as inputs:
        from rl_il.runs.run_folder import RunFolder
        from rl_il.runs.summary import describe_run
        from rl_il.runs.training import build, train_in_folder

        parts = build(config, inputs, verbose, policy)
        description = describe_run(config, parts.trainer, parts.evaluator.n_episodes, command_line)
        folder = RunFolder(make_run_folder(config), config, keep_data, inputs.env)
        with lock_folder(folder.path):
            folder.begin(description)
            if verbose:
                steps = "compiled" if parts.trainer.fit.compiles else "eager"
                where = f"training on {parts.trainer.policy.device}, {steps} gradient steps"
                print(f"run folder: {folder.path} ({where})", flush=True)
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
) -> RunResult | None:
    """Continue a run that was stopped or killed, and return the result that it would have had without the stop.

    Return None if the run is already finished. Raise `InputError` if it is still running or cannot be read, and
    `Interrupted` as for `run`.

    Args:
      folder: the run's folder, or `latest` for the newest run folder.
      num_workers: the number of processes that roll out from now on.
      verbose: whether to print.
      keep_data, env, expert, policy, rule: as for `run`.
    """
    given = Given(env, expert, policy, rule)
    folder = Path(named_run(str(folder)))
    config = replace(read_config(folder), num_workers=num_workers)
    with lock_folder(folder):
        if is_finished(folder):
            _tidy_up(folder, config, keep_data)
            if verbose:
                print(f"{folder}: this run is already finished")
            return None
        given.check_same(config)
        recorded = _recorded_demonstrations(folder)
        if not is_own(recorded["file"]):
            check_unchanged(Path(recorded["file"]), recorded["sha256"])
        with gather_inputs(config, given, verbose) as inputs:
            if is_own(recorded["file"]) and checksum_of(inputs.demonstrations) != recorded["sha256"]:
                raise InputError(
                    f"{recorded['file']}: returned other demonstrations than when the run was started; let it return"
                    " the same, or start the run again"
                )
            from rl_il.runs.run_folder import RunFolder
            from rl_il.runs.training import build, train_in_folder

            parts = build(config, inputs, verbose, policy)
            run_folder = RunFolder(folder, config, keep_data, inputs.env)
            found = run_folder.restore(parts.trainer, parts.watch)
            if verbose:
                where = f"resumed after gradient step {parts.trainer.steps_done:,} of iteration {parts.trainer.itr}"
                print(f"run folder: {folder} ({where if found else 'nothing was saved yet, so it starts again'})")
            return train_in_folder(parts, run_folder, run_folder.expert if found else None)


def _recorded_demonstrations(folder: Path) -> dict[str, str]:
    """Return the file of the demonstrations that the run started with, and its checksum."""
    try:
        recorded = read_record(folder)["data"]["demonstrations"]
        return {"file": str(recorded["file"]), "sha256": recorded["sha256"]}
    except (LookupError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: names no demonstrations; start the run again") from error


def _tidy_up(folder: Path, config: RunConfig, keep_data: bool) -> None:
    """Remove the checkpoint that is left if a process is killed just after it wrote the summary."""
    from rl_il.runs.run_folder import RunFolder

    RunFolder(folder, config, keep_data).tidy_up()
