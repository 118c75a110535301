import importlib.metadata
import json
import sys
from collections import Counter
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.files import REPOSITORY, shipped
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs.parts import count_eval_episodes

sys.path.insert(0, str(REPOSITORY / "scripts"))

import _peers
import _shell
import _sides
import benchmark
from benchmark import AT_LEAST, AT_MOST, Result, Row


def fixed_row(name, unit, bound, target, ours=0.0, theirs=0.0):
    """Return a row whose sides always measure these numbers."""
    return Row(name, unit, bound, target, lambda: iter([(lambda: ours, lambda: theirs)]))


@pytest.mark.parametrize(
    ("unit", "bound", "target", "ours", "theirs", "ratio", "met"),
    [
        ("steps/s", AT_LEAST, 6, 600, 100, 6, True),
        ("steps/s", AT_LEAST, 6, 590, 100, 5.9, False),
        ("s", AT_LEAST, 1.5, 2, 3, 1.5, True),
        ("s", AT_LEAST, 1.5, 3, 2, 2 / 3, False),
        ("MB", AT_MOST, 1.3, 3, 2, 1.5, False),
        ("s", AT_MOST, 1.3, 2.5, 2, 1.25, True),
        ("s", AT_MOST, None, 30, 2, 15, None),
    ],
)
def test_ratios_and_targets(unit, bound, target, ours, theirs, ratio, met):
    result = Result(fixed_row("a row", unit, bound, target), ours, theirs)
    assert result.ratio == pytest.approx(ratio)
    assert result.met is met


@pytest.mark.parametrize(
    ("once", "medians", "n"), [(False, (2, 20), 4), (True, (100, 100), 1)], ids=["the first is not counted", "once"]
)
def test_both_sides_alternate_and_the_medians_are_returned(once, medians, n):
    order = []

    def side(name, values):
        numbers = iter(values)
        return lambda: order.append(name) or next(numbers)

    def sides():
        yield side("ours", [100, 1, 9, 2]), side("theirs", [100, 30, 10, 20])
        order.append("end")

    result = Row("a row", "s", AT_LEAST, 1, sides, once).measure(repeats=3)
    assert (result.ours, result.theirs) == medians
    assert order == ["ours", "theirs"] * n + ["end"]


def run_main(monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *flags])
    benchmark.main()


def test_the_table_and_the_json_file(monkeypatch, tmp_path, capsys):
    rows = [
        fixed_row("fast: a row", "steps/s", AT_LEAST, 6, 12_500, 1_000),
        fixed_row("fast: another", "s", AT_MOST, 1.5, 2, 1),
        fixed_row("slow: a start", "s", AT_MOST, None, 3, 1),
        Row("slow: never", "s", AT_MOST, 1, None),
    ]
    monkeypatch.setattr(benchmark, "all_rows", lambda imitation: rows)
    run_main(monkeypatch, *f"--only fast start --repeats 3 --json {tmp_path / 'b'}".split())
    out, err = capsys.readouterr()
    assert err.splitlines() == ["fast: a row: 12.50", "fast: another: 2.00", "slow: a start: 3.00"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()[-3:]]
    assert cells[0] == ["fast: a row", "12,500", "1,000", "steps/s", "12.50", "at least 6", "yes"]
    assert cells[1] == ["fast: another", "2", "1", "s", "2.00", "at most 1.5", "NO"]
    assert cells[2] == ["slow: a start", "3", "1", "s", "3.00", "none", ""]
    assert f"torch {importlib.metadata.version('torch')}" in out.splitlines()[0]
    assert json.loads((tmp_path / "b").read_text())["rows"][1:] == [
        {"name": "fast: another", "target": 1.5, "ours": 2, "theirs": 1, "ratio": 2.0, "met": False},
        {"name": "slow: a start", "target": None, "ours": 3, "theirs": 1, "ratio": 3.0, "met": None},
    ]


def test_rows_are_listed_and_chosen_by_their_names(monkeypatch, capsys):
    run_main(monkeypatch, "--list")
    names = capsys.readouterr().out.splitlines()
    assert len(names) == len({*names})
    groups = Counter(name.partition(":")[0] for name in names)
    assert {"training", "rollouts", "DAgger", "shell", "buffer"} == {*groups}
    run_main(monkeypatch, "--list", "--only", "DAgger:")
    assert len(capsys.readouterr().out.splitlines()) == groups["DAgger"] == 3
    run_main(monkeypatch, "--list", "--only", "imitation", "--imitation", "another_python")
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(InputError, match="imitation"):  # no row without its Python
        run_main(monkeypatch, "--list", "--only", "imitation")


def test_a_python_without_imitation_is_refused_before_the_measurements(monkeypatch):
    monkeypatch.setattr(Row, "measure", None)
    with pytest.raises(InputError, match="imitation"):
        run_main(monkeypatch, "--imitation", sys.executable)


@pytest.mark.parametrize("loop", [_peers.course_training, _peers.loader_training, _peers.fused_training])
@pytest.mark.parametrize("discrete", [True, False])
def test_the_peers_learn(discrete, loop):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(400, 3)).astype(np.float32)
    acs = np.int64(obs[:, 0] > 0) if discrete else obs[:, :2].copy()
    policy = _peers.CoursePolicy(3, 2, discrete, fused=loop is _peers.fused_training)
    loop(obs, acs, policy, 300)
    with torch.no_grad():
        output = policy.network(torch.from_numpy(obs)).numpy()
    assert (output.argmax(1) == acs).mean() > 0.95 if discrete else np.abs(output - acs).mean() < 0.1


@pytest.mark.parametrize("head", ["gaussian", "mixture", "flow"])
def test_the_plain_loop_of_a_head_learns(head):
    torch.manual_seed(0)
    obs = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    loop = _peers.HeadLoop(head, obs, np.zeros((400, 2), np.float32))  # the labels are always the same
    torch.manual_seed(1)
    before = float(loop.loss(loop.obs, loop.labels))
    loop.train(60)
    torch.manual_seed(1)
    assert float(loop.loss(loop.obs, loop.labels)) < 0.7 * before
    assert loop.labels.shape == (393, 16)
    outputs = 5 * (1 + 2 * 16) if head == "mixture" else 16
    assert loop.widths == (3 + (17 if head == "flow" else 0), 256, 256, 256, outputs)


def test_a_layer_has_three_matrix_products_and_the_first_two(monkeypatch):
    products, shapes = _peers.matrix_products((3, 5, 2)), []
    monkeypatch.setattr(torch, "mm", lambda a, b: shapes.append((*a.shape, b.shape[1])))
    products(1)
    n = _peers.MINIBATCH
    assert shapes == [(n, 3, 5), (3, n, 5), (n, 5, 2), (5, n, 2), (n, 2, 5)]


def test_the_speed_of_heads_is_measured_on_real_trainers(monkeypatch):
    monkeypatch.setattr(_sides, "HEAD_SETTINGS", {**_sides.HEAD_SETTINGS, "compile": "off"})
    for sides in (_sides.head_training, _sides.head_limit):
        ours, theirs = next(sides("flow", rows=200, steps=3))
        assert min(ours(), theirs()) > 0
        trainer = ours.args[0]
        assert trainer.config.chunk == 8 and trainer.config.train_batch_size == 128


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


@pytest.mark.parametrize("loop", [_peers.course_training, _peers.fused_training])
def test_speeds_are_measured_on_real_trainers_and_loops(loop, monkeypatch):
    trainer, obs, acs = _sides.filled_trainer("HalfCheetah-v5", 300, steps=20, compile="off")
    assert len(trainer.buffer) == len(obs) == len(acs) == 300
    monkeypatch.setattr(_sides, "filled_trainer", lambda *_: (trainer, obs, acs))
    ours, theirs = next(_sides.training("HalfCheetah-v5", 300, loop, 3))
    assert min(ours(), theirs()) > 0
    peer = theirs.args[3]
    assert peer.optimizer.defaults["fused"] is (loop is _peers.fused_training)
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(_sides.time, "perf_counter", lambda: next(clock))  # everything takes two seconds
    assert _sides.loop_speed(loop, obs, acs, peer, 3) == 1.5
    assert _sides.loop_speed(lambda *_: 6.0, obs, acs, peer, 3) == 0.5  # the loop itself returns the seconds


def test_both_sides_roll_out_the_same_episodes(monkeypatch):
    ours, theirs = next(_sides.rollouts("MountainCar-v0", 3))
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(_sides.time, "perf_counter", lambda: next(clock))  # everything takes two seconds
    assert ours() == theirs() > 100


def test_a_command_that_fails_is_not_measured():
    assert _shell.printed([sys.executable, "-c", "print('speed', 2.5)"]) == 2.5
    assert _shell.command([sys.executable, "-c", "exit(2)"], 2) == ""
    for program, status, told in (("exit('no such thing')", 0, "no such thing"), ("pass", 2, "pass")):
        with pytest.raises(InputError, match=told):
            _shell.command([sys.executable, "-c", program], status)


def test_a_cold_script_has_caches_of_its_own(monkeypatch):
    given = []
    monkeypatch.setattr(_shell, "command", lambda words, status, environment: given.append(environment))
    for cold in (False, True, True):
        _shell.script("run_hw1.py", "--help", cold=cold)
    assert [len(environment) for environment in given] == [1, 3, 3]
    assert {*given[1]} == {"RL_IL_DATA", "RL_IL_CACHE", "TORCHINDUCTOR_CACHE_DIR"}
    assert not {*given[1].values()} & {*given[2].values()}


def test_compared_commands_evaluate_on_equally_many_episodes():
    for env_name, episodes in (("LunarLander-v3", _shell.DAGGER_AMOUNTS[1]), ("HalfCheetah-v5", 1)):
        assert count_eval_episodes(RunConfig(env_name=env_name), make_env(env_name)) == episodes


def test_the_course_run_labels_what_it_visits(monkeypatch, capsys):
    # Each line has the iteration, the rows of the buffer, the mean return, and the steps of the evaluation.
    monkeypatch.setattr(_peers, "N_ITER", 3)
    monkeypatch.setattr(_peers, "BATCH_SIZE", 10)
    trained_on = []
    monkeypatch.setattr(_peers, "course_training", lambda obs, acs, policy, n_steps: trained_on.append((obs, acs)))
    files = (str(shipped(*names, "LunarLander-v3.npz")) for names in (("data", "demos"), ("experts",)))
    _peers.course_run("LunarLander-v3", next(files), 3, 2, next(files))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(line[0]) for line in lines] == [0, 1, 2]
    assert [int(line[1]) for line in lines] == [len(obs) for obs, _ in trained_on]
    expert = load_expert(None, make_env("LunarLander-v3"))
    for (before, _), (obs, acs) in pairwise(trained_on):
        new = slice(len(before), None)
        assert len(obs[new]) >= 10
        np.testing.assert_array_equal(obs[: len(before)], before)
        np.testing.assert_array_equal(acs[new], expert.get_action(obs[new]))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_replayed_steps_are_those_of_the_run(num_workers, monkeypatch):
    envs = []
    monkeypatch.setattr(_sides, "recording", lambda name, make=_sides.recording: envs.append(make(name)) or envs[0])
    settings = {"n_iter": 2, "num_agent_train_steps_per_iter": 5, "eval_batch_size": 300, "compile": "off"}
    for run, steps in _sides.stepping("LunarLander-v3", num_workers, **settings):
        log = envs[0].log
        first = [(seed, list(acs)) for seed, acs in log]
        assert min(run(), steps()) > 0
        place, file, n = steps.args[0].args
        assert _sides.repeat_steps(place, file, n) == sum(len(acs) for _, acs in first)
        for again in (partial(run.func, envs[0]), partial(_sides.repeat_steps, envs[0], file, n)):
            log.clear()
            again()
            assert log == first
