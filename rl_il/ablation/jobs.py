"""The jobs of an ablation: reference scores, and trainings that leave run folders."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.ablation.lengths import run_lengths
from rl_il.config import RunConfig
from rl_il.envs import ENVS, EnvSpec, is_picture, make_env
from rl_il.experiment import resume, run
from rl_il.files import write_json
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.logger import read_config
from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.seeding import stream
from rl_il.policies.experts import load_actor
from rl_il.report.runs import NOT_COMPARED
from rl_il.run_parts import Episodes, count_eval_episodes, count_expert_episodes, find_expert, load_demonstrations

LENGTHS = ("num_agent_train_steps_per_iter", "n_epochs")


@dataclass(frozen=True)
class Reference:
    """Measures what a seed's runs are compared with: the live expert and the random policy."""

    config: RunConfig

    @property
    def folder(self) -> str:
        """Where it is kept; everything that decides the result is in the name."""
        config = self.config
        decisive = (config.expert_policy_file, config.expert_activation, config.ep_len, config.eval_batch_size)
        episodes = (config.eval_episodes, ENVS.get(config.env_name, EnvSpec()).expert_steps)
        key = zlib.crc32(json.dumps([*decisive, *episodes]).encode())
        return f"references/{config.env_name.replace('/', '-')}_seed_{config.seed}_{key:08x}"

    def run(self, outdir: Path) -> Iterator[None]:
        """Writes summary.json with the returns and lengths of both."""
        config = self.config
        env = make_env(config.env_name)
        expert, n = find_expert(config, env), count_eval_episodes(config, env)

        def measure(actor, purpose: str, episodes: int) -> list[list[float]]:
            rollouts = sample_n_trajectories(env, actor, episodes, stream(config.seed, purpose), config.ep_len)
            return [numbers.tolist() for numbers in returns_and_lengths(list(rollouts))]

        result: dict[str, Any] = {"random": measure(load_actor("random", env), "evaluation", n)}
        if expert is not None:
            result["expert"] = measure(expert, "expert", count_expert_episodes(n))
        write_json(outdir / self.folder / "summary.json", result | {"status": "finished"})
        yield

    def read(self, outdir: Path) -> dict[str, Episodes]:
        """What was measured: `random` and, if there is one, `expert`."""
        result = json.loads((outdir / self.folder / "summary.json").read_text())
        return {
            name: (np.array(result[name][0], np.float64), np.array(result[name][1], np.int64))
            for name in ("random", "expert")
            if name in result
        }


@dataclass(frozen=True)
class Training:
    """One training: a run, or clonings of several lengths that are evaluated on its way."""

    configs: tuple[RunConfig, ...]
    expert_episodes: Episodes | None = None

    def run(self, outdir: Path) -> Iterator[None]:
        """Makes the run folders."""
        configs = [replace(config, logdir=str(outdir / config.logdir)) for config in self.configs]
        goes_on = can_go_on(configs[-1])
        if len(configs) == 1 and goes_on:
            resume(Path(configs[0].logdir), verbose=False)
            yield
            return
        for config in configs[:-1] if goes_on else configs:
            shutil.rmtree(config.logdir, ignore_errors=True)  # what an interrupted one left
        if len(configs) == 1:
            run(configs[0], verbose=False, expert_episodes=self.expert_episodes)
            yield
        else:
            yield from (None for _ in run_lengths(configs, self.expert_episodes))


def can_go_on(config: RunConfig) -> bool:
    """Whether the run's folder holds a checkpoint of this very run."""
    folder = Path(config.logdir)
    if not Checkpoints(folder).exist():
        return False
    found, asked = dataclasses.asdict(read_config(folder)), dataclasses.asdict(config)
    return all(found[name] == value for name, value in asked.items() if name not in NOT_COMPARED)


def trainings(configs: Sequence[RunConfig]) -> list[Training]:
    """The runs as trainings: clonings that differ in their length alone are one, the longest."""
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(_but_for_length(config), []).append(config)
    return [Training(tuple(sorted(group, key=_length))) for group in groups.values()]


def _length(config: RunConfig) -> int:
    return config.num_agent_train_steps_per_iter if config.n_epochs is None else config.n_epochs


def _but_for_length(config: RunConfig) -> str:
    """What two clonings have in common if one goes on where the other ended; a DAgger run has it alone."""
    settings = dataclasses.asdict(config)
    if config.do_dagger:
        return json.dumps(settings)
    del settings[LENGTHS[config.n_epochs is not None]], settings["logdir"]
    return json.dumps(settings)


def with_one_compile(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The configs, all compiled if `--compile auto` compiles the longest: settings are to be compared, not compilers,
    and a training that is evaluated on its way can only be one or the other."""
    if any(config.compile != "auto" for config in configs):
        return list(configs)
    compiled = any(config.compiles(labelled_steps(config)) for config in configs) and not any(
        map(shows_pictures, {config.env_name for config in configs})
    )
    return [replace(config, compile="on") for config in configs] if compiled else list(configs)


def shows_pictures(env_name: str) -> bool:
    """Whether its policies convolve, which compiling makes no faster."""
    with closing(make_env(env_name)) as env:
        return is_picture(env.observation_space)


def labelled_steps(config: RunConfig) -> int:
    """Steps that the first iteration trains on; only passes over the data depend on it."""
    if config.n_epochs is None:
        return 0
    env = make_env(config.env_name)
    return sum(map(len, load_demonstrations(config, env)))
