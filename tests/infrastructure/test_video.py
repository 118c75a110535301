import sys

import numpy as np
import pytest
from fakes import ConstantActor, Corridor
from PIL import Image

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.infrastructure.video import RenderError, check_video_path, frames_at, record_frames, tile, write_video
from rl_il.policies.actors import RandomActor


def stripes(n: int, height: int = 20, width: int = 30) -> np.ndarray:
    """Return `n` different frames: a white line moves down a black picture."""
    frames = np.zeros((n, height, width, 3), np.uint8)
    for i in range(n):
        frames[i, i] = 255
    return frames


def test_frames_of_a_corridor_by_hand():
    frames, fps = record_frames(make_env("Corridor-v0"), ConstantActor(1), seed=0)  # 3 steps
    assert frames.shape == (4, 20, 30, 3)
    assert frames.dtype == np.uint8
    assert frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30]  # from the first state to the last
    assert fps == 10


def test_frames_of_a_lander():
    frames, fps = record_frames(
        make_env("LunarLander-v3"), RandomActor(make_env("LunarLander-v3")), 0, max_path_length=10
    )
    assert frames.shape == (5, 200, 300, 3)  # steps 0, 3, 6, 9 and the last, of 50 per second; and half the size
    assert frames.dtype == np.uint8
    assert fps == pytest.approx(50 / 3)
    assert len(np.unique(frames[0])) > 1


@pytest.mark.parametrize(("max_path_length", "max_frames", "steps"), [(None, 20, 20), (100, 20, 20), (5, 20, 5)])
def test_a_long_episode_is_cut_off(max_path_length, max_frames, steps):
    frames, _ = record_frames(make_env("EndlessCorridor-v0"), ConstantActor(1), 0, max_path_length, max_frames)
    assert len(frames) == steps + 1  # the last state is drawn too


def test_tiles_are_next_to_each_other_and_shorter_ones_repeat_their_last_frame():
    short, long, other = (np.full((n, 2, 3, 3), value, np.uint8) for n, value in ((2, 10), (3, 20), (1, 30)))
    short[0, 0, 0] = 9
    long[:, 0, 0] = [[1] * 3, [2] * 3, [3] * 3]
    tiled = tile([short, long, other, short], columns=2)
    assert tiled.shape == (3, 4, 6, 3)
    assert tiled[:, 0, 0, 0].tolist() == [9, 10, 10]
    assert tiled[:, 0, 3, 0].tolist() == [1, 2, 3]
    assert tiled[:, 2, 0, 0].tolist() == [30, 30, 30]
    assert tiled[:, 3, 5, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize(("fps", "milliseconds"), [(10, 100), (50 / 3, 60), (20, 50), (15, 70)])
def test_a_gif_has_its_frames_and_their_duration(tmp_path, fps, milliseconds):
    write_video(tmp_path / "new" / "walk.gif", stripes(6), fps)
    with Image.open(tmp_path / "new" / "walk.gif") as image:
        assert (image.format, image.n_frames) == ("GIF", 6)
        assert image.info["loop"] == 0  # without end
        for i in range(6):
            image.seek(i)
            assert image.info["duration"] == milliseconds
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), stripes(6)[i])


@pytest.mark.parametrize("name", ["video.avi", "video", "video.gif.txt", "video.GIF2"])
def test_another_suffix_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match=name):
        check_video_path(tmp_path / name)
    with pytest.raises(InputError, match=name):
        write_video(tmp_path / name, stripes(2), 10)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_its_package_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    check_video_path(tmp_path / "video.gif")
    for check in (check_video_path, lambda path: write_video(path, stripes(2), 10)):
        with pytest.raises(InputError, match="imageio-ffmpeg"):
            check(tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 97)])
def test_mp4_with_its_package(tmp_path, height, width):
    import imageio_ffmpeg as ffmpeg

    path = tmp_path / "video.mp4"
    write_video(path, stripes(12, height, width), 6)
    assert path.read_bytes()[4:8] == b"ftyp"
    n_frames, duration = ffmpeg.count_frames_and_secs(path)
    assert n_frames == 12
    assert duration == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("env_name", ["BlindCorridor-v0.*no display", "FacelessCorridor-v0"])
def test_the_error_of_an_environment_that_cannot_draw_names_it(env_name):
    for draw in (record_frames, lambda *args: frames_at(*args, steps=[0])):
        with pytest.raises(RenderError, match=env_name):
            draw(make_env(env_name.split(".")[0]), ConstantActor(1), 0)


@pytest.mark.parametrize(
    "frame",
    [np.zeros((20, 30), np.uint8), np.zeros((20, 30, 3)), None, [[0]], SystemExit(0), KeyError("lens")],
    ids=lambda frame: type(frame).__name__,
)
def test_a_frame_that_is_no_picture_is_refused(frame, monkeypatch):
    def render(self):
        if isinstance(frame, BaseException):
            raise frame
        return frame

    monkeypatch.setattr(Corridor, "render", render)
    with pytest.raises(RenderError, match=r"Corridor-v0.*(render|Exit|lens)"):
        record_frames(make_env("Corridor-v0"), ConstantActor(1), 0)


@pytest.mark.parametrize(("env_name", "advised"), [("Corridor-v0", False), ("Hopper-v5", True)])
def test_only_mujoco_gets_its_advice(env_name, advised, monkeypatch):
    def render(*_, **settings):
        raise RuntimeError("no display")

    monkeypatch.setattr(Corridor, "render", render)
    monkeypatch.setattr("gymnasium.envs.mujoco.mujoco_rendering.MujocoRenderer._get_viewer", render)
    with pytest.raises(RenderError, match=f"{env_name}.*no display") as error:
        env = make_env(env_name)
        record_frames(env, RandomActor(env), 0)
    assert ("MUJOCO_GL" in str(error.value)) == advised


def test_frames_of_several_sizes_are_refused(monkeypatch):
    monkeypatch.setattr(Corridor, "render", lambda self: np.zeros((20, 30 + self.steps, 3), np.uint8))
    with pytest.raises(RenderError, match=r"Corridor-v0.*\(20, 30, 3\).*\(20, 31, 3\)"):
        record_frames(make_env("Corridor-v0"), ConstantActor(1), 0)


def test_an_episode_that_fails_gives_no_video(monkeypatch):
    monkeypatch.setattr(Corridor, "step", lambda self, action: sys.exit(0))
    with pytest.raises(RenderError, match=r"Corridor-v0, step 1.*SystemExit"):
        record_frames(make_env("Corridor-v0"), ConstantActor(1), 0)


# Single frames --------------------------------------------------------------------------------------------


def test_frames_at_chosen_steps_by_hand():
    frames, trajectory = frames_at(make_env("Corridor-v0"), ConstantActor(1), seed=3, steps=[4, 0, 2])  # 6 steps
    assert frames.shape == (3, 20, 30, 3)
    assert frames[:, 0, 0, 0].tolist() == [40, 0, 20]  # each before its step, in the given order
    assert len(trajectory) == 5  # the episode is not rolled out further
    np.testing.assert_array_equal(trajectory.obs, [[t, 6] for t in range(6)])


@pytest.mark.parametrize("env_name", ["LunarLander-v3", "Hopper-v5"])
def test_drawing_some_steps_changes_no_number(env_name):
    env = make_env(env_name)
    actor = RandomActor(env)
    frames, drawn = frames_at(make_env(env_name), actor, 5, [3, 9])
    undrawn = sample_trajectory(env, actor, 5, 10)
    for name in ("obs", "acs", "rewards"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(undrawn, name))
    assert not np.array_equal(*frames)


@pytest.mark.parametrize(("steps", "length"), [([1, 3], 3), ([99], 3)])
def test_a_step_after_the_episodes_end_is_refused(steps, length):
    with pytest.raises(InputError, match=rf" {length} steps.* {steps[-1]}"):
        frames_at(make_env("Corridor-v0"), ConstantActor(1), 0, steps)
