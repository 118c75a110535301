import importlib.metadata
import json
import sys

import numpy as np
import pytest
import torch

from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.policies.mlp_policy import MLPPolicySL

sys.path.insert(0, str(REPOSITORY / "scripts"))

import _peers
import benchmark
from benchmark import AT_LEAST, AT_MOST, Row


@pytest.mark.parametrize(
    ("row", "ratio", "met"),
    [
        (Row("speed", "steps/s", 600, 100, AT_LEAST, 6), 6, True),
        (Row("speed", "steps/s", 590, 100, AT_LEAST, 6), 5.9, False),
        (Row("time, the shorter the better", "s", 2, 3, AT_LEAST, 1.5), 1.5, True),
        (Row("time, the shorter the better", "s", 3, 2, AT_LEAST, 1.5), 2 / 3, False),
        (Row("memory over a bound", "MB", 3, 2, AT_MOST, 1.3), 1.5, False),
        (Row("time within a bound", "s", 2.5, 2, AT_MOST, 1.3), 1.25, True),
    ],
)
def test_ratios_and_targets(row, ratio, met):
    assert row.ratio == pytest.approx(ratio)
    assert row.met is met


def test_both_sides_alternate_and_the_medians_are_returned():
    order = []

    def side(name, values):
        numbers = iter(values)
        return lambda: order.append(name) or next(numbers)

    assert benchmark.alternate(side("ours", [1, 9, 2]), side("theirs", [30, 10, 20]), repeats=3) == (2, 20)
    assert order == ["ours", "theirs"] * 3


def test_the_table_and_the_json_file(monkeypatch, tmp_path, capsys):
    def fast(repeats, imitation):
        assert (repeats, imitation) == (3, None)
        yield Row("a row", "steps/s", 12_500, 1_000, AT_LEAST, 6)
        yield Row("another", "s", 2, 1, AT_MOST, 1.5)

    monkeypatch.setattr(benchmark, "BENCHMARKS", {"fast": fast, "never": None})
    flags = f"--only fast --repeats 3 --json {tmp_path / 'b'}"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *flags.split()])
    benchmark.main()
    out, err = capsys.readouterr()
    assert err.splitlines() == ["a row: 12.50", "another: 2.00"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()[-2:]]
    assert cells[0] == ["a row", "12,500", "1,000", "steps/s", "12.50", "at least 6", "yes"]
    assert cells[1] == ["another", "2", "1", "s", "2.00", "at most 1.5", "NO"]
    assert f"torch {importlib.metadata.version('torch')}" in out.splitlines()[0]
    assert json.loads((tmp_path / "b").read_text()) == {
        "rows": [
            {"name": "a row", "ours": 12_500, "theirs": 1000, "ratio": 12.5, "target": 6, "met": True},
            {"name": "another", "ours": 2, "theirs": 1, "ratio": 2.0, "target": 1.5, "met": False},
        ]
    }


@pytest.mark.parametrize("discrete", [True, False])
def test_the_peers_learn(discrete):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(400, 3)).astype(np.float32)
    acs = np.int64(obs[:, 0] > 0) if discrete else obs[:, :2].copy()
    for loop in (_peers.course_training, _peers.loader_training):
        policy = _peers.CoursePolicy(3, 2, discrete)
        loop(obs, acs, policy, 300)
        with torch.no_grad():
            output = policy.network(torch.from_numpy(obs)).numpy()
        assert (output.argmax(1) == acs).mean() > 0.95 if discrete else np.abs(output - acs).mean() < 0.1


def test_the_peers_draw_actions_or_take_the_most_probable():
    torch.manual_seed(0)
    policy = _peers.CoursePolicy(3, 4, True)
    with torch.no_grad():
        policy.network[-1].weight.zero_()
        policy.network[-1].bias.copy_(torch.tensor([0.5, 0.5, 1e-9, 1e-9]).log())
    assert {int(policy.get_action(np.zeros(3, np.float32), draw=True)) for _ in range(50)} == {0, 1}
    for discrete in (True, False):
        policy, ours = _peers.CoursePolicy(3, 4, discrete), MLPPolicySL((3,), 4, discrete, seed=1)
        policy.network.load_state_dict(ours.head.network.state_dict())
        for ob in np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32):
            np.testing.assert_allclose(policy.get_action(ob, draw=False), ours.get_action(ob), atol=1e-6)


def test_the_loaders_shuffling_is_counted_in_part(monkeypatch):
    # The clock advances by 1 at each reading: 1 for shuffling, 1 for the steps, which are a tenth of an epoch.
    clock = iter(range(100))
    monkeypatch.setattr(_peers.time, "perf_counter", lambda: next(clock))
    obs, acs = np.zeros((10_000, 3), np.float32), np.zeros(10_000, np.int64)
    assert _peers.loader_training(obs, acs, _peers.CoursePolicy(3, 2, True), 10) == pytest.approx(1.1)


def test_speeds_are_measured_on_real_trainers_and_loops():
    trainer, obs, acs = benchmark.filled_trainer("HalfCheetah-v5", 300, steps=20, compile="off")
    assert len(trainer.buffer) == len(obs) == len(acs) == 300
    assert benchmark.training_speed(trainer) > 0
    peer = _peers.CoursePolicy(17, 6, False)
    assert benchmark.loop_speed(_peers.course_training, obs, acs, peer, 3) > 0
    assert benchmark.loop_speed(lambda *_: 2.0, obs, acs, peer, 3) == 1.5  # the loop returns two seconds


def test_both_sides_roll_out_the_same_episodes(monkeypatch):
    env, policy = benchmark.cloned("MountainCar-v0")
    peer = _peers.CoursePolicy(2, 3, True)
    peer.network.load_state_dict(policy.head.network.state_dict())
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))  # everything takes two seconds
    assert benchmark.course_speed(env, peer, 3) == benchmark.steps_per_second(env, policy.actor(), 3) > 100


def test_a_command_that_fails_is_not_measured():
    assert 0 < benchmark.call([sys.executable, "-c", "exit(2)"], 2) < 10
    for program, status, told in (("exit('no such thing')", 0, "no such thing"), ("pass", 2, "pass")):
        with pytest.raises(InputError, match=told):
            benchmark.call([sys.executable, "-c", program], status)
    with pytest.raises(InputError, match=r"--imitation .*imitation"):
        benchmark.imitation_speed(sys.executable)


def test_the_replayed_steps_are_those_of_the_run():
    # The steps of the first run are recorded; a second run makes the same steps.
    run, replay = benchmark.dagger_and_replay("LunarLander-v3", n_iter=2, num_agent_train_steps_per_iter=5)
    env = replay.keywords["env"]
    first = [(seed, list(acs)) for seed, acs in env.log]
    env.log.clear()
    run(env)
    assert env.log == first
    assert run() > 0
    assert replay() > 0
