"""The grid of an ablation: the settings that it varies, their values, and the seeds of each combination."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import safe_name
from rl_il.limits import MAX_RUNS
from rl_il.options import parse_value

RESERVED = ("seed", "logdir", "exp_name", "num_workers")  # set by the ablation itself
STEPS = "num_agent_train_steps_per_iter"


@dataclass(frozen=True)
class Ablation:
    """The settings of an ablation: those that vary and those that do not.

    If the number of gradient steps of behavioural cloning is varied, each seed has only one training: the longest
    one. It is evaluated after each of the numbers. In all other cases each variant has one training for each seed,
    also if `n_epochs` or the gradient steps of DAgger are varied.

    Raises:
      InputError: values are repeated or invalid.
    """

    base: RunConfig  # the settings of all runs; its seed is the first seed
    params: dict[str, list[Any]]  # the values of each setting; all combinations are run
    n_seeds: int

    def __post_init__(self) -> None:
        for name, values in self.params.items():
            if name in RESERVED:
                raise InputError(f"--param {name}: the ablation sets it itself; --seeds gives the number of seeds")
            if not values:
                raise InputError(f"--param {name}: has no values; give some with --values")
            if len({*map(str, values)}) < len(values):
                raise InputError(f"--param {name}: the values must differ, got {', '.join(map(str, values))}")
        if self.lengths and (self.base.eval_interval or "eval_interval" in self.params):
            raise InputError(f"--eval_interval: the ablation sets it itself when {STEPS} is varied; drop it")
        runs = self.n_seeds * math.prod(map(len, self.params.values()))
        if runs > MAX_RUNS:
            raise InputError(f"an ablation has at most {MAX_RUNS:,} runs, got {runs:,}; lower --seeds")
        for variant in self.variants:
            with naming(variant):  # the values of a combination may contradict each other
                replace(self.base, **variant)

    @property
    def variants(self) -> list[dict[str, Any]]:
        """Return the combinations of values, in the order given."""
        return [dict(zip(self.params, values, strict=True)) for values in itertools.product(*self.params.values())]

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of the runs of each variant."""
        return [self.base.seed + i for i in range(self.n_seeds)]

    @property
    def lengths(self) -> list[int]:
        """Return the numbers of gradient steps after which each training is evaluated.

        The list is empty if each variant has its own training.
        """
        by_steps = not (self.base.do_dagger or self.base.n_epochs or "n_epochs" in self.params)
        return sorted(self.params.get(STEPS, [])) if by_steps else []

    def trainings(self) -> list[RunConfig]:
        """Return the config of each training; `logdir` is relative to the ablation's folder."""
        return list(dict.fromkeys(self.config(variant, seed) for variant in self.variants for seed in self.seeds))

    def config(self, variant: dict[str, Any], seed: int) -> RunConfig:
        """Return the config of the training that gives the result of a variant with a seed."""
        settings = dict(variant)
        if self.lengths:
            settings |= {STEPS: self.lengths[-1], "eval_interval": ",".join(map(str, self.lengths))}
            variant = variant | {STEPS: settings["eval_interval"].replace(",", "+")}
        return replace(self.base, **settings, seed=seed, logdir=f"runs/{variant_name(variant)}/seed_{seed}")


def variant_name(variant: dict[str, Any]) -> str:
    """Return the name of a variant's folder, such as `learning_rate=0.001,size=64`."""
    return safe_name(",".join(f"{name}={value}" for name, value in variant.items()))


@contextmanager
def naming(variant: dict[str, Any]) -> Iterator[None]:
    """Add the variant's name to the beginning of an `InputError` that the block raises."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{variant_name(variant)}: {error}") from error


def parse_params(names: Sequence[str], values: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
    """Return the values of each setting, parsed from the texts after each `--param NAME --values`."""
    if not names or len(names) != len(values):
        raise InputError(f"each --param needs its own --values: got {len(names)} --param and {len(values)} --values")
    if len({*names}) < len(names):
        raise InputError(f"--param: each setting can be given once, got {', '.join(names)}")
    return {
        name: [parse_value(RunConfig, name, text) for text in texts]
        for name, texts in zip(names, values, strict=True)
    }
