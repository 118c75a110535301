"""The parts of a run, made from its config: expert, demonstrations, policy, and numbers of episodes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym

from rl_il.commands import command_text
from rl_il.config import ENV, RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.odd import quick_look
from rl_il.datasets.writing import read_meta_of
from rl_il.envs import (
    env_of,
    env_row,
    episode_limit,
    is_discrete,
    prepare_env,
)
from rl_il.errors import InputError, describe
from rl_il.experts.loading import load_expert
from rl_il.experts.own import own_actor
from rl_il.infrastructure.dagger import Rule
from rl_il.infrastructure.rollouts import RolloutSource
from rl_il.infrastructure.workers import rollout_source
from rl_il.limits import check_memory, memory_here
from rl_il.plugins import AUGMENTATIONS, RULES, find
from rl_il.runs.given import NOTHING_GIVEN, Given
from rl_il.runs.trackers import check_tracker
from rl_il.seeding import stream
from rl_il.types import Expert, Trajectory

if TYPE_CHECKING:  # it imports torch: a mistake in the arguments is reported without it
    from rl_il.policies.mlp_policy import MLPPolicySL


@dataclass
class Inputs:
    """The inputs of a run, read and checked."""

    env: gym.Env
    source: RolloutSource  # the environment itself, or worker processes
    expert: Expert | None
    demonstrations: list[Trajectory]
    n_eval_episodes: int
    start: float  # `time.perf_counter()` when reading began
    rule: Rule | None = None


@contextmanager
def gather_inputs(config: RunConfig, given: Given = NOTHING_GIVEN, verbose: bool = False) -> Iterator[Inputs]:
    """Read and check everything that the user gave, start the worker processes, and yield the inputs."""
    start = time.perf_counter()
    check_tracker(config.tracker)
    env = env_of(config) if given.env is None else prepare_env(given.env)
    expert = find_expert(config, env) if given.expert is None else own_actor(given.expert, env)
    rule = find_rule(config, given) if config.do_dagger else None
    demonstrations = labelled_demonstrations(config, env)
    if expert is not None and expert.answers_recorded:
        expert.get_action(demonstrations[0].obs[0])  # so that a mistake in it is found before the folder is made
    n_eval_episodes = count_eval_episodes(config, env)
    if verbose:
        print(quick_look(demonstrations, env), flush=True)
        print(*notes_on_environments(config), sep="", end="", file=sys.stderr)
    with rollout_source(env, config.num_workers, close_env=given.env is None) as source:
        yield Inputs(env, source, expert, demonstrations, n_eval_episodes, start, rule)


def notes_on_environments(config: RunConfig) -> Iterator[str]:
    """Yield a line for demonstrations and an expert that were made in another environment than the run's."""
    meta = read_meta_of(Path(config.expert_data)) if config.expert_data else {}
    made = {name: meta[name] for name in ENV if meta.get(name)}
    if made and made != config.env_settings:
        yield f"note: {config.expert_data} was recorded in {' '.join(map(str, made.values()))}\n"
    row = env_row(config.env_name)
    included = ["demonstrations"] * (row.demos is not None and config.expert_data is None)
    included += ["expert"] * (row.expert is not None and config.expert_policy_file is None)
    if included and (config.env_kwargs or config.wrappers):
        yield f"note: {config.env_name} without --env_kwargs and --wrappers is where the included"
        yield f" {' and '.join(included)} come from\n"


def find_rule(config: RunConfig, given: Given = NOTHING_GIVEN) -> Rule:
    """Return the given rule, or the one that the config names. Raise `InputError` if it is not a `Rule`."""
    if given.rule is not None:
        return given.rule
    rule = find("rule", RULES, config.rule)
    if not (isinstance(rule, type) and issubclass(rule, Rule)):
        raise InputError(
            f"--rule {config.rule}: must be a subclass of rl_il.infrastructure.dagger.Rule, got {rule!r}"
        )
    try:
        return rule.from_config(config)
    except TypeError as error:
        raise InputError(
            f"--rule {config.rule} cannot be made: {error}; its constructor gets --rule_kwargs, and the settings"
            " named in `settings`"
        ) from error


def find_expert(config: RunConfig, env: gym.Env) -> Expert | None:
    """Return the named expert, or else the included one. Without both, behavioural cloning has None."""
    if not (config.expert_policy_file or config.do_dagger or env_row(config.env_name).expert):
        return None
    return load_expert(config.expert_policy_file, env, config.expert_activation, config.no_normalizer)


def load_demonstrations(config: RunConfig, env: gym.Env) -> list[Trajectory]:
    """Load the named demonstrations, or else those included for the environment."""
    path = config.expert_data or env_row(config.env_name).demos_path
    if path is None:
        by = "" if env_row(config.env_name).expert else " --policy FILE_OF_AN_EXPERT"
        raise InputError(
            f"no demonstrations are included for {config.env_name}; give --expert_data FILE, or record some:"
            f" {command_text('record_demos')} {config.env_flags}{by}"
        )
    options = read_options(config) if config.expert_data else ReadOptions()  # the shipped files need none
    return load_trajectories(path, env, config.n_demos, stream(config.seed, "demonstrations"), options=options)


def labelled_demonstrations(config: RunConfig, env: gym.Env) -> list[Trajectory]:
    """Return the demonstrations with the labels that the run may use.

    Raise `InputError` if there are not enough of them, or if DAgger may not ask for more.
    """
    demonstrations = load_demonstrations(config, env)
    if config.thin_demos is not None:
        from rl_il.infrastructure.validation import thin_out  # it imports torch

        demonstrations = thin_out(demonstrations, config.thin_demos)
    labels = sum(int(t.labelled_steps.sum()) for t in demonstrations)
    if config.do_dagger and config.label_budget(labels) == 0:
        raise InputError(
            f"--max_labels {config.max_labels:,} leaves none for DAgger, since the demonstrations have {labels:,}"
            " labels; raise it, or lower --n_demos or --thin_demos"
        )
    return demonstrations


def read_options(config: RunConfig) -> ReadOptions:
    """Return what the config says about the names and the layout of its demonstrations."""
    return ReadOptions(config.keys, config.obs_keys, config.split_every)


def build_policy(config: RunConfig, env: gym.Env) -> MLPPolicySL:
    """Return a new policy of the config's class for the environment."""
    # These import torch, which takes 1.7 s: a mistake in the arguments is reported without it.
    from rl_il.infrastructure.pytorch_utils import pick_device
    from rl_il.policies.base_policy import OPTIONS
    from rl_il.policies.cnn_policy import find_policy_class, picture_settings
    from rl_il.policies.ensemble import EnsemblePolicySL

    pictures = picture_settings(env, config.history, config.colour, config.whole_picture)
    check_picture_flags(config, env, bool(pictures))
    numbers = math.prod(env.observation_space.shape) * (config.history or 1)
    if pictures:  # at least: without colours
        numbers = math.prod(env.observation_space.shape) // 3 * pictures["frame_stack"]
    features = 1 if pictures or config.policy_class else numbers  # an encoder may make few of them
    check_memory(config, numbers, memory_here(), features)
    names = "n_layers size activation head modes flow_steps loss learning_rate weight_decay".split()
    policy_class = EnsemblePolicySL if config.ensemble > 1 else find_policy_class(config.policy_class, env)
    settings = {name: getattr(config, name) for name in names} | pictures
    settings |= {"history": config.history} if config.history and not pictures else {}
    settings |= {"chunk": config.chunk, "execute": config.execute} if config.chunk > 1 else {}
    ensemble = {name: getattr(config, name) for name in ("ensemble", "ensemble_minibatches")}
    settings |= ensemble if config.ensemble > 1 else {}
    settings |= {name: value for name, usual in OPTIONS.items() if (value := getattr(config, name)) != usual}
    settings["seed"] = int(stream(config.seed, "weights").integers(2**62))
    settings["device"] = pick_device("cpu" if config.no_gpu else config.device, config.which_gpu, bool(pictures))
    try:
        return policy_class.for_env(env, **settings)
    except TypeError as error:
        if config.policy_class is None:
            raise
        raise InputError(f"--policy_class {config.policy_class} cannot be made: {describe(error)}") from error


def check_picture_flags(config: RunConfig, env: gym.Env, pictures: bool) -> None:
    """Raise `InputError` if a flag does not fit the environment's observations or actions."""
    if pictures and config.normalize_obs:
        raise InputError("--normalize_obs: pixels are always divided by 255; drop the flag")
    if pictures and config.ensemble > 1:
        raise InputError(f"--ensemble {config.ensemble} takes no pictures, but {config.env_name} shows some; drop it")
    fitting = [name for name in AUGMENTATIONS if (name != "noise") == pictures]
    for name in config.augmentations():
        if name in AUGMENTATIONS and name not in fitting:
            shows = "pictures" if pictures else "no pictures"
            raise InputError(f"--augment {name}: {config.env_name} shows {shows}; take {', '.join(fitting)}")
    if "flip_steer" in config.augmentations() and is_discrete(env.action_space):
        raise InputError(f"--augment flip_steer: {config.env_name} has no steering to mirror; drop it")


def count_eval_episodes(config: RunConfig, env: gym.Env) -> int:
    """Return how many whole episodes an evaluation has, if `eval_seeds` and `eval_episodes` do not say it.

    The course rolls out until it has enough steps, which favours short episodes. Here its `eval_batch_size` is
    divided by the usual episode length of the expert, or by the time limit if that length is unknown.
    """
    limit = episode_limit(env, config.ep_len)
    if limit is None:
        raise InputError(f"{config.env_name} has no time limit that Gymnasium knows; give one with --ep_len")
    usual = min(env_row(config.env_name).expert_steps or limit, limit)
    return len(config.fixed_seeds or ()) or config.eval_episodes or math.ceil(config.eval_batch_size / usual)
