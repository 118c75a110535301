import pytest

from rl_il import notes, plugins
from rl_il.config import RunConfig
from rl_il.notes import flags_without_effect
from rl_il.options import worker_count

DAGGER = {"do_dagger": True, "n_iter": 2}


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(notes, "worker_count", lambda text: 4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"seed": 3, "learning_rate": 1e-3, "no_gpu": True, "save_params": True, "which_gpu": 0},
        {"batch_size": 1000, "train_batch_size": 10},  # the first is the default, given or not
        DAGGER | {"batch_size": 10, "beta_decay": 0.5},
        DAGGER | {"batch_episodes": 3},
        {"n_epochs": 3},
        {"expert_data": "x.npz", "keys": "obs=x", "obs_keys": "x", "split_every": 9},
        {"n_layers": 0},
        {"size": 8, "activation": "relu"},
        {"eval_episodes": 3},
        {"eval_batch_size": 3},
        {"device": "cuda", "which_gpu": 1},
        {"num_workers": 2, "eval_episodes": 2},
        DAGGER | {"num_workers": 16, "eval_episodes": 2},  # how many episodes are collected is not known
        {"num_workers": 16},
    ],
)
def test_nothing_is_said_about_flags_that_have_an_effect(settings):
    assert flags_without_effect(RunConfig(**settings)) == []


@pytest.mark.parametrize(
    ("settings", "ignored", "because"),
    [
        ({"keys": "obs=x"}, "--keys", "--expert_data"),
        ({"obs_keys": "x"}, "--obs_keys", "--expert_data"),
        ({"split_every": 9}, "--split_every", "--expert_data"),
        ({"batch_size": 10}, "--batch_size", "--do_dagger"),
        ({"batch_episodes": 10}, "--batch_episodes", "--do_dagger"),
        ({"beta_decay": 0.5}, "--beta_decay", "--do_dagger"),
        ({"rule": "another"}, "--rule", "--do_dagger"),
        ({"rule_kwargs": "rate=0.5"}, "--rule_kwargs", "--do_dagger"),
        ({"labels_per_iter": 10}, "--labels_per_iter", "--do_dagger"),
        ({"max_labels": 10}, "--max_labels", "--do_dagger"),
        (DAGGER | {"batch_size": 10, "batch_episodes": 3}, "--batch_size", "--batch_episodes"),
        ({"num_agent_train_steps_per_iter": 9, "n_epochs": 3}, "--num_agent_train_steps_per_iter", "--n_epochs"),
        ({"size": 8, "n_layers": 0}, "--size", "--n_layers 0"),
        ({"activation": "relu", "n_layers": 0}, "--activation", "--n_layers 0"),
        ({"eval_batch_size": 8, "eval_episodes": 3}, "--eval_batch_size", "--eval_episodes"),
        ({"which_gpu": 1, "no_gpu": True}, "--which_gpu", "CPU"),
        ({"which_gpu": 1, "device": "cpu"}, "--which_gpu", "CPU"),
        ({"which_gpu": 1}, "--which_gpu", "--device cuda"),
        ({"num_workers": 17}, "--num_workers 17", "4"),
        ({"num_workers": 11, "eval_episodes": 2}, "--num_workers 11", "2"),
        ({"num_workers": 13, "eval_episodes": 12}, "--num_workers 13", "12"),
        (DAGGER | {"num_workers": 16, "eval_episodes": 2, "batch_episodes": 15}, "--num_workers 16", "15"),
    ],
)
def test_a_flag_without_effect_is_named_with_the_reason(settings, ignored, because, monkeypatch):
    monkeypatch.setitem(plugins.RULES, "another", "fakes:Another")
    (note,) = flags_without_effect(RunConfig(**settings))
    assert note.startswith(f"{ignored} ")
    assert because in note.removeprefix(ignored)


def test_several_flags_without_effect_have_a_line_each():
    config = RunConfig(batch_size=10, beta_decay=0.5, num_workers=10 * worker_count("auto") + 100)
    assert [note.split()[0] for note in flags_without_effect(config)] == [
        "--beta_decay",
        "--batch_size",
        "--num_workers",
    ]
