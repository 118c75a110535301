import pickle

import numpy as np
import pytest
import torch
from fakes import PICTURE, picture_of

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.cnn_policy import CNNPolicySL, picture_settings, policy_class
from rl_il.policies.experts import load_actor
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.types import answers_live_only


def policy(**settings) -> CNNPolicySL:
    return CNNPolicySL(PICTURE, 2, False, **{"frame_stack": 3, "rows": 36, "size": 16} | settings)


def grey(step: int) -> int:
    """The shade of `picture_of(step)`, in 256ths of its red and green."""
    return (77 * step + 150 * (100 + step)) // 256


def test_a_view_is_cropped_and_grey():
    view = policy().view(np.stack([picture_of(3), picture_of(50)]))
    assert view.shape == (2, 36, 36, 1) and view.dtype == np.uint8
    assert [np.unique(each).tolist() for each in view] == [[grey(3)], [grey(50)]]


def test_a_view_may_keep_colours_and_the_whole_picture():
    obs = picture_of(7)[None]
    np.testing.assert_array_equal(policy(greyscale=False, rows=None).view(obs), obs)


def test_it_sees_the_last_pictures_of_the_episode():
    learner = policy()
    learner.reset()
    seen = [learner.see(picture_of(step)[None])[0, :, 0, 0, 0].tolist() for step in range(5)]
    shades = [grey(step) for step in range(5)]
    assert seen == [[shades[max(step - 2, 0)], shades[max(step - 1, 0)], shades[step]] for step in range(5)]
    learner.reset()
    assert learner.see(picture_of(9)[None])[0, :, 0, 0, 0].tolist() == [grey(9)] * 3


def test_what_it_sees_is_what_it_is_trained_on():
    """Acting and training stack alike."""
    from rl_il.infrastructure.replay_buffer import ReplayBuffer
    from rl_il.types import Trajectory

    learner = policy()
    obs = np.stack([picture_of(step) for step in range(6)])
    buffer = ReplayBuffer(frame_stack=learner.frame_stack, view=learner.view)
    buffer.add([Trajectory(obs, np.zeros((5, 2), np.float32), np.zeros(5))])
    stored, _ = buffer.batch(torch.arange(5))
    learner.reset()
    np.testing.assert_array_equal(stored, np.concatenate([learner.see(ob[None]) for ob in obs[:-1]]))


def test_several_observations_at_once_have_no_order():
    with pytest.raises(InputError, match=r"3 pictures in a row acts on one observation at a time.*got 2"):
        policy().get_action(np.stack([picture_of(0), picture_of(1)]))
    assert policy(frame_stack=1).get_action(np.stack([picture_of(0), picture_of(1)])).shape == (2, 2)
    assert answers_live_only(policy()) and not answers_live_only(policy(frame_stack=1))


def test_pixels_are_scaled_and_the_frames_are_channels():
    learner = policy(greyscale=False, rows=None)
    assert learner.convolutions[0].in_channels == 9
    inputs = []
    learner.convolutions.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    stack = torch.from_numpy(np.stack([picture_of(step) for step in (0, 51, 102)]))[None]
    learner(stack)
    (pictures,) = inputs
    assert pictures.shape == (1, 9, 40, 36)
    np.testing.assert_allclose(pictures[0, :, 0, 0] * 255, [0, 100, 0, 51, 151, 0, 102, 202, 0], rtol=1e-6)


def test_one_frame_needs_no_axis_of_its_own():
    learner = policy(frame_stack=1)
    views = torch.from_numpy(learner.view(np.stack([picture_of(0), picture_of(9)])))
    assert torch.equal(learner(views).mean, learner(views[:, None]).mean)


def test_a_file_reads_back_and_acts_the_same(tmp_path):
    learner = policy(seed=4)
    learner.save(tmp_path / "p.pt")
    loaded = CNNPolicySL.load(tmp_path / "p.pt")
    for reader in (loaded, load_actor(tmp_path / "p.pt", make_env("PictureCorridor-v0"))):
        learner.reset()
        reader.reset()
        for step in range(4):
            np.testing.assert_array_equal(learner.get_action(picture_of(step)), reader.get_action(picture_of(step)))
    with pytest.raises(InputError, match="holds a CNNPolicySL, expected a MLPPolicySL"):
        MLPPolicySL.load(tmp_path / "p.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_stack": 10**9}, "--frame_stack must be 1 to 64"),
        ({"rows": 41}, "cannot keep 41"),
        ({"rows": "all"}, "is not a checkpoint of this project"),
        ({"ob_shape": (40, 36)}, "is not a checkpoint of this project"),
        ({"ob_shape": (20, 20, 3), "rows": None}, "20 x 20 are too small"),
        ({"size": 10_000_000}, "describes a network"),
    ],
)
def test_a_file_that_describes_something_else_is_refused(tmp_path, changes, message):
    content = {"policy": "CNNPolicySL", "hyperparameters": policy().hyperparameters() | changes}
    content["state"] = policy().state_dict()
    torch.save(content, tmp_path / "p.pt")
    with pytest.raises(InputError, match=message):
        CNNPolicySL.load(tmp_path / "p.pt")


def test_the_frozen_copy_neither_learns_nor_shares_memories():
    learner = policy()
    learner.reset()
    learner.get_action(picture_of(5))
    actor = learner.actor()
    assert not any(parameter.requires_grad for parameter in actor.parameters())
    assert actor.see(picture_of(9)[None])[0, 0, 0, 0, 0] == grey(9)  # and not 5, which the learner saw
    before = actor.state_dict()["network.0.weight"].clone()
    views = torch.from_numpy(learner.see(picture_of(1)[None]))
    learner.update(views, np.ones((1, 2), np.float32))
    assert torch.equal(actor.state_dict()["network.0.weight"], before)
    assert not torch.equal(learner.state_dict()["network.0.weight"], before)


def test_what_travels_holds_no_pictures():
    actor = policy().actor()
    size = len(pickle.dumps(actor))
    for step in range(3):
        actor.get_action(picture_of(step))
    assert len(pickle.dumps(actor)) == size


def test_in_several_episodes_it_remembers_each_by_itself():
    learner = policy().actor()
    together, alone = learner.vectorized(2), (policy().actor(), policy().actor())
    for slot in range(2):
        together.begin(slot, seed=slot)
    for step in range(6):
        if step == 3:
            together.begin(1, seed=5)
            alone[1].reset(5)
        obs = np.stack([picture_of(step), picture_of(50 + 2 * step)])
        wanted = [actor.get_action(ob) for actor, ob in zip(alone, obs, strict=True)]
        np.testing.assert_allclose(together.get_action(obs), wanted, rtol=0, atol=1e-5)
    seen = together.see(np.stack([picture_of(6), picture_of(62)]))[:, :, 0, 0, 0].tolist()
    assert seen == [[grey(4), grey(5), grey(6)], [grey(58), grey(60), grey(62)]]
    with pytest.raises(InputError, match=r"one observation of each of its 2 episodes at a time.*got 1"):
        together.see(picture_of(1)[None])
    learner.reset()
    assert learner.see(picture_of(9)[None])[0, :, 0, 0, 0].tolist() == [grey(9)] * 3  # has one episode as before


class Humming(CNNPolicySL):
    """Remembers more of an episode than its pictures."""

    def reset(self, seed=0):
        super().reset(seed)
        self.tune = []


def test_a_policy_with_a_memory_of_its_own_makes_no_batches():
    assert Humming(PICTURE, 3, True, frame_stack=2).vectorized(2) is None


def test_a_frozen_copy_acts_in_batches_where_the_policy_is_trained():
    learner = policy()
    learner.home = torch.device("cuda")  # as if it had been made there
    actor = pickle.loads(pickle.dumps(learner.actor()))
    assert next(actor.parameters()).device.type == "cpu"
    if torch.cuda.is_available():
        assert next(actor.vectorized(2).parameters()).device.type == "cuda"
    else:
        with pytest.raises((RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
            actor.vectorized(2)
    assert policy().home.type == "cpu"


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
    """From two frames: the label is the bar's column in the first one, which the second does not show."""
    rng = np.random.default_rng(0)
    learner = policy(frame_stack=2, greyscale=True, learning_rate=1e-3, rows=None, size=32)
    columns = rng.integers(4, 32, 64)
    frames = np.zeros((64, 2, 40, 36, 1), np.uint8)
    for frame, column in zip(frames, columns, strict=True):
        frame[0, :, column - 2 : column + 2] = 255
    labels = np.stack([columns / 18 - 1, np.zeros(64)], axis=1).astype(np.float32)
    losses = [learner.update(frames, labels)["Training Loss"] for _ in range(60)]
    assert losses[0] > 0.05 and losses[-1] < 0.005


def test_the_environment_decides_which_policy_it_is():
    corridor, vectors = make_env("PictureCorridor-v0"), make_env("MountainCar-v0")
    assert policy_class(corridor) is CNNPolicySL and policy_class(vectors) is MLPPolicySL
    assert picture_settings(vectors, None, False, False) == {}
    assert picture_settings(corridor, 2, True, False) == {"frame_stack": 2, "greyscale": False, "rows": None}
    racing = make_env("CarRacing-v3")
    assert picture_settings(racing, None, False, False) == {"frame_stack": 4, "greyscale": True, "rows": 84}
    assert picture_settings(racing, None, False, True)["rows"] is None
    with pytest.raises(InputError, match="--frame_stack, --whole_picture: MountainCar-v0 shows no pictures"):
        picture_settings(vectors, 2, False, True)


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"shape \(height, width, 1 or 3\), got \(40, 36, 2\)"):
        CNNPolicySL((40, 36, 2), 2, False)
    with pytest.raises(InputError, match="40 rows cannot keep 0"):
        policy(rows=0)
