import os
import shlex
import subprocess
import sys

import pytest

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.flags import command_of
from rl_il.options import CommandParser, add_arguments, from_arguments

COURSE_FLAGS = [  # flag, short form, default, an argument and its value
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


def parse(*words, config_class=RunConfig):
    parser = CommandParser("A script.")
    add_arguments(parser, config_class)
    return parser.parse_args(words)


def same(got, expected):
    return type(got) is type(expected) and got == expected


@pytest.mark.parametrize("flag, short, default, argument, value", COURSE_FLAGS)
def test_the_courses_flags_their_short_forms_and_defaults(flag, short, default, argument, value):
    assert same(getattr(parse(), flag), default)
    for name in filter(None, (f"--{flag}", short and f"-{short}", short and f"--{short}")):
        words = [name] if argument is None else [name, argument]
        assert same(getattr(parse(*words), flag), value)


def test_the_defaults_of_the_flags_are_those_of_the_dataclass():
    assert from_arguments(RunConfig, parse()) == RunConfig()


CHOICES = [
    ("loss", "huber"),
    ("activation", "swish"),
    ("device", "tpu"),
    ("compile", "yes"),
    ("lr_schedule", "step"),
    ("rule", "none"),
]


@pytest.mark.parametrize(("flag", "bad"), [*CHOICES, ("seed", "x"), ("num_workers", "some")])
def test_a_wrong_choice_ends_with_status_2(flag, bad, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(f"--{flag}", bad)
    assert exit_.value.code == 2
    assert bad in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "bad"), [*CHOICES, ("num_workers", "auto"), ("augment", "shift,blur")])
def test_a_wrong_choice_is_refused_in_python_too(flag, bad):
    with pytest.raises(InputError, match=f"{flag}.*'{bad.split(',')[-1]}'"):
        RunConfig(**{flag: bad})


@pytest.mark.parametrize(("dagger", "n_iter"), [(True, 1), (False, 2), (False, 10)])
def test_iterations_that_do_not_fit_the_algorithm_are_refused(dagger, n_iter):
    with pytest.raises(InputError, match=r"--n_iter.*--do_dagger|--do_dagger.*--n_iter"):
        RunConfig(do_dagger=dagger, n_iter=n_iter)


@pytest.mark.parametrize("dagger", [True, False])
@pytest.mark.parametrize("n_iter", [0, -3])
def test_fewer_iterations_than_one_are_refused_whatever_the_algorithm(dagger, n_iter):
    with pytest.raises(InputError, match=f"--n_iter.*{n_iter}") as error:
        RunConfig(do_dagger=dagger, n_iter=n_iter)
    assert "--do_dagger" not in str(error.value)


POSITIVE = (
    "num_agent_train_steps_per_iter batch_size train_batch_size max_replay_buffer_size size learning_rate"
    " eval_batch_size num_workers ep_len n_demos n_epochs eval_episodes batch_episodes history"
).split()


@pytest.mark.parametrize(
    "name, value",
    [(name, 0) for name in (*POSITIVE, "video_log_freq", "scalar_log_freq")]
    + [(name, -1) for name in ("n_layers", "weight_decay", "seed", "which_gpu")]
    + [("val_fraction", value) for value in (-0.1, 1.0, float("nan"))]
    + [("beta_decay", value) for value in (-0.1, 1.1, float("nan"))]
    + [("dropout", value) for value in (-0.1, 1.0, float("nan"))]
    + [("augment_noise", value) for value in (-0.1, 0, float("nan"), float("inf"))]
    + [("learning_rate", float("nan")), ("learning_rate", float("inf")), ("video_log_freq", -2)],
)
def test_a_number_out_of_range_is_refused_by_its_flag(name, value):
    with pytest.raises(InputError, match=f"--{name} .*{value}"):
        RunConfig(**{name: value})


@pytest.mark.parametrize("option", [{"dropout": 0.1}, {"layer_norm": True}])
def test_options_of_hidden_layers_need_some(option):
    with pytest.raises(InputError, match=f"--{next(iter(option))}.*--n_layers 0"):
        RunConfig(n_layers=0, **option)


@pytest.mark.parametrize("augment", [None, "shift"])
def test_a_strength_without_its_noise_is_refused(augment):
    with pytest.raises(InputError, match=r"--augment_noise.*--augment noise"):
        RunConfig(augment=augment, augment_noise=0.1)


@pytest.mark.parametrize(
    "accepted",
    [{"n_layers": 0}, {"weight_decay": 0.0}, {"val_fraction": 0.0}, {"val_fraction": 0.99}, {"video_log_freq": -1}]
    + [{"dropout": 0.99, "layer_norm": True}, {"augment": "noise", "augment_noise": 2.0}]
    + [{"seed": 0}, {"which_gpu": 0}, {"do_dagger": True, "n_iter": 2}, {"device": "cpu", "no_gpu": True}]
    + [{name: 1} for name in POSITIVE],
)
def test_the_edges_of_the_ranges_are_accepted(accepted):
    config = RunConfig(**accepted)
    assert {name: getattr(config, name) for name in accepted} == accepted


def test_asking_for_the_gpu_and_for_none_is_refused():
    with pytest.raises(InputError, match=r"--device cuda.*--no_gpu"):
        RunConfig(device="cuda", no_gpu=True)


@pytest.mark.parametrize(
    ("interval", "steps"),
    [(None, [1000]), ("300", [300, 600, 900, 1000]), ("500", [500, 1000]), ("1,10,100", [1, 10, 100, 1000])],
)
def test_the_steps_of_an_evaluation_interval(interval, steps):
    assert RunConfig(eval_interval=interval).evaluation_steps(1000) == steps


def test_an_interval_longer_than_an_iteration_is_refused():
    with pytest.raises(InputError, match=r"--eval_interval 50.*20"):
        RunConfig(num_agent_train_steps_per_iter=20, eval_interval="50")
    config = RunConfig(n_epochs=2, eval_interval="50")  # the number of steps depends on the data
    assert config.evaluation_steps(60) == [50, 60] and config.evaluation_steps(20) == [20]
    with pytest.raises(InputError, match=r"--eval_interval 10,50.*20"):
        RunConfig(n_epochs=2, eval_interval="10,50").evaluation_steps(20)


@pytest.mark.parametrize("interval", ["0", "-5", "x", "", "5,5", "10,5", "5,", "1.5", "0,5", "1001", "5,1001"])
def test_an_invalid_interval_is_refused(interval):
    with pytest.raises(InputError, match="--eval_interval") as error:
        RunConfig(eval_interval=interval)
    assert interval in str(error.value)


@pytest.mark.parametrize(
    ("n_iter", "frequency", "due"),
    [(5, 1, [0, 1, 2, 3, 4]), (5, 2, [0, 2, 4]), (6, 2, [0, 2, 4, 5]), (5, 3, [0, 3, 4]), (5, -1, [4])],
)
def test_the_iterations_at_which_something_is_due(n_iter, frequency, due):
    config = RunConfig(do_dagger=True, n_iter=n_iter)
    assert [itr for itr in range(n_iter) if config.is_due(itr, frequency)] == due


@pytest.mark.parametrize(
    ("settings", "compiles"),
    [
        ({}, False),
        ({"num_agent_train_steps_per_iter": 14_999}, False),
        ({"num_agent_train_steps_per_iter": 5_000, "n_iter": 3, "do_dagger": True}, True),
        ({"n_epochs": 149}, False),  # of 10,000 rows: 100 minibatches
        ({"n_epochs": 150}, True),
        ({"n_epochs": 148, "train_batch_size": 99}, True),  # 102 minibatches, the last one small
        ({"compile": "on"}, True),
        ({"compile": "off", "n_epochs": 300}, False),
    ],
)
def test_the_steps_of_a_long_run_are_compiled(settings, compiles):
    assert RunConfig(**settings).compiles(10_000) is compiles


@pytest.mark.parametrize(("value", "expected"), [("on", "on"), ("off", "off"), ("", "auto"), (None, "auto")])
def test_an_environment_variable_gives_the_default_of_compile(value, expected):
    program = "from rl_il.config import RunConfig; print(RunConfig().compile, RunConfig(compile='auto').compile)"
    environment = {name: text for name, text in os.environ.items() if name != "RL_IL_COMPILE"}
    environment |= {} if value is None else {"RL_IL_COMPILE": value}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=environment)
    assert done.stdout.split() == [expected, "auto"]


def test_the_command_line_of_a_config_gives_the_same_config():
    config = RunConfig(env_name="Ant-v4", do_dagger=True, n_iter=3, expert_data="my demos.npz", learning_rate=1e-4)
    words = shlex.split(command_of(config))
    assert words[:2] == ["python", "scripts/run_hw1.py"]
    assert from_arguments(RunConfig, parse(*words[2:])) == config
    default = command_of(RunConfig())  # only values that are not the default, and not the folder
    assert default == "python scripts/run_hw1.py --env_name LunarLander-v3"
    assert command_of(RunConfig(seed=2, logdir="there")) == f"{default} --seed 2"


def test_the_command_of_a_config_gives_it_again():
    config = RunConfig(
        env_kwargs="gravity=-4.0 'name=big moon'", wrappers="a:B 'c:D(x=1)'", rule="mine:Sparse", seed=3
    )
    words = shlex.split(command_of(config))[2:]
    assert from_arguments(RunConfig, parse(*words)) == config


def test_the_title_of_an_environment_has_its_arguments_and_wrappers():
    assert RunConfig().env_title == "LunarLander-v3"
    config = RunConfig(env_kwargs="gravity=-4.0", wrappers="a:B")
    assert config.env_title == "LunarLander-v3 gravity=-4.0 a:B"
