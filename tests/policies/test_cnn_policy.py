import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from fakes import PICTURE, picture_of

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.cnn_policy import CNNPolicySL, picture_settings, policy_class
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.types import Trajectory


def policy(**settings) -> CNNPolicySL:
    return CNNPolicySL(PICTURE, 2, False, **{"frame_stack": 3, "rows": 36, "size": 16} | settings)


def grey(step: int) -> int:
    """Return the grey value of `picture_of(step)`."""
    return (77 * step + 150 * (100 + step)) // 256


def seen(learner: CNNPolicySL, step: int) -> list[int]:
    """Return the grey values of the stack, oldest first, after the picture of this step."""
    return learner.stack(learner.view(picture_of(step)[None]))[0, :, 0, 0, 0].tolist()


def test_a_view_is_cropped_and_grey():
    view = policy().view(np.stack([picture_of(3), picture_of(50)]))
    assert view.shape == (2, 36, 36, 1) and view.dtype == np.uint8
    assert [np.unique(each).tolist() for each in view] == [[grey(3)], [grey(50)]]
    obs = picture_of(7)[None]
    np.testing.assert_array_equal(policy(greyscale=False, rows=None).view(obs), obs)


def test_it_sees_the_last_pictures_of_the_episode():
    learner = policy()
    learner.reset()
    shades = [grey(step) for step in range(5)]
    for step in range(5):
        assert seen(learner, step) == [shades[max(step - 2, 0)], shades[max(step - 1, 0)], shades[step]]
    learner.reset()
    assert seen(learner, 9) == [grey(9)] * 3


def test_it_sees_what_it_is_trained_on():
    learner = policy()
    obs = np.stack([picture_of(step) for step in range(6)])
    buffer = ReplayBuffer(frame_stack=learner.frame_stack, view=learner.view)
    buffer.add([Trajectory(obs, np.zeros((5, 2), np.float32), np.zeros(5))])
    stored = buffer.batch(torch.arange(5)).obs
    learner.reset()
    acting = [learner.stack(learner.view(ob[None])) for ob in obs[:-1]]
    np.testing.assert_array_equal(stored, np.concatenate(acting))


def test_several_observations_at_once_are_refused():
    obs = np.stack([picture_of(0), picture_of(1)])
    with pytest.raises(InputError, match="got 2"):
        policy().get_action(obs)
    assert policy().remembers and not policy().answers_recorded
    alone = policy(frame_stack=1)
    assert alone.get_action(obs).shape == (2, 2)
    assert alone.answers_recorded and alone.actor().answers_recorded
    views = torch.from_numpy(alone.view(obs))
    assert torch.equal(alone(views).mean, alone(views[:, None]).mean)  # the axis of a single frame may be left out


def test_pixels_are_scaled_and_the_frames_are_channels():
    learner = policy(greyscale=False, rows=None)
    inputs = []
    learner.encoder.convolutions.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    stack = torch.from_numpy(np.stack([picture_of(step) for step in (0, 51, 102)]))[None]
    learner(stack)
    (pictures,) = inputs
    assert pictures.shape == (1, 9, 40, 36)
    np.testing.assert_allclose(pictures[0, :, 0, 0] * 255, [0, 100, 0, 51, 151, 0, 102, 202, 0], rtol=1e-6)


def test_a_file_reads_back_and_acts_the_same(tmp_path):
    learner = policy(seed=4)
    learner.save(tmp_path / "p.pt")
    for reader in (CNNPolicySL.load(tmp_path / "p.pt"), load_policy(tmp_path / "p.pt"), learner.actor()):
        learner.reset()
        reader.reset()
        for step in range(4):
            np.testing.assert_array_equal(learner.get_action(picture_of(step)), reader.get_action(picture_of(step)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_stack": 10**9}, "history.*1000000000"),
        ({"rows": 41}, "41"),
        ({"rows": 0}, r"rows.*40.* 0"),
        ({"rows": "all"}, "p.pt"),
        ({"ob_shape": (40, 30)}, r"\(40, 30\)"),
        ({"ob_shape": (40, 36, 2)}, r"\(40, 36, 2\)"),
        ({"ob_shape": (20, 20, 3), "rows": None}, r"36 x 36.*\(20, 20, 3\)"),
        ({"rows": 20}, "20 x 36"),
        ({"frame_stack": 2}, "p.pt"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, changes, message):
    policy().save(tmp_path / "p.pt")
    content = torch.load(tmp_path / "p.pt", weights_only=True)
    content["hyperparameters"] |= changes
    torch.save(content, tmp_path / "p.pt")
    with pytest.raises(InputError, match=message):
        CNNPolicySL.load(tmp_path / "p.pt")


def test_the_frozen_copy_neither_learns_nor_shares_memories():
    learner = policy()
    learner.reset()
    learner.get_action(picture_of(5))
    views = torch.from_numpy(learner.stack(learner.view(picture_of(1)[None])))
    learner.update(views, np.ones((1, 2), np.float32))
    actor = pickle.loads(pickle.dumps(learner.actor()))
    assert not any(parameter.requires_grad for parameter in actor.parameters())
    assert seen(actor, 9) == [grey(9)] * 3  # without 5, which the learner saw
    before = {name: tensor.clone() for name, tensor in actor.state_dict().items()}
    learner.update(views, np.ones((1, 2), np.float32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in actor.state_dict().items())
    assert not torch.equal(learner.head.network[0].weight, before["head.network.0.weight"])


def test_workers_act_as_one_process_does():
    learner = CNNPolicySL((96, 96, 3), 3, False, frame_stack=2, rows=84, size=8)
    workers = RolloutWorkers("CarRacing-v3", 2)
    try:
        (there,) = sample_n_trajectories(workers, learner.actor(), 1, np.random.default_rng(3), 12)
    finally:
        workers.close()
    (here,) = sample_n_trajectories(make_env("CarRacing-v3"), learner.actor(), 1, np.random.default_rng(3), 12)
    np.testing.assert_array_equal(there.acs, here.acs)
    np.testing.assert_array_equal(there.obs, here.obs)


def test_it_learns_where_a_bright_bar_stands():
    # The label is the bar's column in the first of two frames, which the second one does not show.
    rng = np.random.default_rng(0)
    learner = policy(frame_stack=2, greyscale=True, learning_rate=1e-3, rows=None, size=32)
    columns = rng.integers(4, 32, 64)
    frames = np.zeros((64, 2, 40, 36, 1), np.uint8)
    for frame, column in zip(frames, columns, strict=True):
        frame[0, :, column - 2 : column + 2] = 255
    labels = np.stack([columns / 18 - 1, np.zeros(64)], axis=1).astype(np.float32)
    losses = [learner.update(frames, labels)["Training Loss"] for _ in range(60)]
    assert losses[0] > 0.05 and losses[-1] < 0.005


def test_the_environment_determines_the_policy_class():
    corridor, vectors = make_env("PictureCorridor-v0"), make_env("MountainCar-v0")
    assert policy_class(corridor) is CNNPolicySL and policy_class(vectors) is MLPPolicySL
    assert picture_settings(vectors, None, False, False) == {}
    assert picture_settings(corridor, 2, True, False) == {"frame_stack": 2, "greyscale": False, "rows": None}
    racing = make_env("CarRacing-v3")
    assert picture_settings(racing, None, False, False) == {"frame_stack": 4, "greyscale": True, "rows": 84}
    assert picture_settings(racing, None, False, True)["rows"] is None
    with pytest.raises(InputError, match=r"--whole_picture.*MountainCar-v0"):
        picture_settings(vectors, 2, False, True)


RGB = np.random.default_rng(0).integers(256, size=(3, 40, 36, 3), dtype=np.uint8)
GREYS = ((RGB.astype(int) * [77, 150, 29]).sum(axis=-1) >> 8).astype(np.uint8)  # (3, 40, 36)
LAYOUTS = [  # an observation, and its view in grey and in colour without the last four rows
    (RGB[0], GREYS[0, ..., None], RGB[0]),
    (RGB[0].transpose(2, 0, 1), GREYS[0, ..., None], RGB[0]),
    (GREYS[0], GREYS[0, ..., None], GREYS[0, ..., None]),
    (GREYS[:2], GREYS[:2].transpose(1, 2, 0), GREYS[:2].transpose(1, 2, 0)),
    (RGB[:2], GREYS[:2].transpose(1, 2, 0), np.concatenate(RGB[:2], axis=-1)),
]


@pytest.mark.parametrize(("ob", "grey", "colours"), LAYOUTS, ids=["hwc", "chw", "hw", "khw", "khwc"])
def test_each_layout_is_brought_to_channels_last(ob, grey, colours, tmp_path):
    for greyscale, view in ((True, grey), (False, colours)):
        learner = CNNPolicySL(ob.shape, 2, False, frame_stack=1, greyscale=greyscale, rows=36, size=8)
        np.testing.assert_array_equal(learner.view(ob[None]), view[None, :36])
        learner.save(tmp_path / "p.pt")
        loaded = load_policy(tmp_path / "p.pt")
        np.testing.assert_array_equal(loaded.get_action(ob), learner.get_action(ob))
        learner.update(learner.view(ob[None]), np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    ("shape", "frames"), [((40, 36, 3), 4), ((3, 40, 36), 4), ((40, 36), 4), ((4, 40, 36), 1), ((4, 40, 36, 3), 1)]
)
def test_one_observation_suffices_if_it_is_a_stack(register_env, shape, frames):
    env = make_env(register_env(gym.spaces.Box(0, 255, shape, np.uint8), gym.spaces.Discrete(2)))
    assert policy_class(env) is CNNPolicySL
    assert picture_settings(env, None, False, False)["frame_stack"] == frames
    assert picture_settings(env, 2, False, False)["frame_stack"] == 2
    assert CNNPolicySL.for_env(env, size=8).frame_stack == frames


def test_small_pictures_are_vectors_for_the_mlp(register_env):
    env = make_env(register_env(gym.spaces.Box(0, 255, (7, 7, 3), np.uint8), gym.spaces.Discrete(2)))
    learner = policy_class(env).for_env(env)
    assert type(learner) is MLPPolicySL and learner.encoder.n_features == 147
    white = torch.full((1, 7, 7, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(learner.encoder(white), torch.ones(1, 147))
    assert learner.actor().get_action(np.zeros((7, 7, 3), np.uint8)) in (0, 1)
    with pytest.raises(InputError, match="--colour"):
        picture_settings(env, None, True, False)
