"""From a config to a finished run folder."""

from __future__ import annotations

import itertools
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.dagger import RULES
from rl_il.datasets import load_trajectories
from rl_il.datasets.odd import quick_look
from rl_il.envs import env_spec, episode_limit, is_discrete, make_env
from rl_il.errors import DivergedError, InputError, Interrupted
from rl_il.files import remove_leftovers
from rl_il.infrastructure.checkpoint import Checkpoints, lock_folder
from rl_il.infrastructure.interrupts import noted_signals
from rl_il.infrastructure.logger import Logger, is_finished, read_config
from rl_il.infrastructure.rollouts import RolloutSource, returns_and_lengths
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.trainer_state import restore
from rl_il.infrastructure.workers import rollout_source
from rl_il.policies.experts import load_expert
from rl_il.run_folder import describe_run, make_run_folder, print_summary, summarise
from rl_il.types import Expert, Trajectory, answers_live_only, reads_simulator

if TYPE_CHECKING:  # these import torch, which a mistake in the arguments should not wait for
    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.policies.mlp_policy import MLPPolicySL

LEAST_EXPERT_EPISODES = 10


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    folder: Path
    summary: dict[str, Any]  # what summary.json holds
    results: list  # an IterationResult an iteration
    expert_returns: np.ndarray  # (episodes,) of the live expert; empty without one


Episodes = tuple[np.ndarray, np.ndarray]
"""Returns and lengths of evaluation episodes, `(n,)` each."""


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

    Returns:
      the result; None if the run was finished before.

    Raises:
      InputError: it is under way, or not to be read.
      Interrupted: as for `run`.
    """
    config = replace(read_config(folder), num_workers=num_workers)
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


def find_expert(config: RunConfig, env: gym.Env) -> Expert | None:
    """The expert that was named, or the one shipped; None where a clone can do without."""
    if not (config.expert_policy_file or config.do_dagger or env_spec(config.env_name).expert):
        return None
    expert = load_expert(config.expert_policy_file, env, config.expert_activation)
    if config.vec_env == "envpool" and reads_simulator(expert):
        raise InputError(
            f"--vec_env envpool: the expert of {config.env_name} reads Gymnasium's simulator; drop the flag"
        )
    return expert


def load_demonstrations(config: RunConfig, env: gym.Env) -> list[Trajectory]:
    """The demonstrations that were named, or those shipped for the environment."""
    path = config.expert_data or env_spec(config.env_name).demos_path
    if path is None:
        by = "" if env_spec(config.env_name).expert else " --policy FILE_OF_AN_EXPERT"
        raise InputError(
            f"no demonstrations are shipped for {config.env_name}; give --expert_data FILE, or record some:"
            f" python scripts/record_demos.py --env_name {config.env_name}{by}"
        )
    return load_trajectories(path, env, config.n_demos, stream(config.seed, "demonstrations"))


def build_policy(config: RunConfig, env: gym.Env) -> MLPPolicySL:
    """A fresh policy for the environment."""
    import torch  # 1.7 s, which a mistake in the arguments should not cost

    from rl_il.infrastructure.pytorch_utils import pick_device
    from rl_il.policies.cnn_policy import picture_settings, policy_class

    pictures = picture_settings(env, config.frame_stack, config.colour, config.whole_picture)
    check_picture_flags(config, env, bool(pictures))
    torch.set_num_threads(config.torch_threads)
    names = "n_layers size activation loss learning_rate weight_decay".split()
    return policy_class(env).for_env(
        env,
        **{name: getattr(config, name) for name in names},
        **pictures,
        seed=int(stream(config.seed, "weights").integers(2**62)),
        device=pick_device("cpu" if config.no_gpu else config.device, config.which_gpu, bool(pictures)),
    )


def check_picture_flags(config: RunConfig, env: gym.Env, pictures: bool) -> None:
    """Raises `InputError` for flags that say nothing about what this environment shows."""
    if pictures and config.normalize_obs:
        raise InputError("--normalize_obs: pixels are always divided by 255; drop the flag")
    if config.augment and not pictures:
        raise InputError(f"--augment: {config.env_name} shows no pictures; drop the flag")
    if "flip_steer" in config.augmentations() and is_discrete(env.action_space):
        raise InputError(f"--augment flip_steer: {config.env_name} has no steering to mirror; drop it")


def build_trainer(
    config: RunConfig,
    env: RolloutSource,
    policy: MLPPolicySL,
    demonstrations: list[Trajectory],
    expert: Expert | None,
    n_eval_episodes: int,
    verbose: bool,
) -> RLTrainer:
    """The training loop, which does not log yet."""
    from rl_il.infrastructure.rl_trainer import RLTrainer

    return RLTrainer(
        config,
        env,
        policy,
        demonstrations,
        rule=RULES["dagger"](expert, config.beta_decay) if config.do_dagger else None,
        # The expert and the policy are compared on recorded states.
        expert=None if expert is None or answers_live_only(expert) or answers_live_only(policy) else expert,
        n_eval_episodes=n_eval_episodes,
        verbose=verbose,
    )


def count_eval_episodes(config: RunConfig, env: gym.Env) -> int:
    """Whole episodes an evaluation. The course counts steps, which favours short episodes; here its
    `eval_batch_size` buys as many episodes as it would if each were of the longest kind."""
    limit = episode_limit(env, config.ep_len)
    if limit is None:
        raise InputError(f"{config.env_name} has no time limit of its own; give one with --ep_len")
    return config.eval_episodes or math.ceil(config.eval_batch_size / limit)


NO_EPISODES: Episodes = (np.empty(0), np.empty(0, int))


def measure_expert(trainer: RLTrainer, expert: Expert | None) -> Episodes:
    """The live expert on fresh episodes: stored scores come from other versions of the physics."""
    if expert is None:
        return NO_EPISODES
    with trainer.clock.phase("expert"):
        n = count_expert_episodes(trainer.n_eval_episodes)
        return returns_and_lengths(list(trainer.roll_out(expert, "expert", 0, n)))


def count_expert_episodes(n_eval_episodes: int) -> int:
    """Episodes on which the expert is measured: as many as the learner, and ten at least."""
    return max(n_eval_episodes, LEAST_EXPERT_EPISODES)
