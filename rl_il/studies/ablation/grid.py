"""What an ablation varies: settings, their values, and the seeds of each combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.options import parse_value

RESERVED = ("seed", "logdir", "exp_name", "num_workers")  # set by the ablation itself
STEPS = "num_agent_train_steps_per_iter"


@dataclass(frozen=True)
class Ablation:
    """What is varied, and all that is not. Raises `InputError` for values that a setting cannot take, or repeated.

    Clonings that differ in their number of gradient steps alone are one training: the longest, which is evaluated
    after each of these numbers. All else is a training for each variant and seed, `n_epochs` and the steps of DAgger
    included.
    """

    base: RunConfig  # its seed is the first one
    params: dict[str, list[Any]]  # setting to its values; all combinations are run
    n_seeds: int

    def __post_init__(self) -> None:
        for name, values in self.params.items():
            if name in RESERVED:
                raise InputError(f"--param {name}: is set by the ablation itself; --seeds sets the number of seeds")
            if not values:
                raise InputError(f"--param {name}: needs values")
            if len({*map(str, values)}) < len(values):
                raise InputError(f"--param {name}: the values must differ, got {', '.join(map(str, values))}")
        if self.lengths and (self.base.eval_interval or "eval_interval" in self.params):
            raise InputError(f"--eval_interval: is set by the ablation itself where {STEPS} is varied; drop it")
        for variant in self.variants:
            with naming(variant):  # a combination may contradict itself
                replace(self.base, **variant)

    @property
    def variants(self) -> list[dict[str, Any]]:
        """Return the combinations of values, in the order given."""
        return [dict(zip(self.params, values, strict=True)) for values in itertools.product(*self.params.values())]

    @property
    def seeds(self) -> list[int]:
        """Return the root seeds of each variant's runs."""
        return [self.base.seed + i for i in range(self.n_seeds)]

    @property
    def lengths(self) -> list[int]:
        """Return after how many gradient steps each training is evaluated; none where variants share no training."""
        by_steps = not (self.base.do_dagger or self.base.n_epochs or "n_epochs" in self.params)
        return sorted(self.params.get(STEPS, [])) if by_steps else []

    def trainings(self) -> list[RunConfig]:
        """Return the config of each training; its `logdir` is below the ablation's folder."""
        return list(dict.fromkeys(self.config(variant, seed) for variant in self.variants for seed in self.seeds))

    def config(self, variant: dict[str, Any], seed: int) -> RunConfig:
        """Return the config of the training that has the result of one variant with one seed."""
        settings = dict(variant)
        if self.lengths:
            settings |= {STEPS: self.lengths[-1], "eval_interval": ",".join(map(str, self.lengths))}
            variant = variant | {STEPS: settings["eval_interval"].replace(",", "+")}
        return replace(self.base, **settings, seed=seed, logdir=f"runs/{variant_name(variant)}/seed_{seed}")


def variant_name(variant: dict[str, Any]) -> str:
    """Return `learning_rate=0.001,size=64`: a folder's name."""
    return ",".join(f"{name}={value}" for name, value in variant.items()).replace("/", "-")


@contextmanager
def naming(variant: dict[str, Any]) -> Iterator[None]:
    """Let an `InputError` begin with the variant that is to blame."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{variant_name(variant)}: {error}") from error


def parse_params(names: Sequence[str], values: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
    """Read `--param NAME --values TEXT TEXT ...`, given any number of times, as settings and their values."""
    if not names or len(names) != len(values):
        raise InputError(f"each --param needs its --values: got {len(names)} --param and {len(values)} --values")
    if len({*names}) < len(names):
        raise InputError(f"--param must name a setting once, got {', '.join(names)}")
    return {
        name: [parse_value(RunConfig, name, text) for text in texts]
        for name, texts in zip(names, values, strict=True)
    }
