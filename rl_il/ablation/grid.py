"""What an ablation varies: settings, their values, and the seeds of each combination."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.options import parse_value

RESERVED = ("seed", "logdir", "exp_name", "num_workers")  # the ablation sets these itself


@dataclass(frozen=True)
class Ablation:
    """What is varied, and all that is not.

    Raises `InputError` for a setting that does not exist, and for values that it cannot take or that repeat.
    """

    base: RunConfig  # its seed is the first one
    params: dict[str, list[Any]]  # setting to its values; all combinations are run
    n_seeds: int

    def __post_init__(self) -> None:
        for name, values in self.params.items():
            if name in RESERVED:
                raise InputError(f"--param {name}: is set by the ablation itself" + _instead(name))
            if not values:
                raise InputError(f"--param {name}: needs values")
            if len({*map(str, values)}) < len(values):
                raise InputError(f"--param {name}: the values must differ, got {', '.join(map(str, values))}")
        if self.base.vec_env != "gymnasium" or "vec_env" in self.params:
            raise InputError(
                "--vec_env: envpool is for quick looks, not for tables, and batched results depend on the number of"
                " workers; drop it"
            )
        for variant in self.variants:
            try:
                self.config(variant, self.base.seed)
            except InputError as error:  # a combination that contradicts itself
                raise InputError(f"{variant_name(variant)}: {error}") from error

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The combinations of values, in the order given."""
        return [dict(zip(self.params, values, strict=True)) for values in itertools.product(*self.params.values())]

    @property
    def seeds(self) -> list[int]:
        """The root seeds of each variant's runs."""
        return [self.base.seed + i for i in range(self.n_seeds)]

    def configs(self) -> list[RunConfig]:
        """Each run's config; its `logdir` is below the ablation's folder."""
        return [self.config(variant, seed) for variant in self.variants for seed in self.seeds]

    def config(self, variant: dict[str, Any], seed: int) -> RunConfig:
        """The config of one variant with one seed."""
        return replace(self.base, **variant, seed=seed, logdir=f"runs/{variant_name(variant)}/seed_{seed}")


def _instead(name: str) -> str:
    return "; give --seeds N, and --seed for the first of them" if name == "seed" else ""


def variant_name(variant: dict[str, Any]) -> str:
    """`learning_rate=0.001,size=64`: a folder's name."""
    return ",".join(f"{name}={value}" for name, value in variant.items()).replace("/", "-")


def parse_params(names: Sequence[str], values: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
    """`--param NAME --values TEXT TEXT ...`, any number of times, as settings and their values."""
    if not names or len(names) != len(values):
        raise InputError(f"each --param needs its --values: got {len(names)} --param and {len(values)} --values")
    if len({*names}) < len(names):
        raise InputError(f"--param must name a setting once, got {', '.join(names)}")
    return {
        name: [parse_value(RunConfig, name, text) for text in texts]
        for name, texts in zip(names, values, strict=True)
    }
