"""A state goes back where it came from, and nowhere else."""

import json
import os
import time
import zipfile

import numpy as np
import pytest
import torch
from checkpoints import as_text, change, moments, seal, table_of
from fakes import walk

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.checkpoint import INDEX, Checkpoints
from rl_il.infrastructure.logger import Logger
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.trainer_state import restore
from rl_il.policies.mlp_policy import MLPPolicySL

DEMONSTRATIONS = [walk(3, action=2), walk(5, action=1)]


def build(folder, policy=None, **settings):
    """A trainer in the corridor, whose rule is never asked."""
    steps = {"num_agent_train_steps_per_iter": 6, "train_batch_size": 4, "n_iter": 3, "do_dagger": True}
    env = make_env("Corridor-v0")
    policy = policy or MLPPolicySL.for_env(env, n_layers=1, size=3)
    config = RunConfig(env_name="Corridor-v0", **steps | settings)
    trainer = RLTrainer(config, env, policy, DEMONSTRATIONS, rule=object(), verbose=False)
    trainer.logger, trainer.checkpoints = Logger(folder), Checkpoints(folder)
    return trainer


def stop(trainer):
    """Leaves the checkpoint of a run that was stopped after the second iteration's training."""
    trainer.logger.log_episodes("expert", 0, np.array([7.0]), np.array([4]))
    trainer.store(0, DEMONSTRATIONS)
    trainer.train(0)
    trainer.logger.log_iteration(0, {"Training Loss": 0.1 + 0.2, "Expert_LabelsSoFar": 8, "odd": float("nan")}, False)
    trainer.logger.log_episodes("learner", 0, np.array([1.5, 2.5]), np.array([3, 4]))
    trainer.env_steps, trainer.clock.seconds = 3, {"startup": 0.5}
    trainer.store(1, [walk(3)])
    trainer.train(1)
    trainer.write_checkpoint()
    return trainer


@pytest.fixture
def stopped(tmp_path):
    return stop(build(tmp_path))


def go_on(trainer):
    restore(trainer, *trainer.checkpoints.load(trainer.env))
    return trainer


def test_everything_comes_back_equal(stopped, tmp_path):
    trainer = go_on(build(tmp_path))
    assert (trainer.fitting.itr, trainer.first_itr, trainer.fitting.steps_done, trainer.steps_to_skip) == (1, 1, 6, 6)
    assert (trainer.env_steps, trainer.clock.seconds["startup"]) == (3, 0.5)
    assert list(trainer.fitting.losses) == list(stopped.fitting.losses) and len(trainer.fitting.losses) == 6
    for one, other in ((trainer.policy, stopped.policy), (trainer.policy.optimizer, stopped.policy.optimizer)):
        assert json.dumps(one.state_dict(), default=lambda t: t.tolist()) == json.dumps(
            other.state_dict(), default=lambda t: t.tolist()
        )
    assert len(trainer.buffer) == 8 and [len(t) for t in trainer.recorded[1]] == [3]
    assert json.dumps(trainer.logger.rows) == json.dumps(stopped.logger.rows)
    assert trainer.logger.episode_rows == stopped.logger.episode_rows
    (result,) = trainer.results
    assert result.scalars["Training Loss"] == 0.1 + 0.2 and type(result.scalars["Expert_LabelsSoFar"]) is int
    assert (result.returns.tolist(), result.lengths.tolist()) == ([1.5, 2.5], [3, 4])


class WithCounters(MLPPolicySL):
    """Has coarse weights, an integer, a switch and a number without dimensions."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.coarse = torch.nn.Parameter(torch.tensor([1.5, -2.25, 1 / 3], dtype=torch.bfloat16))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("switch", torch.tensor([True, False]))


def test_tensors_of_every_kind_come_back(tmp_path):
    policies = [WithCounters.for_env(make_env("Corridor-v0"), n_layers=1, size=3, seed=seed) for seed in (1, 2)]
    stop(build(tmp_path, policies[0]))
    with torch.no_grad():
        policies[1].coarse.zero_(), policies[1].count.zero_(), policies[1].switch.zero_()
    go_on(build(tmp_path, policies[1]))
    for name, tensor in policies[0].state_dict().items():
        assert torch.equal(policies[1].state_dict()[name], tensor), name
        assert policies[1].state_dict()[name].dtype == tensor.dtype


class WithTorchsAdam(MLPPolicySL):
    @property
    def optimizer(self):
        if "own" not in self.__dict__:
            self.__dict__["own"] = torch.optim.Adam(self.parameters(), lr=0.01, betas=(0.8, 0.9))
        return self.__dict__["own"]


def test_another_optimiser_s_state_comes_back(tmp_path):
    policies = [WithTorchsAdam.for_env(make_env("Corridor-v0"), n_layers=1, size=3, seed=seed) for seed in (1, 2)]
    stop(build(tmp_path, policies[0]))
    go_on(build(tmp_path, policies[1]))
    one, other = (policy.optimizer.state_dict() for policy in policies)
    assert one["param_groups"] == other["param_groups"] and one["state"].keys() == other["state"].keys() != set()
    assert all(torch.equal(one["state"][0][name], other["state"][0][name]) for name in one["state"][0])


def log_of(rows=({"iteration": 0},), episodes=()):
    return {"log": as_text({"rows": list(rows), "episodes": list(episodes)})}


EPISODE = {"policy": "learner", "iteration": 0, "return": 1.0, "length": 3}
WRONG = {
    "no counter": (lambda s: s.pop("itr"), "it must hold itr"),
    "no log": (lambda s: s.pop("log"), "it must hold"),
    "a negative iteration": (lambda s: s.update(itr=-1), "itr must be an integer from 0"),
    "a huge count": (lambda s: s.update(env_steps=10**16), "env_steps must be an integer from 0"),
    "a switch for a count": (lambda s: s.update(itr=True), "itr must be an integer"),
    "a float for a count": (lambda s: s.update(steps_done=6.0), "steps_done must be an integer"),
    "an array for a count": (lambda s: s.update(itr=torch.tensor(1)), "itr must be an integer"),
    "an iteration after the last": (lambda s: s.update(itr=3), "iteration 3 of 3"),
    "an iteration without data": (lambda s: s.update(itr=2), "iteration 2 with the data of 2"),
    "data from the future": (lambda s: s.update(itr=0), "iteration 0 with the data of 2"),
    "more steps than there are": (lambda s: s.update(steps_done=7, losses=[0.5] * 7), "gradient step 7 of 6"),
    "too few losses": (lambda s: s.update(losses=[]), "0 losses after 6 steps"),
    "losses that are none": (lambda s: s.update(losses=[float("nan")] * 6), "losses must be a list of finite"),
    "a return that is none": (lambda s: s.update(initial_return="x"), "initial_return must be a number"),
    "time that runs back": (lambda s: s.update(seconds=-1.0), "seconds must be numbers from 0"),
    "endless time": (lambda s: s["wall_seconds"].update(train=float("inf")), "seconds must be numbers from 0"),
    "a weight of another shape": (lambda s: s["policy"].update(ob_mean=torch.zeros(3)), "ob_mean must be"),
    "a weight of another type": (lambda s: s["policy"].update(ob_mean=torch.zeros(2).double()), "ob_mean must be"),
    "a weight that is a number": (lambda s: s["policy"].update(ob_mean=0.0), "ob_mean must be"),
    "a weight that is none": (lambda s: s["policy"]["ob_std"].fill_(np.nan), "ob_std holds NaN"),
    "a weight missing": (lambda s: s["policy"].pop("ob_std"), "weights must be ob_mean, ob_std"),
    "weights in a list": (lambda s: s.update(policy=[1]), "weights must be"),
    "a moment of another shape": (lambda s: moments(s).__setitem__(0, torch.zeros(1)), "other parameters"),
    "a moment too many": (lambda s: moments(s).append(torch.zeros(1)), "other parameters"),
    "a moment missing": (lambda s: moments(s).pop(), "other parameters"),
    "no moments": (lambda s: s["optimizer"].pop("counts"), "must have the lists first_moments"),
    "an optimiser that is none": (lambda s: s.update(optimizer=None), "must have the lists"),
    "steps counted below 0": (lambda s: s["optimizer"]["counts"][0].fill_(-1), "counted its steps below 0"),
    "a moment that is none": (lambda s: moments(s)[0].fill_(np.inf), "first moments hold NaN or infinity"),
    "a square below 0": (lambda s: moments(s, "second")[0].fill_(-1), "second moments hold NaN or numbers below 0"),
    "a log that is no text": (lambda s: s.update(log="[]"), "the log must be text"),
    "a log that is no JSON": (lambda s: s.update(log=torch.zeros(2, dtype=torch.uint8)), "the log must be JSON"),
    "a deep log": (lambda s: s.update(log=torch.full((99_999,), 91, dtype=torch.uint8)), "the log must be JSON"),
    "a log of one table": (lambda s: s.update(log=as_text({"rows": []})), "lists of rows and episodes"),
    "no rows": (lambda s: s.update(log_of([])), "iteration 1 with 0 rows"),
    "a row in a list": (lambda s: s.update(log_of([[1]])), "a row must hold numbers"),
    "a row of words": (lambda s: s.update(log_of([{"iteration": 0, "a": "b"}])), "a row must hold numbers"),
    "an endless number": (lambda s: s.update(log_of([{"iteration": 0, "a": 10**4000}])), "a row must hold numbers"),
    "a name that is no text": (lambda s: s.update(log_of([{"iteration": 0, "\ud800": 1}])), "names that can be"),
    "rows that make no table": (lambda s: s.update(log_of(table_of(5000))), "too few names to be one table"),
    "rows out of order": (lambda s: s.update(log_of([{"iteration": 1}])), "rows must be in order"),
    "a row without a number": (lambda s: s.update(log_of([{}])), "rows must be in order"),
    "an episode of nobody": (lambda s: s.update(log_of(episodes=[EPISODE | {"policy": "x"}])), "an episode must"),
    "half an episode": (lambda s: s.update(log_of(episodes=[{"policy": "expert"}])), "an episode must"),
    "a length below 0": (lambda s: s.update(log_of(episodes=[EPISODE | {"length": -1}])), "an episode must"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_state_is_refused_by_name_and_nothing_is_changed(stopped, tmp_path, name):
    update, message = WRONG[name]
    change(tmp_path, update)
    trainer = build(tmp_path)
    before = json.dumps(trainer.policy.state_dict(), default=lambda tensor: tensor.tolist())
    with pytest.raises(InputError) as caught:
        go_on(trainer)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'checkpoint' / 'state_1.pt'}: is no checkpoint of this run (")
    assert json.dumps(trainer.policy.state_dict(), default=lambda tensor: tensor.tolist()) == before
    assert not trainer.resumed and len(trainer.buffer) == 0
    assert all(count == 0 for count in trainer.policy.optimizer.counts)


def test_a_log_that_is_packed_is_refused_before_it_is_read(stopped, tmp_path):
    """A megabyte of brackets in a kilobyte: reading them would take thirty times as much."""
    change(tmp_path, lambda state: state.update(log=torch.full((2_000_000,), 91, dtype=torch.uint8)))
    path = tmp_path / "checkpoint" / "state_1.pt"
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    seal(tmp_path)
    with pytest.raises(InputError, match="the log is packed"):
        go_on(build(tmp_path))


def test_an_optimiser_of_torch_that_does_not_fit_is_refused(tmp_path):
    policies = [WithTorchsAdam.for_env(make_env("Corridor-v0"), n_layers=1, size=3) for _ in range(2)]
    stop(build(tmp_path, policies[0]))
    change(tmp_path, lambda state: state["optimizer"].pop("param_groups"))
    with pytest.raises(InputError, match="the optimiser's state does not fit"):
        go_on(build(tmp_path, policies[1]))


def test_passes_bound_the_steps_too(tmp_path):
    """The held-out steps are known only when the buffer is filled: what is left of the check is made then."""
    settings = {"n_epochs": 2, "val_fraction": 0.4}  # 8 and 3 steps, of which 3 and 1 are held out: 2 x 2 minibatches
    trainer = stop(build(tmp_path, **settings))
    assert trainer.fitting.steps_done == 4
    change(tmp_path, lambda state: state.update(steps_done=7, losses=[0.5] * 7))
    with pytest.raises(InputError, match="gradient step 7 of 6"):
        go_on(build(tmp_path, **settings))
    change(tmp_path, lambda state: state.update(steps_done=6, losses=[0.5] * 6))
    trainer = go_on(build(tmp_path, **settings))
    trainer.store(1, trainer.recorded[1])
    with pytest.raises(InputError, match="the checkpoint is of gradient step 6, but there are 4"):
        trainer.train(1)


def test_data_of_another_environment_are_refused_by_name(stopped, tmp_path):
    with pytest.raises(InputError, match=r"data_0.npz: an observation has the shape \(2,\), but .* observes \(8,\)"):
        Checkpoints(tmp_path).load(make_env("LunarLander-v3"))


INDICES = [
    "[" * 100_000,
    '{"state": "state_1.pt", "files": []}',
    '{"state": "state_1.pt", "files": {"data_0.npz": "0"}}',
]
INDICES += [
    '{"state": "state_1.pt\\u0000", "files": {"state_1.pt\\u0000": "0", "data_0.npz": "0"}}',
    '"\\ud800"',
    "1",
]
INDICES += ['{"state": "state_1.pt", "files": {"state_1.pt": "0", "data_1.npz": "0"}}']
INDICES += ['{"state": "state_1.pt", "files": {"state_1.pt": "0", "data_0.npz": "0", "../x": "0"}}']


@pytest.mark.parametrize("text", INDICES)
def test_an_odd_index_is_refused_by_name(stopped, tmp_path, text):
    (tmp_path / "checkpoint" / INDEX).write_text(text)
    with pytest.raises(InputError, match=rf"{INDEX}: is no index of a checkpoint"):
        Checkpoints(tmp_path).load()


def test_what_is_no_plain_file_is_not_read(stopped, tmp_path):
    (tmp_path / "checkpoint" / "data_1.npz").unlink()
    os.symlink("/dev/null", tmp_path / "checkpoint" / "data_1.npz")
    with pytest.raises(InputError, match="no such file"):
        Checkpoints(tmp_path).load()


def test_a_long_run_s_log_is_read_in_one_go(stopped, tmp_path):
    """Thousands of iterations: more text than may stand around tensors, and no search through it for each."""
    n = 20_000
    rows = [{"iteration": i, "Training Loss": 1 / (i + 1), "Eval_AverageReturn": 0.5} for i in range(n)]
    episodes = [EPISODE | {"iteration": i // 3, "return": float(i)} for i in range(3 * n)]
    change(tmp_path, lambda state: state.update(log_of(rows, episodes)))
    assert (tmp_path / "checkpoint" / "state_1.pt").stat().st_size > 4_000_000
    trainer = build(tmp_path)
    state, _ = trainer.checkpoints.load()
    trainer.logger.go_on_from(n, **state["log"])
    started = time.monotonic()
    results = trainer.logger.results()
    assert time.monotonic() - started < 5
    assert [r.tolist() for r in (results[-1].returns, results[5].returns)] == [
        [3.0 * n - 3, 3 * n - 2, 3 * n - 1],
        [15, 16, 17],
    ]
