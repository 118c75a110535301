"""The checks of a run's settings: choices, ranges of numbers, and settings that contradict each other."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

from rl_il.errors import InputError
from rl_il.limits import LIMITS, check_counts, check_memory, check_rollout_memory
from rl_il.options import check_choices
from rl_il.plugins import AUGMENTATIONS, POLICIES, check_name, is_own

COMPILE = "RL_IL_COMPILE"  # the environment variable with the user's default of `compile`
POSITIVE = "num_agent_train_steps_per_iter batch_size batch_episodes train_batch_size max_replay_buffer_size size"
POSITIVE += " learning_rate eval_batch_size num_workers torch_threads ep_len n_demos n_epochs eval_episodes"
POSITIVE += " split_every history chunk execute modes flow_steps augment_noise ensemble"
POSITIVE += " labels_per_iter max_labels thin_demos log_interval"
NOT_NEGATIVE = "n_layers weight_decay seed which_gpu"
FINITE = "learning_rate weight_decay augment_noise"
FRACTIONS = "val_fraction dropout"
OTHERS = [name for name in POLICIES if name != "EnsemblePolicySL"]  # the policy classes of one network
FREQUENCIES = {"video_log_freq": "no videos", "scalar_log_freq": "only the last iteration"}
"""What -1 means for each."""

# Settings of `FinetuneConfig`.
TUNING_POSITIVE = (
    "total_timesteps n_envs n_steps n_epochs learning_rate eval_every clip_range kl_until ep_len reward_scale"
)
TUNING_POSITIVE += " temperature eval_batch_size eval_episodes num_workers torch_threads"
TUNING_NOT_NEGATIVE = "critic_warmup kl_to_clone ent_coef seed"
TUNING_FINITE = "learning_rate kl_to_clone ent_coef clip_range reward_scale temperature"


def check_settings(config: Any) -> None:
    """Raise `InputError` if a setting of a `RunConfig` has no value that it may have, or contradicts another one."""
    _check_iterations(config)
    _check_choices(config)
    _check_ranges(config)
    check_counts(config)
    check_memory(config)
    _check_evaluations(config)
    _check_contradictions(config)
    _check_ensemble(config)
    _check_chunks(config)


def _check_iterations(config: Any) -> None:
    if config.n_iter < 1:
        raise InputError(f"--n_iter must be 1 or more, got {config.n_iter}")
    if config.do_dagger and config.n_iter == 1:
        raise InputError(
            "--do_dagger needs at least two iterations, since the first is behavioural cloning; give --n_iter 2 or"
            " more"
        )
    if not config.do_dagger and config.n_iter > 1:
        raise InputError(
            f"behavioural cloning has one iteration (--n_iter 1), got {config.n_iter}; add --do_dagger for more"
        )


def _check_choices(config: Any) -> None:
    if config.compile == os.environ.get(COMPILE) and config.compile not in ("auto", "on", "off"):
        raise InputError(f"the environment variable {COMPILE} must be auto, on or off, got {config.compile!r}")
    check_choices(config)
    for name in config.augmentations():
        check_name("--augment", AUGMENTATIONS, name)


def _check_ranges(config: Any) -> None:
    _check_each(config, POSITIVE, lambda value: value > 0, "above 0")
    _check_each(config, NOT_NEGATIVE, lambda value: value >= 0, "0 or more")
    _check_each(config, FINITE, math.isfinite, "finite")
    _check_each(config, FRACTIONS, lambda value: 0 <= value < 1, "0 or more and less than 1")
    _check_each(config, "beta_decay", lambda value: 0 <= value <= 1, "between 0 and 1")
    _check_frequencies(config)


def _check_each(config: Any, names: str, fits: Callable[[Any], bool], must: str) -> None:
    """Raise `InputError` if one of these settings is neither None nor fitting."""
    for name in names.split():
        value = getattr(config, name)
        if value is not None and not fits(value):
            raise InputError(f"--{name} must be {must}, got {value}")


def _check_frequencies(config: Any) -> None:
    for name, least in FREQUENCIES.items():
        _check_each(config, name, lambda value: value == -1 or value > 0, f"-1 ({least}) or above 0")


def _check_evaluations(config: Any) -> None:
    config.eval_counts()
    if config.n_epochs is None:  # else the number of gradient steps is not known yet
        config.evaluation_steps(config.num_agent_train_steps_per_iter)
    _check_seeds(config)


def _check_seeds(config: Any) -> None:
    seeds = config.fixed_seeds
    if seeds and config.eval_episodes not in (None, len(seeds)):
        raise InputError(
            f"--eval_seeds {config.eval_seeds} are {len(seeds):,} episodes, but --eval_episodes is"
            f" {config.eval_episodes}; drop one"
        )


def _check_contradictions(config: Any) -> None:
    if config.lr_schedule != "constant" and config.max_labels is not None:
        raise InputError(
            f"--lr_schedule {config.lr_schedule} ends at --n_iter iterations, but --max_labels ends the run before;"
            " drop one"
        )
    if config.device == "cuda" and config.no_gpu:
        raise InputError("--device cuda and --no_gpu contradict each other; drop one")
    for name in ("dropout", "layer_norm"):
        if getattr(config, name) and config.n_layers == 0 and config.policy_class is None:
            raise InputError(f"--{name} has no effect without hidden layers (--n_layers 0); drop one")
    usual = {item.name: item.default for item in dataclasses.fields(config)}
    if config.augment_noise != usual["augment_noise"] and "noise" not in config.augmentations():
        raise InputError("--augment_noise has no effect without --augment noise; add that, or drop it")


def _check_ensemble(config: Any) -> None:
    if config.ensemble > 1 and (is_own(config.policy_class) or config.policy_class in OTHERS):
        raise InputError(
            f"--ensemble {config.ensemble} has its own policy class, EnsemblePolicySL, but --policy_class is"
            f" {config.policy_class}; drop one"
        )
    if config.ensemble == 1 and config.ensemble_minibatches != "own":
        raise InputError("--ensemble_minibatches has no effect without --ensemble; give --ensemble 5, or drop it")


def _check_chunks(config: Any) -> None:
    if config.execute is not None and config.execute > config.chunk:
        raise InputError(f"--execute must be at most --chunk {config.chunk}, got {config.execute}")
    if config.chunk > config.max_replay_buffer_size:
        raise InputError(
            f"--max_replay_buffer_size must be at least --chunk {config.chunk}, got {config.max_replay_buffer_size}"
        )
    if config.labels_per_iter is not None and config.labels_per_iter < config.chunk:
        raise InputError(
            f"--labels_per_iter must be at least --chunk {config.chunk}, the labels of one state, got"
            f" {config.labels_per_iter}"
        )
    if config.thin_demos is not None and config.chunk > 1:
        raise InputError("--thin_demos leaves no successive labels for --chunk; drop one")


def check_finetuning(config: Any) -> None:
    """Raise `InputError` if a setting of a `FinetuneConfig` has no value that it may have, or contradicts another."""
    check_choices(config)
    _check_each(config, TUNING_POSITIVE, lambda value: value > 0, "above 0")
    _check_each(config, TUNING_NOT_NEGATIVE, lambda value: value >= 0, "0 or more")
    _check_each(config, TUNING_FINITE, math.isfinite, "finite")
    _check_each(config, "gamma gae_lambda", lambda value: 0 <= value <= 1, "between 0 and 1")
    _check_each(config, "train_batch_size", lambda value: value > 1, "above 1")
    _check_frequencies(config)
    check_counts(config)
    _check_seeds(config)
    check_rollout_memory(config)
    if config.steps_per_update % config.train_batch_size:
        raise InputError(
            f"--train_batch_size must divide --n_envs times --n_steps, {config.steps_per_update:,}, got"
            f" {config.train_batch_size:,}"
        )
    if config.n_iter > LIMITS["n_iter"][0]:
        raise InputError(f"--eval_every {config.eval_every} makes {config.n_iter:,} evaluations; raise it")
    _check_protection(config)


def _check_protection(config: Any) -> None:
    for name in ("critic_warmup", "kl_to_clone", "temperature", "expert_data") if config.from_nothing else ():
        if getattr(config, name) and (name, config.temperature) != ("temperature", 1):
            raise InputError(f"--{name} has no effect with --from_nothing, which begins without the clone; drop one")
    if config.warmup >= config.whole_timesteps:
        raise InputError(
            f"--critic_warmup {config.critic_warmup:,} leaves none of the {config.whole_timesteps:,} environment"
            " steps in which the actor is trained; lower it, or raise --total_timesteps"
        )
    if config.kl_until is not None and not config.kl_weight(0):
        raise InputError("--kl_until has no effect without --kl_to_clone; drop one")
    if config.kl_until is not None and config.kl_until <= config.warmup:
        raise InputError(
            f"--kl_until {config.kl_until:,} has no effect, since the actor is trained only after {config.warmup:,}"
            " environment steps; raise it, or lower --critic_warmup"
        )
