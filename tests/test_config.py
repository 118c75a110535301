import argparse
import dataclasses
import json
import shlex

import pytest

from rl_il.config import RunConfig, command_of
from rl_il.errors import InputError
from rl_il.options import (
    HelpFormatter,
    add_arguments,
    from_arguments,
)

COURSE_FLAGS = [  # flag, short form, default, an argument and what it becomes
    ("expert_policy_file", "epf", None, "Ant.pkl", "Ant.pkl"),
    ("expert_data", "ed", None, "ant_data.pkl", "ant_data.pkl"),
    ("env_name", "env", "LunarLander-v3", "Ant-v4", "Ant-v4"),
    ("exp_name", "exp", None, "bc_ant", "bc_ant"),
    ("do_dagger", None, False, None, True),
    ("ep_len", None, None, "500", 500),
    ("num_agent_train_steps_per_iter", None, 1000, "7", 7),
    ("n_iter", "n", 1, "10", 10),
    ("batch_size", None, 1000, "7", 7),
    ("eval_batch_size", None, 1000, "7", 7),
    ("train_batch_size", None, 100, "7", 7),
    ("n_layers", None, 2, "3", 3),
    ("size", None, 64, "7", 7),
    ("learning_rate", "lr", 5e-3, "1e-4", 1e-4),
    ("video_log_freq", None, 5, "-1", -1),
    ("scalar_log_freq", None, 1, "-1", -1),
    ("no_gpu", "ngpu", False, None, True),
    ("which_gpu", None, 0, "1", 1),
    ("max_replay_buffer_size", None, 1_000_000, "7", 7),
    ("save_params", None, False, None, True),
    ("seed", None, 1, "7", 7),
]
OUR_FLAGS = [
    ("n_demos", None, "3", 3),
    ("n_epochs", None, "3", 3),
    ("val_fraction", 0.0, "0.1", 0.1),
    ("eval_episodes", None, "20", 20),
    ("loss", None, "l1", "l1"),
    ("activation", "tanh", "relu", "relu"),
    ("weight_decay", 0.0, "0.01", 0.01),
    ("normalize_obs", False, None, True),
    ("logdir", None, "here", "here"),
    ("device", "auto", "cpu", "cpu"),
    ("num_workers", 1, "4", 4),
    ("compile", "auto", "on", "on"),
]


def parse(*words, config_class=RunConfig):
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    add_arguments(parser, config_class)
    return parser.parse_args(words)


def same(got, expected):
    return type(got) is type(expected) and got == expected


@pytest.mark.parametrize("flag, short, default, argument, value", COURSE_FLAGS)
def test_the_courses_flags_their_short_forms_and_defaults(flag, short, default, argument, value):
    assert same(getattr(parse(), flag), default)
    for name in filter(None, (f"--{flag}", short and f"-{short}")):
        words = [name] if argument is None else [name, argument]
        assert same(getattr(parse(*words), flag), value)


def test_the_course_has_no_other_short_forms():
    shorts = {item.name: item.metadata["short"] for item in dataclasses.fields(RunConfig)}
    assert {name: short for name, short in shorts.items() if short} == {
        flag: short for flag, short, *_ in COURSE_FLAGS if short
    }


@pytest.mark.parametrize("flag, default, argument, value", OUR_FLAGS)
def test_our_flags_and_defaults(flag, default, argument, value):
    assert same(getattr(parse(), flag), default)
    words = [f"--{flag}"] if argument is None else [f"--{flag}", argument]
    assert same(getattr(parse(*words), flag), value)


@pytest.mark.parametrize(
    "line",
    [
        "--expert_policy_file cs285/policies/experts/Ant.pkl --env_name Ant-v4 --exp_name bc_ant --n_iter 1"
        " --expert_data cs285/expert_data/expert_data_Ant-v4.pkl --video_log_freq -1",
        "--expert_policy_file cs285/policies/experts/Ant.pkl --env_name Ant-v4 --exp_name dagger_ant --n_iter 10"
        " --do_dagger --expert_data cs285/expert_data/expert_data_Ant-v4.pkl --video_log_freq -1",
        "-epf Ant.pkl -env Ant-v4 -exp x -n 10 -ed d.pkl -lr 0.01 -ngpu --do_dagger --eval_batch_size 5000"
        " --ep_len 1000 --size 64 --save_params --which_gpu 1 --seed 3",
    ],
)
def test_command_lines_of_the_course_make_a_config(line):
    config = from_arguments(RunConfig, parse(*line.split()))
    assert config.env_name == "Ant-v4"
    assert config.expert_policy_file.endswith("Ant.pkl")


def test_the_defaults_of_the_flags_are_those_of_the_dataclass():
    assert from_arguments(RunConfig, parse()) == RunConfig()


def test_every_flag_explains_itself_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for item in dataclasses.fields(RunConfig):
        assert f"--{item.name}" in text
        assert " ".join(item.metadata["help"].split()) in text


@pytest.mark.parametrize("flag, bad", [("loss", "huber"), ("activation", "swish"), ("device", "tpu"), ("seed", "x")])
def test_a_word_that_is_no_choice_ends_with_status_2(flag, bad, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(f"--{flag}", bad)
    assert exit_.value.code == 2
    assert bad in capsys.readouterr().err


def test_dagger_in_one_iteration_is_refused_as_in_the_course():
    with pytest.raises(InputError, match=r"DAgger needs more than 1 iteration .*--n_iter > 1.*behavioural cloning"):
        RunConfig(do_dagger=True, n_iter=1)


@pytest.mark.parametrize("n_iter", [0, 2, 10])
def test_cloning_in_several_iterations_is_refused_as_in_the_course(n_iter):
    sentence = rf"behavioural cloning collects expert data just once \(--n_iter 1\), got {n_iter}; add --do_dagger"
    with pytest.raises(InputError, match=sentence):
        RunConfig(n_iter=n_iter)


POSITIVE = (
    "num_agent_train_steps_per_iter batch_size train_batch_size max_replay_buffer_size size learning_rate"
    " eval_batch_size num_workers ep_len n_demos n_epochs eval_episodes"
).split()


@pytest.mark.parametrize(
    "name, value, rule",
    [(name, value, "above 0") for name in POSITIVE for value in (0, -1)]
    + [("learning_rate", float("nan"), "above 0")]
    + [(name, -1, "0 or more") for name in ("n_layers", "weight_decay", "seed", "which_gpu")]
    + [("weight_decay", float("nan"), "0 or more")]
    + [(name, value, "-1 (never) or above 0") for name in ("video_log_freq", "scalar_log_freq") for value in (0, -2)]
    + [("val_fraction", value, "at least 0 and below 1") for value in (-0.1, 1.0, 2.0, float("nan"))],
)
def test_a_number_out_of_range_is_refused_by_its_flag(name, value, rule):
    with pytest.raises(InputError) as error:
        RunConfig(**{name: value})
    assert str(error.value) == f"--{name} must be {rule}, got {value}"


@pytest.mark.parametrize(
    "accepted",
    [{"n_layers": 0}, {"weight_decay": 0.0}, {"val_fraction": 0.0}, {"val_fraction": 0.99}, {"video_log_freq": -1}]
    + [{"seed": 0}, {"which_gpu": 0}, {"do_dagger": True, "n_iter": 2}, {"device": "cpu", "no_gpu": True}]
    + [{name: 1} for name in POSITIVE],
)
def test_the_edges_of_the_ranges_are_accepted(accepted):
    config = RunConfig(**accepted)
    assert {name: getattr(config, name) for name in accepted} == accepted


def test_asking_for_the_gpu_and_for_none_is_refused():
    with pytest.raises(InputError, match="--device cuda and --no_gpu contradict"):
        RunConfig(device="cuda", no_gpu=True)


def test_a_config_is_frozen_and_goes_into_json():
    config = RunConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2
    assert RunConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compile": "yes"}, "--compile must be one of auto, on, off, got 'yes'"),
        ({"loss": "huber"}, "--loss must be one of mse, l1, nll, got 'huber'"),
        ({"vec_env": "gym"}, "--vec_env must be one of gymnasium, batched, envpool, got 'gym'"),
        ({"num_workers": "auto"}, "num_workers must be an integer, got 'auto'"),
    ],
)
def test_a_word_that_is_no_choice_is_refused_in_python_too(settings, message):
    with pytest.raises(InputError, match=message):
        RunConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "compiles"),
    [
        ({}, False),
        ({"num_agent_train_steps_per_iter": 29_999}, False),
        ({"num_agent_train_steps_per_iter": 30_000}, True),
        ({"num_agent_train_steps_per_iter": 10_000, "n_iter": 3, "do_dagger": True}, True),
        ({"n_epochs": 299}, False),  # of 10,000 rows: 100 minibatches
        ({"n_epochs": 300}, True),
        ({"n_epochs": 30, "train_batch_size": 10}, True),
        ({"n_epochs": 298, "train_batch_size": 99}, True),  # 102 minibatches, the last one small
        ({"compile": "on"}, True),
        ({"compile": "off", "n_epochs": 300}, False),
    ],
)
def test_a_long_run_s_steps_are_compiled(settings, compiles):
    assert RunConfig(**settings).compiles(10_000) is compiles


def test_the_command_of_a_config_makes_it_again():
    config = RunConfig(env_name="Ant-v4", do_dagger=True, n_iter=3, expert_data="my demos.npz", learning_rate=1e-4)
    words = shlex.split(command_of(config))
    assert words[:2] == ["python", "scripts/run_hw1.py"]
    assert from_arguments(RunConfig, parse(*words[2:])) == config


def test_the_command_says_only_what_is_not_default_and_not_the_folder():
    assert command_of(RunConfig()) == "python scripts/run_hw1.py --env_name LunarLander-v3"
    assert (
        command_of(RunConfig(seed=2, logdir="there"))
        == "python scripts/run_hw1.py --env_name LunarLander-v3 --seed 2"
    )
