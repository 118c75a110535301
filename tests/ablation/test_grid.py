"""What an ablation varies, and what it refuses."""

import pytest

from rl_il.ablation.grid import Ablation, parse_params, variant_name
from rl_il.config import RunConfig
from rl_il.errors import InputError


def test_all_combinations_times_all_seeds():
    ablation = Ablation(RunConfig(seed=7, n_layers=1), {"size": [8, 16], "activation": ["tanh", "relu"]}, n_seeds=2)
    assert ablation.variants == [
        {"size": 8, "activation": "tanh"},
        {"size": 8, "activation": "relu"},
        {"size": 16, "activation": "tanh"},
        {"size": 16, "activation": "relu"},
    ]
    configs = ablation.configs()
    assert [(c.size, c.activation, c.seed) for c in configs[:3]] == [(8, "tanh", 7), (8, "tanh", 8), (8, "relu", 7)]
    assert {c.n_layers for c in configs} == {1}
    assert len({c.logdir for c in configs}) == len(configs) == 8


def test_folders_say_what_is_in_them():
    assert variant_name({"learning_rate": 1e-3, "normalize_obs": True}) == "learning_rate=0.001,normalize_obs=True"
    assert variant_name({"expert_data": "my/demos.npz"}) == "expert_data=my-demos.npz"
    config = Ablation(RunConfig(), {"size": [8]}, 1).configs()[0]
    assert config.logdir == "runs/size=8/seed_1"


def test_values_are_read_as_their_settings_type():
    params = parse_params(
        ["size", "learning_rate", "normalize_obs", "n_demos"], [["8"], ["1e-3"], ["true"], ["none"]]
    )
    assert params == {"size": [8], "learning_rate": [0.001], "normalize_obs": [True], "n_demos": [None]}


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ([], [], "each --param needs its --values: got 0 --param and 0 --values"),
        (["size"], [], "got 1 --param and 0 --values"),
        (["size", "size"], [["8"], ["9"]], "must name a setting once"),
        (["learning_rat"], [["1"]], "no setting is called 'learning_rat'; did you mean learning_rate"),
        (["zzz"], [["1"]], "no setting is called 'zzz'; there are env_name"),
        (["size"], [["big"]], "size must be an integer, got 'big'"),
        (["normalize_obs"], [["maybe"]], "normalize_obs must be true or false, got 'maybe'"),
        (["size"], [["none"]], "size must be an integer, got 'none'"),
    ],
)
def test_what_cannot_be_read_is_refused(names, values, message):
    with pytest.raises(InputError, match=message):
        parse_params(names, values)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": [8, 8]}, "--param size: the values must differ, got 8, 8"),
        ({"seed": [1, 2]}, "--param seed: is set by the ablation itself; give --seeds N"),
        ({"logdir": ["x"]}, "--param logdir: is set by the ablation itself"),
        ({"size": [8, -1]}, "--size must be above 0"),
        ({"activation": ["tanh", "swish"]}, "--activation must be one of"),
        ({"vec_env": ["envpool"]}, "for quick looks, not for tables"),
        ({"vec_env": ["batched"]}, "depend on the number of workers; drop it"),
        ({"n_iter": [1, 2]}, r"n_iter=2: plain behavioural cloning collects expert data just once"),
    ],
)
def test_what_cannot_be_run_is_refused(params, message):
    with pytest.raises(InputError, match=message):
        Ablation(RunConfig(), params, n_seeds=1)
