"""`--no_normalizer` and `--expert_activation` reach every command that loads an expert or a policy of a file."""

import json
import math

import numpy as np
import pytest
import torch
from calling import assert_refused, call_script
from sb3_files import box, discrete, write_zip

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.runs.experiment import resume
from rl_il.runs.folders import read_config
from rl_il.runs.parts import find_expert
from rl_il.teacher.settings import TeachConfig

ENV = "MountainCar-v0"
DEMOS = REPOSITORY / "data" / "demos" / f"{ENV}.npz"
WEIGHT, BIAS = torch.tensor([[0.0, -1.0], [-9.0, 0.0], [0.0, 1.0]]), torch.zeros(3)
DIAGNOSE = f"diagnose --env_name {ENV} --episodes 1 --ep_len 3 --out {{out}}"
RUN = "--ep_len 3 --eval_episodes 1 --num_agent_train_steps_per_iter 1 --video_log_freq -1 --logdir {out}"
COMMANDS = {
    "run_hw1": f"run_hw1 --env_name {ENV} --expert_policy_file {{file}} --do_dagger --n_iter 2 --batch_size 3 {RUN}",
    "evaluate": f"evaluate --env_name {ENV} --policy {{file}} --episodes 1 --ep_len 3",
    "record_demos": f"record_demos --env_name {ENV} --policy {{file}} --n_demos 1 --ep_len 3 --out {{out}}.npz",
    "diagnose expert": DIAGNOSE + " --policy random --expert {file}",
    "diagnose policy": DIAGNOSE + " --policy {file}",
    "doctor": f"doctor {DEMOS} --expert {{file}}",
    "teach": f"teach --env_name {ENV} --teacher scripted --expert_policy_file {{file}} --episodes 1 --ep_len 3"
    " --eval_every -1 --updates_per_step 0 --logdir {out}",
}


@pytest.fixture
def undrawn(monkeypatch):
    """Draw no figures, which are slow."""
    module = "rl_il.studies.diagnosis.diagnose"
    monkeypatch.setattr(f"{module}.draw_drift", lambda *args: [])
    monkeypatch.setattr(f"{module}.film_divergence", lambda *args: None)


def normalised_zip(folder):
    """Write a policy whose settings name a normaliser, which is missing."""
    (folder / "config.yml").write_text("- - - normalize\n    - true\n")
    return write_zip(
        folder / "m.zip",
        {"action_net.weight": WEIGHT, "action_net.bias": BIAS},
        {"action_space": discrete(3), "observation_space": box(2)},
    )


def two_layers(folder):
    """Write a state_dict of two layers."""
    layers = {"0.weight": torch.eye(2), "0.bias": torch.zeros(2)}
    torch.save(layers | {"2.weight": WEIGHT, "2.bias": BIAS}, folder / "w.pt")
    return folder / "w.pt"


@pytest.mark.parametrize(
    ("write", "flag", "value"), [(normalised_zip, "--no_normalizer", ""), (two_layers, "--expert_activation", "tanh")]
)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_each_command_needs_and_takes_the_flag(tmp_path, monkeypatch, capsys, undrawn, command, write, flag, value):
    filled = command.format(file=write(tmp_path), out=tmp_path / "out")
    assert_refused(call_script(filled, monkeypatch, capsys), flag)
    assert not (tmp_path / "out").exists()
    status, _, err = call_script(f"{filled} {flag} {value}", monkeypatch, capsys)
    assert status in (0, 1) and "error: " not in err  # 1: the doctor found an error in the file


def test_a_run_keeps_the_flag(tmp_path, monkeypatch, capsys):
    filled = COMMANDS["run_hw1"].format(file=normalised_zip(tmp_path), out=tmp_path / "out")
    call_script(f"{filled} --no_normalizer", monkeypatch, capsys)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["config"]["no_normalizer"] is True
    assert read_config(tmp_path / "out").no_normalizer is True
    resume(tmp_path / "out", verbose=False)  # loads the expert again


def test_the_flags_change_the_action(tmp_path, shared_env):
    env, path = shared_env("MountainCarContinuous-v0"), tmp_path / "w.pt"
    torch.save({"0.weight": torch.eye(2), "2.weight": torch.tensor([[1.0, 0.0]])}, path)
    config = RunConfig(env_name="MountainCarContinuous-v0", expert_policy_file=str(path), expert_activation="tanh")
    ob = np.array([0.5, 0.0], np.float32)
    assert find_expert(config, env).get_action(ob) == pytest.approx([math.tanh(0.5)])


def test_the_flags_of_a_session_need_the_scripted_teacher():
    for name, value in (("no_normalizer", True), ("expert_activation", "tanh")):
        with pytest.raises(InputError, match=f"--{name}"):
            TeachConfig(**{name: value})
