"""The minibatches and the gradient steps of several networks in one policy."""

import copy

import numpy as np
import pytest
from fake_policy import CountingPolicy
from test_compiled import assert_same, stored
from test_rl_trainer import build

from rl_il.envs import make_env
from rl_il.infrastructure.compiled import CompiledUpdate
from rl_il.policies.ensemble import EnsemblePolicySL


class Noting(EnsemblePolicySL):
    """An ensemble that keeps its batches."""

    compilable = False

    def update(self, observations, actions, noise=None):
        self.__dict__.setdefault("seen", []).append(observations[:, :2].tolist())
        return super().update(observations, actions)


def seen(own: str, **settings) -> list[list]:
    """Return the batches of an iteration in which the demonstrations are those of `test_rl_trainer`, 8 states."""
    policy = Noting.for_env(make_env("Corridor-v0"), n_layers=1, size=8, ensemble=3, ensemble_minibatches=own)
    build(policy, **settings).run_training_loop()
    return policy.seen


def test_own_minibatches_are_drawn_for_each_network_and_shared_ones_are_those_of_one_network():
    own, shared = seen("own"), seen("shared")
    assert [len(batch) for batch in own] == [12] * 3 and [len(batch) for batch in shared] == [4] * 3
    for batch in own:
        parts = [batch[0:4], batch[4:8], batch[8:12]]
        assert parts[0] != parts[1] != parts[2] != parts[0]
    single = CountingPolicy()
    build(single).run_training_loop()
    assert shared == [np.asarray(obs).tolist() for obs, _ in single.batches]


def test_in_a_pass_each_network_sees_all_states_once_in_its_own_order():
    batches = seen("own", n_epochs=2, train_batch_size=3)
    assert [len(batch) for batch in batches] == [9, 9, 6] * 2  # 3, 3 and 2 of the 8 states for each of 3 networks
    orders = []
    for i in range(3):
        own = [state for batch in batches[:3] for state in np.split(np.array(batch), 3)[i].tolist()]
        assert len({*map(tuple, own)}) == 8
        orders.append(own)
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.slow
@pytest.mark.parametrize(("discrete", "own"), [(True, "own"), (False, "shared")])
def test_compiled_and_eager_training_agree(discrete, own):
    loss = {} if discrete else {"loss": "nll"}
    eager = EnsemblePolicySL(
        (4,), 3, discrete, size=32, ensemble=3, ensemble_minibatches=own, learning_rate=1e-3, **loss
    )
    fast, buffer = copy.deepcopy(eager), stored(500, discrete)
    rows = 64 * eager.minibatches
    step = CompiledUpdate(fast, rows).on(buffer, buffer.batch)
    for drawn in buffer.draws(rows, np.random.default_rng(0), 200):
        assert step(drawn).item() == pytest.approx(eager.update(*buffer.batch(drawn))["Training Loss"], abs=1e-5)
    assert_same(eager, fast)
