"""Absurd numbers in settings are refused before anything is allocated, on every way that settings take."""

from pathlib import Path

import numpy as np
import pytest
from calling import assert_refused, call_script
from fakes import ConstantActor, Corridor

from rl_il import limits
from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import begin_episodes
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.limits import COUNTABLE, LARGEST_MACHINE, check_memory, memory_here
from rl_il.options import from_json
from rl_il.runs.parts import build_policy
from rl_il.seeding import stream
from rl_il.studies.ablation.grid import Ablation
from rl_il.teacher.settings import TeachConfig

DAGGER = {"do_dagger": True, "n_iter": 2}
ABSURD = [
    {"train_batch_size": 10**12},
    {"size": 10_000_000},
    {"size": 10_000_000, "n_layers": 1},
    {"size": 500_000, "n_layers": 100},
    {"n_layers": 100_000},
    {"torch_threads": 10**14},
    {"eval_episodes": 10**20},
    {"eval_episodes": 10**12},
    {"eval_batch_size": 10**20},
    {"num_workers": 10**6},
    {"max_replay_buffer_size": 10**20},
    {"n_iter": 10**12, "do_dagger": True},
    {"batch_size": 10**12, **DAGGER},
    {"batch_episodes": 10**12, **DAGGER},
    {"num_agent_train_steps_per_iter": 10**15},
    {"eval_interval": "1", "num_agent_train_steps_per_iter": 10**10},
    {"n_epochs": 10**20},
    {"history": 10**6},
    {"ep_len": 10**20},
    {"n_demos": 10**20},
    {"seed": 10**400},
    {"which_gpu": 10**20},
]


@pytest.mark.parametrize("settings", ABSURD, ids=lambda settings: next(iter(settings)))
def test_an_absurd_number_is_refused_from_python_and_json(settings):
    for make in (lambda: RunConfig(**settings), lambda: from_json(RunConfig, settings)):
        with pytest.raises(InputError) as error:
            make()
        assert str(error.value).startswith(f"--{next(iter(settings))} ") and len(str(error.value)) < 300


@pytest.mark.parametrize(
    "flags", ["--size 10000000", "--seed " + "1" * 400, "--seed " + "1" * 5000, "--num_workers 99999999999"]
)
def test_an_absurd_flag_ends_with_status_2(flags, monkeypatch, capsys):
    called = call_script(f"run_hw1 {flags}", monkeypatch, capsys)
    assert_refused(called, flags.split()[0])
    assert len(called[2]) < 400


@pytest.mark.parametrize("flags", ["--episodes 100000000000", "--seed 99999999999999999999"])
def test_the_flags_of_other_commands_have_limits(flags, monkeypatch, capsys):
    command = f"evaluate --policy fakes:StepModuloThree --env_name fakes:Corridor-v0 {flags}"
    assert_refused(call_script(command, monkeypatch, capsys), flags.split()[0])


@pytest.mark.parametrize(
    "settings",
    [{"size": 10_000_000}, {"seed": 10**400}, {"publish_every": 10**20}, {"eval_episodes": 10**12}]
    + [{"updates_per_step": value} for value in (1e300, 10**400, float("inf"))],
)
def test_a_teaching_session_has_the_same_limits(settings):
    with pytest.raises(InputError, match=f"--{next(iter(settings))} "):
        TeachConfig(**settings)


@pytest.mark.parametrize(
    ("params", "n_seeds", "words"),
    [({"size": [8, 10_000_000]}, 1, "size=10000000"), ({"size": [8, 16]}, 10**9, "2,000,000,000")],
)
def test_an_ablation_checks_all_its_runs_at_first(params, n_seeds, words):
    with pytest.raises(InputError, match=words):
        Ablation(RunConfig(), params, n_seeds)


def test_large_numbers_that_are_possible_are_accepted():
    large = {"size": 4096, "n_layers": 8, "train_batch_size": 100_000, "max_replay_buffer_size": 10**15}
    assert RunConfig(**large, seed=COUNTABLE).max_replay_buffer_size == 10**15
    assert RunConfig(n_epochs=3, train_batch_size=10**12).train_batch_size == 10**12  # all data in one minibatch
    many = {"num_agent_train_steps_per_iter": 10**9, "eval_interval": "1000", "n_demos": 10**6}
    assert RunConfig(**many, num_workers=512).num_workers == 512


# The memory of this machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "numbers", "needed"),
    [  # 16 bytes a weight; 1000 row numbers of 8 bytes, and 4 bytes a number, for each row of a minibatch
        ({"size": 1000, "n_layers": 3, "train_batch_size": 1}, 9, 16 * ((9 + 1) * 1000 + 2 * 1000**2)),
        ({"size": 10**6, "n_layers": 1, "train_batch_size": 1}, 9, 16 * (9 + 1) * 10**6),
        ({"size": 10, "n_layers": 2, "train_batch_size": 10**6}, 5, 10**6 * (8000 + 4 * (5 + 20))),
        ({"n_layers": 0, "train_batch_size": 10**6}, 5, 10**6 * (8000 + 4 * 5)),
        ({"eval_episodes": 10**7}, 1, 10**9),
        ({"num_workers": 100}, 1, 10**10),
    ],
)
def test_the_bytes_that_are_needed_at_least(settings, numbers, needed):
    config = RunConfig(**settings)
    check_memory(config, numbers, needed, numbers)
    with pytest.raises(InputError, match=f"--({next(iter(settings))}|train_batch_size) "):
        check_memory(config, numbers, needed - 1, numbers)


@pytest.fixture
def little_memory(monkeypatch):
    """Let the machine have 50 MB."""
    for module in ("limits", "infrastructure.rollouts", "runs.parts"):
        monkeypatch.setattr(f"rl_il.{module}.memory_here", lambda: 50_000_000)


def test_the_weights_of_the_first_layer_count(little_memory):
    env = make_env("LunarLander-v3")  # 8 numbers
    few = {"n_layers": 1, "train_batch_size": 1, "env_name": "LunarLander-v3"}
    with pytest.raises(InputError, match="--size 400000 --n_layers 1"):
        build_policy(RunConfig(size=400_000, **few), env)
    build_policy(RunConfig(size=300_000, **few), env)


def test_workers_and_episodes_that_do_not_fit_are_refused(little_memory):
    with pytest.raises(InputError, match="--num_workers 2"):
        RolloutWorkers("Corridor-v0", 2)
    with pytest.raises(InputError, match="1000000 episodes"):
        begin_episodes(Corridor(), ConstantActor(1), np.random.default_rng(0), 9, n=1_000_000)


def test_windows_has_a_limit_of_its_own(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    limits.check_workers(61)
    with pytest.raises(InputError, match="61"):
        limits.check_workers(62)


def test_the_memory_of_a_container_counts(monkeypatch, tmp_path):
    assert 10**8 < memory_here() <= LARGEST_MACHINE
    limited, unlimited = tmp_path / "limited", tmp_path / "unlimited"
    limited.write_text("1000000\n"), unlimited.write_text("max\n")
    monkeypatch.setattr(limits, "CGROUPS", (str(unlimited), str(limited), str(Path("none"))))
    assert memory_here() == 1_000_000


def test_a_seed_has_63_bits():
    for seed in (-1, COUNTABLE + 1):
        with pytest.raises(InputError, match="--seed"):
            stream(seed, "video")
    stream(COUNTABLE, "video")
