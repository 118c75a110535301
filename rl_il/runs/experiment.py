"""From a config to a finished run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import Episodes
from rl_il.runs.checkpoint import check_unchanged, lock_folder
from rl_il.runs.folders import is_finished, make_run_folder, read_config, read_record
from rl_il.runs.parts import gather_inputs

if TYPE_CHECKING:  # it imports torch, which a mistake in the arguments should not wait for
    from rl_il.runs.training import RunResult


def run(
    config: RunConfig,
    command_line: Sequence[str] = (),
    verbose: bool = True,
    expert_episodes: Episodes | None = None,
    keep_data: bool = True,
) -> RunResult:
    """Run behavioural cloning or DAgger in a new run folder, and return the result.

    Everything the user gave is read and checked before the folder is made. Raise `InputError` if something in the
    config does not exist or does not fit, or the run cannot continue, and `Interrupted` on Ctrl-C or SIGTERM; the
    folder then holds what `resume` continues from.

    Args:
      config: the run.
      command_line: the command that started it; kept in config.json.
      verbose: whether to print.
      expert_episodes: the expert's returns and lengths for this seed, if they were measured already.
      keep_data: whether the data of each round stay in the folder.
    """
    with gather_inputs(config, verbose) as inputs:
        from rl_il.runs.run_folder import RunFolder
        from rl_il.runs.summary import describe_run
        from rl_il.runs.training import build, train_in_folder

        parts = build(config, inputs, verbose)
        description = describe_run(config, parts.trainer.policy, parts.evaluator.n_episodes, command_line)
        folder = RunFolder(make_run_folder(config), config, keep_data)
        with lock_folder(folder.path):
            folder.begin(description)
            if verbose:
                steps = "compiled" if parts.trainer.fit.compiles else "eager"
                where = f"training on {parts.trainer.policy.device}, {steps} gradient steps"
                print(f"run folder: {folder.path} ({where})", flush=True)
            return train_in_folder(parts, folder, expert_episodes)


def resume(folder: Path, num_workers: int = 1, verbose: bool = True, keep_data: bool = True) -> RunResult | None:
    """Continue a run that was stopped or killed, and return the result that it would have had without the stop.

    Return None if the run was finished before. Raise `InputError` if it is under way, or cannot be read, and
    `Interrupted` as for `run`.

    Args:
      folder: the run's folder.
      num_workers: processes that roll out from now on.
      verbose: whether to print.
      keep_data: as for `run`.
    """
    config = replace(read_config(folder), num_workers=num_workers)
    with lock_folder(folder):
        if is_finished(folder):
            _tidy_up(folder, config, keep_data)
            if verbose:
                print(f"{folder}: this run is finished")
            return None
        _check_demonstrations(folder)
        with gather_inputs(config, verbose) as inputs:
            from rl_il.runs.run_folder import RunFolder
            from rl_il.runs.training import build, train_in_folder

            parts, run_folder = build(config, inputs, verbose), RunFolder(folder, config, keep_data)
            found = run_folder.restore(parts.trainer, parts.watch)
            if verbose:
                where = f"going on after gradient step {parts.trainer.steps_done:,} of iteration {parts.trainer.itr}"
                print(f"run folder: {folder} ({where if found else 'nothing was saved yet: from its beginning'})")
            return train_in_folder(parts, run_folder, run_folder.expert if found else None)


def _check_demonstrations(folder: Path) -> None:
    """Raise `InputError` where the demonstrations are not those that the run started with."""
    try:
        demonstrations = read_record(folder)["data"]["demonstrations"]
        file, expected = Path(demonstrations["file"]), demonstrations["sha256"]
    except (LookupError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: does not name the demonstrations; start it again") from error
    check_unchanged(file, expected)


def _tidy_up(folder: Path, config: RunConfig, keep_data: bool) -> None:
    """Remove what a process left that was killed between writing the summary and removing the checkpoint."""
    from rl_il.runs.run_folder import RunFolder

    RunFolder(folder, config, keep_data).tidy_up()
