"""Notes on flags that were given and change nothing in a run."""

from __future__ import annotations

import dataclasses

from rl_il.config import READING, RunConfig
from rl_il.options import worker_count

MAX_WORKERS_PER_CORE = 4


def flags_without_effect(config: RunConfig) -> list[str]:
    """Return a sentence for each setting that differs from its default but changes nothing in this run."""
    dagger = config.do_dagger
    cases = (
        (not config.expert_data, " ".join(READING), "without --expert_data"),
        (
            not dagger,
            "rule rule_kwargs beta_decay labels_per_iter max_labels batch_size batch_episodes scalar_log_freq",
            "without --do_dagger",
        ),
        (dagger and config.batch_episodes, "batch_size", "with --batch_episodes"),
        (config.n_epochs, "num_agent_train_steps_per_iter", "with --n_epochs, which decides how long to train"),
        (config.n_layers == 0, "size activation", "with --n_layers 0"),
        (config.eval_episodes, "eval_batch_size", "with --eval_episodes"),
        (config.no_gpu or config.device == "cpu", "which_gpu", "on the CPU"),
        (not config.no_gpu and config.device == "auto", "which_gpu", "without --device cuda, except for pictures"),
    )
    changed = {item.name for item in dataclasses.fields(config) if getattr(config, item.name) != item.default}
    return [
        f"--{name} has no effect {reason}"
        for holds, names, reason in cases
        for name in names.split()
        if holds and name in changed
    ] + _idle_workers(config)


def _idle_workers(config: RunConfig) -> list[str]:
    """Return a sentence if there are many more workers than cores, or more than episodes to roll out at a time."""
    n, cores = config.num_workers, worker_count("auto")
    if n > MAX_WORKERS_PER_CORE * cores:
        on = "1 core" if cores == 1 else f"{cores} cores"
        return [f"--num_workers {n} starts {n:,} processes on {on}; more processes than cores save no time"]
    collected = config.batch_episodes if config.do_dagger else 0
    if collected is None or config.eval_episodes is None:  # how many episodes there will be is not known yet
        return []
    busy = max(config.eval_episodes, collected)
    text = f"--num_workers {n} starts more processes than the {busy} episodes that are rolled out at a time"
    return [text] if n > busy else []
