"""The settings of `finetune.py`."""

from dataclasses import asdict, fields

import pytest

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import write_json
from rl_il.finetune_config import TEMPERATURE, FinetuneConfig
from rl_il.limits import check_rollout_memory
from rl_il.runs.folders import config_of, make_run_folder, read_config


def small(total_timesteps: int = 1000, **settings) -> FinetuneConfig:
    """Return settings with updates of 100 steps, each of which is evaluated."""
    usual = {"n_envs": 5, "n_steps": 20, "train_batch_size": 50, "eval_every": 100}
    return FinetuneConfig(total_timesteps=total_timesteps, **usual | settings)


def test_iterations_are_the_clone_and_whole_updates():
    config = small(n_envs=4, n_steps=50, eval_every=300, n_epochs=3)
    assert (config.steps_per_update, config.updates_per_iteration) == (200, 2)
    assert config.n_iter == 1 + 3  # 400, 800 and 1,200 steps
    assert config.whole_timesteps == 1200
    assert config.gradient_steps_per_update == 3 * 4


def test_the_price_of_leaving_the_clone_decreases_to_nothing():
    config = small(kl_to_clone=2.0)
    assert [config.kl_weight(steps) for steps in (0, 500, 1000, 2000)] == [2.0, 1.0, 0.0, 0.0]
    assert small(kl_to_clone=2.0, kl_until=500).kl_weight(250) == 1.0
    assert FinetuneConfig(from_nothing=True).kl_weight(0) == FinetuneConfig(from_nothing=True).warmup == 0


def test_the_learning_rate_decreases_to_nothing_over_the_whole_training():
    config = small(learning_rate=0.2)
    assert [config.learning_rate_at(steps) for steps in (0, 500, 1000, 2000)] == pytest.approx([0.2, 0.1, 0, 0])
    assert FinetuneConfig(learning_rate=0.2, lr_schedule="constant").learning_rate_at(10**9) == 0.2


def test_what_decreases_ends_with_the_training_which_has_whole_iterations():
    config = small(1000, eval_every=600, learning_rate=0.2, kl_to_clone=2.0)  # 1,200 steps
    assert [config.learning_rate_at(steps) for steps in (600, 1200)] == pytest.approx([0.1, 0])
    assert [config.kl_weight(steps) for steps in (600, 900, 1200)] == pytest.approx([1.0, 0.5, 0.0])


WARMUPS = [(10**6, None, 10_000), (2000, None, 200), (200, None, 100), (100, None, 0), (1000, 250, 300), (1000, 0, 0)]


@pytest.mark.parametrize(("total", "given", "expected"), WARMUPS, ids=str)
def test_the_critic_is_trained_alone_in_whole_updates_and_not_until_the_end(total, given, expected):
    assert small(total, critic_warmup=given).warmup == expected


def test_the_memory_of_an_update_is_counted():
    config = (
        small()
    )  # 100 steps: six numbers of 4 bytes each, and at least a byte an action and number of an observation
    check_rollout_memory(config, 10, 100 * (6 * 4 + 1 + 10))
    with pytest.raises(InputError, match="--n_steps"):
        check_rollout_memory(config, 10, 100 * (6 * 4 + 1 + 10) - 1)


WRONG = [
    {"lr_schedule": "linear"},
    {"reward_scale": 0.0},
    {"total_timesteps": 0},
    {"n_envs": 0},
    {"train_batch_size": 1},
    {"train_batch_size": 10_000},
    {"train_batch_size": 100},  # 1,024 steps an update are no multiple of it
    {"n_envs": 10_000, "n_steps": 10**8},
    {"gamma": 1.5},
    {"learning_rate": float("inf")},
    {"critic_warmup": -1},
    {"temperature": 0.0},
    {"temperature": float("inf")},
    {"critic_warmup": 102_400},
    {"critic_warmup": 10_000, "total_timesteps": 5000},
    {"critic_warmup": 5000, "kl_until": 5000},
    {"video_log_freq": 0},
    {"eval_seeds": "0:5", "eval_episodes": 4},
    {"kl_until": 100, "kl_to_clone": 0.0},
    {"from_nothing": True, "critic_warmup": 100},
    {"from_nothing": True, "kl_to_clone": 1.0},
    {"from_nothing": True, "temperature": 2.0},
    {"from_nothing": True, "expert_data": "demos.npz"},
    {"total_timesteps": 10**9, "eval_every": 1, "n_envs": 1, "n_steps": 2, "train_batch_size": 2},
]


@pytest.mark.parametrize("settings", WRONG, ids=str)
def test_wrong_settings_are_refused_with_their_name(settings):
    with pytest.raises(InputError) as error:
        FinetuneConfig(**settings)
    assert any(f"--{name}" in str(error.value) for name in settings)


def test_the_temperature_of_the_clone():
    assert small().softening == TEMPERATURE and small(temperature=2.0).softening == 2
    assert FinetuneConfig(from_nothing=True).softening == 1
    assert FinetuneConfig(from_nothing=True, temperature=1.0).softening == 1  # it changes nothing, so it is allowed


def test_shared_settings_mean_the_same():
    ours, theirs = ({item.name: item for item in fields(each)} for each in (FinetuneConfig, RunConfig))
    assert {"env_name", "seed", "eval_episodes", "logdir", "num_workers"} <= {*ours} & {*theirs}
    assert ours["eval_seeds"].metadata["help"] == theirs["eval_seeds"].metadata["help"]


@pytest.mark.parametrize("config", [RunConfig(seed=5), FinetuneConfig(policy="clone.pt", seed=5)], ids=["run", "ppo"])
def test_a_folder_says_which_kind_of_run_it_holds(tmp_path, config):
    write_json(tmp_path / "config.json", {"config": asdict(config)})
    assert read_config(tmp_path) == config == config_of(asdict(config))


def test_its_folder_has_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path))
    assert make_run_folder(FinetuneConfig(env_name="Hopper-v5")).name.startswith("rl_ppo_Hopper-v5_")
