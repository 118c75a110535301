import json
import math
import pickle

import numpy as np
import pytest
import torch
from course_files import PROTOCOLS, RunsCode, expert_action, expert_tree, write_demonstrations, write_pickle

from rl_il.envs import ENVS
from rl_il.errors import InputError
from rl_il.evaluation import evaluate
from rl_il.files import REPOSITORY
from rl_il.policies.experts import SCRIPTED_EXPERTS, latest_policy, load_actor, load_expert, two_parabola_rule
from rl_il.policies.mlp_policy import MLPPolicySL

DISCRETE, CONTINUOUS = "MountainCar-v0", "MountainCarContinuous-v0"  # both observe two numbers
W0, B0 = [[1, -1], [2, 0]], [0, 1]
OB = np.array([0.5, -0.25], np.float32)  # the first layer gives (0, 0.5)


@pytest.fixture
def write(tmp_path):
    def write(*layers, activation="relu", output="identity", arrays=None, **meta):
        content = {"meta": np.array(json.dumps({"activation": activation, "output": output} | meta))}
        for i, (w, b) in enumerate(layers):
            content |= {f"w{i}": np.array(w, np.float32), f"b{i}": np.array(b, np.float32)}
        np.savez(tmp_path / "expert.npz", **content | (arrays or {}))
        return tmp_path / "expert.npz"

    return write


def refusal(policy, env, read=load_actor):
    with pytest.raises(InputError) as error:
        read(policy, env)
    assert "\n" not in str(error.value)
    return str(error.value)


# Our own weights -------------------------------------------------------------------------------------------


def test_a_discrete_expert_by_hand(write, shared_env):
    path = write((W0, B0), ([[1, 0, -1], [0, 1, 0]], [0, 0.25, 0.5]), output="argmax")
    expert = load_expert(str(path), shared_env(DISCRETE))
    obs = np.array([OB, [0.5, 1], [1, -0.5]], np.float32)
    assert expert.get_action(obs).tolist() == [1, 0, 2]
    assert expert.get_action(obs).dtype == np.int64
    assert [expert.get_action(ob).tolist() for ob in obs] == [1, 0, 2]
    assert expert.get_action(OB).shape == ()


@pytest.mark.parametrize(
    "output, meta, action",
    [
        ("identity", {}, 1.5),
        ("tanh", {}, math.tanh(1.5)),
        ("tanh", {"action_scale": [2.0]}, 2 * math.tanh(1.5)),
        ("clip", {"action_low": [-1.0], "action_high": [1.25]}, 1.25),
        ("clip", {"action_low": [2.0], "action_high": [3.0]}, 2.0),
        ("clip", {}, 1.5),
    ],
)
def test_outputs_of_a_continuous_expert_by_hand(write, shared_env, output, meta, action):
    path = write((W0, B0), ([[1], [2]], [0.5]), output=output, **meta)
    expert = load_expert(str(path), shared_env(CONTINUOUS))
    assert expert.get_action(OB) == pytest.approx([action])
    batch = expert.get_action(np.stack([OB, OB]))
    assert batch.shape == (2, 1) and batch.dtype == np.float32


@pytest.mark.parametrize(
    "activation, negative, positive",
    [
        ("tanh", math.tanh(-2), math.tanh(2)),
        ("relu", 0, 2),
        ("leaky_relu", -0.02, 2),
        ("elu", math.exp(-2) - 1, 2),
        ("sigmoid", 1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))),
    ],
)
def test_activations_by_hand(write, shared_env, activation, negative, positive):
    path = write(([[1], [0]], [0]), ([[1]], [0]), activation=activation)
    expert = load_actor(path, shared_env(CONTINUOUS))
    assert expert.get_action(np.array([[-2, 9], [2, 9]]))[:, 0] == pytest.approx([negative, positive])


def test_observations_are_standardised(write, shared_env):
    path = write(([[1], [10]], [0]), arrays={"obs_mean": np.array([1.0, 2.0]), "obs_std": np.array([2.0, 4.0])})
    expert = load_actor(path, shared_env(CONTINUOUS))
    assert expert.get_action(np.array([2.0, -2.0])).tolist() == [0.5 - 10]


@pytest.mark.parametrize("bounds, action", [([0, 1], 3), ([1, 2], 5), ([-1, None], None), (None, None)])
def test_an_expert_may_read_a_slice_of_the_observation(write, shared_env, bounds, action):
    path = write(([[1]], [0]), **({} if bounds is None else {"obs_slice": bounds}))
    if action is None:
        refusal(path, shared_env(CONTINUOUS))
    else:
        assert load_actor(path, shared_env(CONTINUOUS)).get_action(np.array([3.0, 5.0])).tolist() == [action]


def test_the_ant_expert_reads_what_all_ants_share(shared_env):
    four, five = (load_expert(None, shared_env(name)) for name in ("Ant-v4", "Ant-v5"))
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(5, 105))
    np.testing.assert_array_equal(four.get_action(obs[:, :27]), five.get_action(obs))
    assert four.get_action(obs[0, :27]).shape == five.get_action(obs[0]).shape == (8,)
    assert np.ptp(five.get_action(obs), axis=0).min() > 0


@pytest.mark.parametrize("old, new", [(name, name.replace("v4", "v5")) for name in ENVS if name.endswith("-v4")])
def test_version_4_shares_the_expert_of_version_5(shared_env, old, new):
    assert ENVS[old].expert == ENVS[new].expert
    assert shared_env(old).action_space.shape == shared_env(new).action_space.shape


GOOD = ((W0, B0), ([[1], [2]], [0.5]))


@pytest.mark.parametrize(
    "layers, changes, words",
    [
        ((), {}, ["lacks w0, b0"]),
        (GOOD, {"arrays": {"w3": np.ones((1, 1))}}, ["lacks w2, b2"]),
        (GOOD, {"arrays": {"meta": np.array("{}")}}, ["lacks activation, output"]),
        (GOOD, {"arrays": {"meta": np.array("no json")}}, ["JSON object under 'meta'"]),
        (GOOD, {"activation": "swish"}, ["unknown activation 'swish'", "tanh, relu"]),
        (GOOD, {"activation": ["relu", "relu"]}, ["activation"]),
        (GOOD, {"output": "softmax"}, ["unknown output 'softmax'", "argmax, identity, tanh or clip"]),
        (GOOD, {"arrays": {"w0": np.ones((2, 2), int)}}, ["weights must be floats"]),
        (GOOD, {"arrays": {"w0": np.array([["a", "b"]] * 2)}}, ["weights must be floats"]),
        (GOOD, {"arrays": {"b0": np.zeros(3)}}, ["layer 0", "(2, 2)", "(3,)", "(in, out)"]),
        (GOOD, {"arrays": {"w0": np.zeros(2)}}, ["layer 0", "(2,)"]),
        (GOOD, {"arrays": {"w1": np.zeros((3, 1))}}, ["layer 1 takes 3 numbers", "layer 0 gives 2"]),
        (GOOD, {"arrays": {"w1": np.full((2, 1), np.nan)}}, ["layer 1 holds NaN or infinity"]),
        (GOOD, {"arrays": {"b0": np.full(2, np.inf)}}, ["layer 0 holds NaN or infinity"]),
        (GOOD, {"arrays": {"obs_mean": np.zeros(3), "obs_std": np.ones(3)}}, ["obs_mean", "2 finite", "(3,)"]),
        (GOOD, {"arrays": {"obs_mean": np.zeros(2), "obs_std": np.array([1, np.nan])}}, ["obs_std", "finite"]),
        (GOOD, {"arrays": {"obs_mean": np.zeros(2), "obs_std": np.zeros(2)}}, ["obs_std"]),
        (GOOD, {"arrays": {"obs_mean": np.zeros(2)}}, ["obs_std"]),
        (GOOD, {"arrays": {"obs_std": np.ones(2)}}, ["obs_mean"]),
        (GOOD, {"obs_slice": 3}, ["obs_slice must be two integers", "3"]),
        (GOOD, {"obs_slice": [0, 1.5]}, ["obs_slice must be two integers", "1.5"]),
        (GOOD, {"obs_slice": [0, 1]}, ["layer 0 takes 2 numbers", "observation has 1"]),
        (GOOD, {"output": "tanh", "action_scale": [1.0, 2.0]}, ["action_scale"]),
        (GOOD, {"output": "tanh", "action_scale": "big"}, ["action_scale"]),
    ],
)
def test_a_malformed_expert_is_refused_with_its_path(write, shared_env, layers, changes, words):
    path = write(*layers, **changes)
    message = refusal(path, shared_env(CONTINUOUS))
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def test_demonstrations_are_no_expert(shared_env):
    path = ENVS["LunarLander-v3"].demos_path
    assert refusal(path, shared_env("LunarLander-v3")).startswith(f"{path}: is not an expert's file: it lacks w0, b0")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_a_broken_npz_is_refused(tmp_path, shared_env, content):
    (tmp_path / "x.npz").write_bytes(content)
    assert "x.npz: is not a readable .npz file" in refusal(tmp_path / "x.npz", shared_env(DISCRETE))


@pytest.mark.parametrize(
    "file, env, words",
    [
        (
            "LunarLander-v3.npz",
            "LunarLanderContinuous-v3",
            ["gives 4 discrete actions", "2 continuous action dimensions"],
        ),
        (
            "LunarLanderContinuous-v3.npz",
            "LunarLander-v3",
            ["gives 2 continuous action dimensions", "4 discrete actions"],
        ),
        ("HalfCheetah-v5.npz", "Hopper-v5", ["(17,)", "Hopper-v5 observes (11,)"]),
        ("LunarLander-v3.npz", "CartPole-v1", ["(8,)", "CartPole-v1 observes (4,)"]),
        ("Hopper-v5.npz", "Ant-v4", ["(11,)", "Ant-v4 observes (27,)"]),
        ("Ant-v5.npz", "HalfCheetah-v4", ["27", "17"]),
    ],
)
def test_another_environments_expert_is_refused_with_both_numbers(shared_env, file, env, words):
    path = REPOSITORY / "experts" / file
    message = refusal(path, shared_env(env))
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def test_another_number_of_actions_is_refused(write, shared_env):
    two = write((W0, B0), output="argmax")
    assert "gives 2 discrete actions, but MountainCar-v0 takes 3" in refusal(two, shared_env(DISCRETE))
    two = write((W0, B0))
    assert "gives 2 continuous action dimensions, but MountainCarContinuous-v0 takes 1" in refusal(
        two, shared_env(CONTINUOUS)
    )


# Names -----------------------------------------------------------------------------------------------------


def test_the_velocity_rule_by_hand(shared_env):
    expert = load_expert("velocity_rule", shared_env(DISCRETE))
    obs = np.array([[-0.5, 0.01], [-0.5, 0.0], [0.3, -0.01]], np.float32)
    assert expert.get_action(obs).tolist() == [2, 2, 0]
    assert expert.get_action(obs).dtype == np.int64
    assert expert.get_action(obs[2]).tolist() == 0
    assert load_expert(None, shared_env(DISCRETE)).get_action(obs).tolist() == [2, 2, 0]


@pytest.mark.parametrize("name", [CONTINUOUS, "LunarLander-v3"])
def test_a_rule_is_for_its_own_environment(shared_env, name):
    assert refusal("velocity_rule", shared_env(name)) == f"velocity_rule is for MountainCar-v0, not for {name}"


def test_expert_is_the_shipped_one(shared_env):
    env = shared_env("LunarLander-v3")
    obs = np.random.default_rng(0).normal(size=(20, 8))
    shipped = load_actor(REPOSITORY / "experts" / "LunarLander-v3.npz", env)
    np.testing.assert_array_equal(load_actor("expert", env).get_action(obs), shipped.get_action(obs))


@pytest.mark.parametrize("name", [DISCRETE, "LunarLanderContinuous-v3"])
def test_random_acts_within_the_space_from_its_own_seed(shared_env, name):
    env = shared_env(name)
    actor = load_actor("random", env)
    obs = np.zeros((200, *env.observation_space.shape))
    actor.reset(seed=1)
    acs = actor.get_action(obs)
    assert all(env.action_space.contains(ac) for ac in acs)
    assert len(np.unique(acs)) >= 3
    actor.reset(seed=1)
    np.testing.assert_array_equal(actor.get_action(obs), acs)
    actor.reset(seed=2)
    assert not np.array_equal(actor.get_action(obs), acs)


def test_a_missing_file_names_what_else_there_is(tmp_path, shared_env):
    message = refusal(tmp_path / "missing.npz", shared_env(DISCRETE))
    assert message.startswith(f"{tmp_path / 'missing.npz'}: no such file")
    for name in ("expert", "random", *SCRIPTED_EXPERTS):
        assert name in message


@pytest.mark.parametrize("name", ["x.h5", "x", "x.txt"])
def test_an_unknown_suffix_is_refused(tmp_path, shared_env, name):
    (tmp_path / name).write_text("")
    message = refusal(tmp_path / name, shared_env(DISCRETE))
    assert message == f"{tmp_path / name}: unknown policy format; expected .npz, .pt, .pkl, .zip or a run folder"


# Checkpoints -----------------------------------------------------------------------------------------------


def saved_policy(path, env, seed=0):
    policy = MLPPolicySL.for_env(env, n_layers=1, size=4, seed=seed)
    policy.save(path)
    return policy


def obs_for(env, rows=20):
    return np.random.default_rng(0).normal(size=(rows, *env.observation_space.shape)).astype(np.float32)


@pytest.mark.parametrize("name", ["LunarLander-v3", "LunarLanderContinuous-v3"])
def test_an_own_checkpoint_acts_as_the_policy_did(tmp_path, shared_env, name):
    env = shared_env(name)
    policy = saved_policy(tmp_path / "x.pt", env)
    actor = load_expert(str(tmp_path / "x.pt"), env)
    np.testing.assert_allclose(actor.get_action(obs_for(env)), policy.get_action(obs_for(env)), atol=1e-6)


def test_a_run_folder_is_its_latest_policy(tmp_path, shared_env):
    env = shared_env(CONTINUOUS)
    policies = {itr: saved_policy(tmp_path / f"policy_itr_{itr}.pt", env, seed=itr) for itr in (10, 9, 1)}
    (tmp_path / "policy_itr_best.pt").write_bytes(b"")
    assert latest_policy(tmp_path) == tmp_path / "policy_itr_10.pt"
    action = load_actor(tmp_path, env).get_action(obs_for(env))
    np.testing.assert_allclose(action, policies[10].get_action(obs_for(env)), atol=1e-6)
    assert not np.allclose(action, policies[9].get_action(obs_for(env)))


def test_a_folder_without_policies_is_refused(tmp_path, shared_env):
    message = refusal(tmp_path, shared_env(DISCRETE))
    assert message == f"{tmp_path}: holds no policy_itr_*.pt; is it a run folder?"


@pytest.mark.parametrize(
    "made_for, used_in, words",
    [
        (DISCRETE, CONTINUOUS, ["gives 3 discrete actions", "takes 1 continuous action dimensions"]),
        (CONTINUOUS, DISCRETE, ["gives 1 continuous action dimensions", "takes 3 discrete actions"]),
        ("CartPole-v1", DISCRETE, ["(4,)", "MountainCar-v0 observes (2,)"]),
    ],
)
def test_a_checkpoint_for_another_environment_is_refused(tmp_path, shared_env, made_for, used_in, words):
    saved_policy(tmp_path / "x.pt", shared_env(made_for))
    message = refusal(tmp_path / "x.pt", shared_env(used_in))
    assert message.startswith(f"{tmp_path / 'x.pt'}: ")
    for word in words:
        assert word in message


def test_a_checkpoint_cut_short_is_refused(tmp_path, shared_env):
    env = shared_env(DISCRETE)
    saved_policy(tmp_path / "whole.pt", env)
    content = (tmp_path / "whole.pt").read_bytes()
    for length in range(0, len(content), len(content) // 20):
        (tmp_path / "x.pt").write_bytes(content[:length])
        assert refusal(tmp_path / "x.pt", env).startswith(f"{tmp_path / 'x.pt'}: is not a")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 junk", b"\x80\x02N.", b"\x80\x04]."])
def test_a_corrupt_checkpoint_is_refused(tmp_path, shared_env, content):
    (tmp_path / "x.pt").write_bytes(content)
    assert refusal(tmp_path / "x.pt", shared_env(DISCRETE)).startswith(f"{tmp_path / 'x.pt'}: is not a")


def test_pickled_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, shared_env):
    sentinel = tmp_path / "ran"
    saved_policy(tmp_path / "good.pt", shared_env(DISCRETE))
    good = torch.load(tmp_path / "good.pt", weights_only=True)
    for content in (RunsCode(sentinel), good | {"extra": RunsCode(sentinel)}):
        torch.save(content, tmp_path / "x.pt")
        assert "x.pt: asks for posix.system, which may run code; refused, and nothing was run" in refusal(
            tmp_path / "x.pt", shared_env(DISCRETE)
        )
    (tmp_path / "x.pt").write_bytes(pickle.dumps(RunsCode(sentinel)))
    assert "holds pickled code, which is never run" in refusal(tmp_path / "x.pt", shared_env(DISCRETE))
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda content: content["state"], ["is not a checkpoint of this project"]),
        (lambda content: [content], ["is not a checkpoint of this project"]),
        (lambda content: torch.zeros(3), ["is not a"]),
        (lambda content: {"policy": "MLPPolicySL"}, ["is not a checkpoint of this project", "hyperparameters"]),
        (lambda content: content | {"policy": "Other"}, ["holds a Other, expected a MLPPolicySL"]),
        (lambda content: content | {"hyperparameters": {"size": 3}}, ["is not a checkpoint of this project"]),
        (lambda content: content | {"state": {}}, ["is not a checkpoint of this project"]),
        (
            lambda content: content | {"hyperparameters": content["hyperparameters"] | {"size": 5}},
            ["is not a checkpoint of this project"],
        ),
    ],
)
def test_another_programs_checkpoint_is_refused(tmp_path, shared_env, change, words):
    saved_policy(tmp_path / "x.pt", shared_env(DISCRETE))
    torch.save(change(torch.load(tmp_path / "x.pt", weights_only=True)), tmp_path / "x.pt")
    message = refusal(tmp_path / "x.pt", shared_env(DISCRETE))
    assert message.startswith(f"{tmp_path / 'x.pt'}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_checkpoint_of_bad_weights_is_refused(tmp_path, shared_env, bad):
    policy = saved_policy(tmp_path / "x.pt", shared_env(DISCRETE))
    with torch.no_grad():
        next(policy.parameters())[0, 0] = bad
    policy.save(tmp_path / "x.pt")
    assert (
        refusal(tmp_path / "x.pt", shared_env(DISCRETE)) == f"{tmp_path / 'x.pt'}: the weights hold NaN or infinity"
    )


# The course's experts --------------------------------------------------------------------------------------


def assert_acts_like_the_course(actor, tree, obs, padded=None):
    expected = expert_action(tree, obs if padded is None else padded)
    acs = actor.get_action(obs)
    assert acs.dtype == np.float32
    np.testing.assert_allclose(acs, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(actor.get_action(obs[0]), expected[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("nonlin", ["tanh", "lrelu"])
def test_a_course_expert_acts_as_plain_numpy_does(tmp_path, shared_env, nonlin, protocol, old_names):
    tree = expert_tree(nonlin=nonlin)
    path = write_pickle(tmp_path / "HalfCheetah.pkl", tree, protocol, old_names)
    env = shared_env("HalfCheetah-v4")
    obs = np.random.default_rng(1).normal(scale=3, size=(50, 17))
    assert np.abs(expert_action(tree, obs)).max() > 1  # actions are not clipped
    assert_acts_like_the_course(load_expert(str(path), env), tree, obs)


def test_a_course_expert_by_hand(tmp_path, shared_env):
    tree = expert_tree(2, 1, (1,), "lrelu")
    policy = tree["GaussianPolicy"]
    policy["obsnorm"]["Standardizer"] = {
        "mean_1_D": np.array([[1.0, -1.0]]),
        "meansq_1_D": np.array([[5.0, 2.0]]),  # std 2 and 1
        "count": 3.0,
    }
    policy["hidden"]["FeedforwardNet"]["layer_0"]["AffineLayer"] = {
        "W": np.array([[1.0], [2.0]]),
        "b": np.array([[0.5]]),
    }
    policy["out"]["AffineLayer"] = {"W": np.array([[4.0]]), "b": np.array([[-1.0]])}
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    # (1, 2) after standardising, 5.5 hidden; (1, -2), -2.5 hidden, a hundredth of it after the leak
    assert actor.get_action(np.array([[3.0, 1.0], [3.0, -3.0]]))[:, 0] == pytest.approx([21.0, -1.1], rel=1e-5)


def test_a_course_expert_computes_in_double_precision(tmp_path, shared_env):
    tree = expert_tree(2, 1)
    standardizer = tree["GaussianPolicy"]["obsnorm"]["Standardizer"]
    standardizer["mean_1_D"] = np.array([[1e6, -1e6]])
    standardizer["meansq_1_D"] = standardizer["mean_1_D"] ** 2 + 1.0
    obs = standardizer["mean_1_D"] + np.random.default_rng(0).normal(size=(10, 2))
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    assert_acts_like_the_course(actor, tree, obs)


def test_a_variance_that_rounding_made_negative_counts_as_none(tmp_path, shared_env):
    tree = expert_tree(2, 1)
    standardizer = tree["GaussianPolicy"]["obsnorm"]["Standardizer"]
    standardizer["meansq_1_D"] = standardizer["mean_1_D"] ** 2 - 1e-9
    obs = standardizer["mean_1_D"] + np.array([[1e-6, 2e-6], [-1e-6, 0]])
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    assert_acts_like_the_course(actor, tree, obs)


@pytest.mark.parametrize("names", [["layer_0", "layer_2", "layer_10"], ["layer_10", "layer_0", "layer_2"]])
def test_layers_are_sorted_by_number(tmp_path, shared_env, names):
    tree = expert_tree(2, 1, (2, 2, 2))
    layers = list(tree["GaussianPolicy"]["hidden"]["FeedforwardNet"].values())
    by_name = dict(zip(["layer_0", "layer_2", "layer_10"], layers, strict=True))
    tree["GaussianPolicy"]["hidden"]["FeedforwardNet"] = {name: by_name[name] for name in names}
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    assert_acts_like_the_course(actor, tree, np.random.default_rng(0).normal(size=(10, 2)))


def test_the_ant_expert_gets_zeros_for_the_contact_forces(tmp_path, shared_env, capsys):
    tree = expert_tree(111, 8)
    path = write_pickle(tmp_path / "Ant.pkl", tree)
    actor = load_expert(str(path), shared_env("Ant-v4"))
    note = capsys.readouterr().err
    assert note.startswith("note: ") and note.count("\n") == 1
    for word in (str(path), "111", "27", "padded with zeros"):
        assert word in note
    obs = np.random.default_rng(0).normal(size=(20, 27))
    assert_acts_like_the_course(actor, tree, obs, padded=np.concatenate([obs, np.zeros((20, 84))], axis=1))


def test_an_expert_that_fits_needs_no_note(tmp_path, shared_env, capsys):
    load_actor(write_pickle(tmp_path / "x.pkl", expert_tree(27, 8)), shared_env("Ant-v4"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "n_inputs, n_outputs, env, words",
    [
        (111, 6, "HalfCheetah-v4", ["(111,)", "HalfCheetah-v4 observes (17,)"]),
        (111, 8, "Ant-v5", ["(111,)", "Ant-v5 observes (105,)"]),
        (105, 8, "Ant-v4", ["(105,)", "Ant-v4 observes (27,)"]),
        (17, 6, "Hopper-v4", ["(17,)", "Hopper-v4 observes (11,)"]),
        (17, 8, "HalfCheetah-v4", ["gives 8 continuous action dimensions", "HalfCheetah-v4 takes 6"]),
        (8, 4, "LunarLander-v3", ["gives 4 continuous action dimensions", "LunarLander-v3 takes 4 discrete actions"]),
    ],
)
def test_any_other_mismatch_names_both_sizes(tmp_path, shared_env, n_inputs, n_outputs, env, words):
    path = write_pickle(tmp_path / "x.pkl", expert_tree(n_inputs, n_outputs))
    message = refusal(path, shared_env(env))
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def deep_set(tree, keys, value):
    *path, last = keys.split()
    for key in path:
        tree = tree[key]
    if value is None:
        del tree[last]
    else:
        tree[last] = value


HIDDEN = "GaussianPolicy hidden FeedforwardNet"


@pytest.mark.parametrize(
    "keys, value, words",
    [
        ("GaussianPolicy", None, ["not an expert of the course", "GaussianPolicy"]),
        ("nonlin_type", None, ["not an expert of the course", "nonlin_type"]),
        ("nonlin_type", "relu", ["not an expert of the course", "relu"]),
        ("GaussianPolicy out", None, ["not an expert of the course", "out"]),
        ("GaussianPolicy obsnorm Standardizer mean_1_D", None, ["not an expert of the course", "mean_1_D"]),
        ("GaussianPolicy obsnorm Standardizer meansq_1_D", np.ones((1, 3)), ["not an expert of the course"]),
        ("GaussianPolicy obsnorm Standardizer mean_1_D", np.full((1, 2), np.nan), ["finite"]),
        ("GaussianPolicy obsnorm Standardizer meansq_1_D", np.full((1, 2), np.nan), ["finite"]),
        (HIDDEN, [1, 2], ["not an expert of the course"]),
        (f"{HIDDEN} layer_x", {}, ["not an expert of the course"]),
        (f"{HIDDEN} layer_0 AffineLayer W", None, ["not an expert of the course", "W"]),
        (f"{HIDDEN} layer_0 AffineLayer W", {"a": 1}, ["layer 0"]),
        (f"{HIDDEN} layer_0 AffineLayer W", "weights", ["layer 0"]),
        (f"{HIDDEN} layer_0 AffineLayer W", np.zeros((2, 7)), ["layer 0", "(2, 7)", "(8,)"]),
        (f"{HIDDEN} layer_0 AffineLayer W", np.zeros((3, 8)), ["layer 0 takes 3 numbers", "observation has 2"]),
        (f"{HIDDEN} layer_2 AffineLayer b", np.zeros((1, 7)), ["layer 1", "(8, 8)", "(7,)"]),
        (f"{HIDDEN} layer_2 AffineLayer W", np.full((8, 8), np.nan), ["layer 1 holds NaN or infinity"]),
        ("GaussianPolicy out AffineLayer b", np.array([[np.inf]]), ["layer 2 holds NaN or infinity"]),
    ],
)
def test_a_malformed_course_expert_is_refused_with_its_path(tmp_path, shared_env, keys, value, words):
    tree = expert_tree(2, 1)
    deep_set(tree, keys, value)
    path = write_pickle(tmp_path / "x.pkl", tree)
    message = refusal(path, shared_env(CONTINUOUS))
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def test_a_padded_ant_expert_must_hold_together(tmp_path, shared_env):
    tree = expert_tree(111, 8)
    deep_set(tree, f"{HIDDEN} layer_0 AffineLayer W", np.zeros((17, 8)))
    path = write_pickle(tmp_path / "x.pkl", tree)
    assert refusal(path, shared_env("Ant-v4")).startswith(f"{path}: ")


def test_course_demonstrations_are_no_expert(tmp_path, shared_env):
    path = write_demonstrations(tmp_path / "x.pkl")
    message = refusal(path, shared_env("HalfCheetah-v4"))
    assert message.startswith(f"{path}: is not an expert of the course")


def test_no_file_with_a_refused_pickle_runs(tmp_path, shared_env):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(RunsCode(tmp_path / "ran")))
    message = refusal(str(tmp_path / "x.pkl"), shared_env("HalfCheetah-v4"), load_expert)
    assert "which may run code; refused, and nothing was run" in message
    assert not (tmp_path / "ran").exists()


def test_the_two_parabola_rule_pushes_right_between_its_curves():
    obs = np.array([[-0.5, 0.0], [-0.5, 0.05], [-0.5, 0.069], [0.4, 0.04], [-1.1, -0.04]])
    # at -0.5 the curves are -0.0003 and 0.069; at 0.4 they are -0.008 and 0.027; at -1.1 -0.035 and 0.034
    assert two_parabola_rule(obs).tolist() == [2, 2, 0, 0, 0]


def table_of_experts():
    lines = (REPOSITORY / "experts" / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] in ENVS]


def test_the_table_of_experts_has_every_environment_and_rule():
    listed = {(env_name, expert) for env_name, expert, *_ in table_of_experts()}
    shipped = {(env_name, spec.expert) for env_name, spec in ENVS.items() if spec.expert}
    assert listed == shipped | {(env_name, name) for name, (env_name, _) in SCRIPTED_EXPERTS.items()}


@pytest.mark.parametrize("env_name, expert, mean, interval, std", [row[:5] for row in table_of_experts()])
def test_the_shipped_experts_score_what_their_table_says(env_name, expert, mean, interval, std):
    policy = expert if expert in SCRIPTED_EXPERTS else "expert"
    returns = evaluate(policy, env_name, episodes=4, seed=5)["mean"]
    # Four standard errors of four episodes, or 3 %: other processors' physics may move a steady expert by more.
    assert abs(returns - float(mean)) < max(4 * float(std) / 2, 0.03 * abs(float(mean)))
