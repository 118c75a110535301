"""The grid of an ablation: its trainings, and the values that it rejects."""

import itertools

import pytest

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.studies.ablation.grid import STEPS, Ablation, parse_params, variant_name


def test_all_combinations_times_all_seeds():
    ablation = Ablation(RunConfig(seed=7, n_layers=1), {"size": [8, 16], "activation": ["tanh", "relu"]}, n_seeds=2)
    configs = ablation.trainings()
    assert [(c.size, c.activation, c.seed) for c in configs] == [
        *itertools.product((8, 16), ("tanh", "relu"), (7, 8))
    ]
    assert {c.n_layers for c in configs} == {1}
    assert len({c.logdir for c in configs}) == len(configs)


def test_folders_are_named_after_their_settings():
    assert variant_name({"learning_rate": 1e-3, "normalize_obs": True}) == "learning_rate=0.001,normalize_obs=True"
    assert variant_name({"expert_data": "my/demos.npz"}) == "expert_data=my-demos.npz"
    config = Ablation(RunConfig(), {"size": [8]}, 1).trainings()[0]
    assert config.logdir == "runs/size=8/seed_1"


def test_several_lengths_of_cloning_are_one_training():
    grid = Ablation(RunConfig(), {"size": [8, 16], STEPS: [1000, 200]}, n_seeds=3)
    trainings = grid.trainings()
    assert [(c.size, c.seed) for c in trainings] == [(size, seed) for size in (8, 16) for seed in (1, 2, 3)]
    assert {(c.num_agent_train_steps_per_iter, c.eval_interval) for c in trainings} == {(1000, "200,1000")}
    assert grid.config({"size": 8, STEPS: 200}, 1) == trainings[0]
    assert len({c.logdir for c in trainings}) == 6 and all("200+1000" in c.logdir for c in trainings)


@pytest.mark.parametrize(
    ("settings", "name"), [({"do_dagger": True, "n_iter": 2}, STEPS), ({"n_epochs": 5}, STEPS), ({}, "n_epochs")]
)
def test_other_lengths_have_their_own_trainings(settings, name):
    trainings = Ablation(RunConfig(**settings), {name: [20, 60]}, 1).trainings()
    assert [(getattr(c, name), c.eval_interval) for c in trainings] == [(20, None), (60, None)]


def test_values_have_the_type_of_their_setting():
    params = parse_params(
        ["size", "learning_rate", "normalize_obs", "n_demos"], [["8"], ["1e-3"], ["true"], ["none"]]
    )
    assert params == {"size": [8], "learning_rate": [0.001], "normalize_obs": [True], "n_demos": [None]}


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ([], [], "--param"),
        (["size"], [], "1 --param .*0 --values"),
        (["size", "size"], [["8"], ["9"]], "size, size"),
        (["learning_rat"], [["1"]], "'learning_rat'.*learning_rate"),
        (["size"], [["big"]], "size.*'big'"),
    ],
)
def test_unreadable_params_are_rejected(names, values, message):
    with pytest.raises(InputError, match=message):
        parse_params(names, values)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": [8, 8]}, "--param size.*8, 8"),
        ({"size": []}, "--param size"),
        ({"seed": [1, 2]}, "--param seed.*--seeds"),
        ({"size": [8, -1]}, "size=-1.*--size"),
        ({"n_iter": [1, 2]}, "n_iter=2.*--do_dagger"),
        ({STEPS: [8, -1]}, f"{STEPS}=-1.*--{STEPS}"),
        ({STEPS: [8, 9], "eval_interval": ["4"]}, "--eval_interval"),
    ],
)
def test_invalid_params_are_rejected(params, message):
    with pytest.raises(InputError, match=message):
        Ablation(RunConfig(), params, n_seeds=1)
