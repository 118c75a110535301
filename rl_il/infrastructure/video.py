"""One episode as a moving picture, a GIF with the core install, an MP4 with the `mp4` extra; or as single frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.envs import make_env, name_of
from rl_il.errors import InputError
from rl_il.files import atomic_write, check_writable
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.types import Actor, Trajectory

FORMATS = (".gif", ".mp4")
FRAMES_PER_SECOND = 20  # at most; faster environments skip frames
WIDTH = 400  # pixels at most; larger frames are halved


class RenderError(InputError):
    """The environment cannot draw here."""


def record_frames(
    env_name: str, actor: Actor, seed: int, max_path_length: int | None = None, max_frames: int = 300
) -> tuple[np.ndarray, float]:
    """Rolls out one episode and draws it.

    Returns:
      frames `(n, height, width, 3)` uint8 and how many there are to a second of the environment's time. An
      episode that needs more than `max_frames` is cut there.

    Raises:
      RenderError: the environment cannot draw on this machine; the message names what to install.
    """
    env = make_drawing_env(env_name)
    native = env.metadata.get("render_fps") or FRAMES_PER_SECOND
    stride = -(-native // FRAMES_PER_SECOND)
    limit = min(filter(None, (max_path_length, max_frames * stride)))
    frames: list[np.ndarray] = []
    steps = 0

    def draw(env: gym.Env) -> None:
        nonlocal steps
        if steps % stride == 0:
            frames.append(_shrink(render_frame(env)))
        steps += 1

    try:
        sample_trajectory(env, actor, seed, limit, on_step=draw)
        frames.append(_shrink(render_frame(env)))
    finally:
        env.close()
    return np.array(frames), native / stride


def frames_at(
    env_name: str, actor: Actor, seed: int, steps: Sequence[int], max_path_length: int | None = None
) -> tuple[np.ndarray, Trajectory]:
    """Rolls out one episode up to the last of `steps`, and draws it before each of them.

    Returns:
      frames `(len(steps), height, width, 3)` uint8 in the order of `steps`, and the episode, cut after the last one.

    Raises:
      RenderError: the environment cannot draw on this machine; the message names what to install.
      InputError: the episode ends before the last of `steps`.
    """
    env = make_drawing_env(env_name)
    frames: dict[int, np.ndarray] = {}
    step = 0

    def draw(env: gym.Env) -> None:
        nonlocal step
        if step in steps:
            frames[step] = _shrink(render_frame(env))
        step += 1

    try:
        limit = min(filter(None, (max_path_length, max(steps) + 1)))
        trajectory = sample_trajectory(env, actor, seed, limit, on_step=draw)
    finally:
        env.close()
    if len(trajectory) <= max(steps):
        raise InputError(f"{env_name}: the episode ends after {len(trajectory)} steps, before step {max(steps)}")
    return np.array([frames[each] for each in steps]), trajectory


def tile(videos: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Videos of one frame size side by side, row by row; a shorter one stands still at its end."""
    longest = max(map(len, videos))
    padded = [np.concatenate((video, video[-1:].repeat(longest - len(video), axis=0))) for video in videos]
    rows = [np.concatenate(padded[i : i + columns], axis=2) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=1)


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Writes a `.gif` or an `.mp4`, by the suffix. Raises `InputError` for another one."""
    path = Path(path)
    check_video_path(path)
    data = gif_bytes(frames, fps) if path.suffix == ".gif" else _mp4_bytes(frames, fps)
    with atomic_write(path) as file:
        file.write(data)


def check_video_path(path: str | Path) -> None:
    """Raises `InputError` before any work is done for a video that could not be written."""
    check_writable(path)
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise InputError(f"{path}: a video's name must end in {' or '.join(FORMATS)}, got {suffix or 'none'}")
    if suffix == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise InputError(f"{path}: MP4 needs `pip install imageio-ffmpeg`; GIF needs nothing") from error


def gif_bytes(frames: np.ndarray, fps: float) -> bytes:
    """An endlessly looping GIF of `(n, height, width, 3)` uint8 frames."""
    import imageio.v3 as imageio

    file = io.BytesIO()
    duration = 10 * round(100 / fps)  # milliseconds; GIF counts hundredths of a second and rounds down
    imageio.imwrite(file, frames, extension=".gif", duration=duration, loop=0)
    return file.getvalue()


def _mp4_bytes(frames: np.ndarray, fps: float) -> bytes:
    import imageio.v2 as imageio

    file = io.BytesIO()
    with imageio.get_writer(file, format="mp4", fps=fps, macro_block_size=2) as writer:
        for frame in frames:
            writer.append_data(frame)
    return file.getvalue()


def make_drawing_env(env_name: str) -> gym.Env:
    """The environment, for drawing. Raises `RenderError` where it cannot be made so."""
    try:
        return make_env(env_name, render=True)
    except (InputError, TypeError) as error:  # TypeError: its constructor takes no render_mode
        raise RenderError(f"{env_name} cannot draw here: {error}") from error


def render_frame(env: gym.Env) -> np.ndarray:
    """Its picture now, `(height, width, 3)` uint8. Raises `RenderError` with what to install."""
    try:
        return env.render()
    except Exception as error:  # glfw, EGL and OpenGL each raise classes of their own
        raise RenderError(
            f"{name_of(env)} cannot draw here ({type(error).__name__}: {error}); on Debian and Ubuntu"
            " `apt-get install libegl1 libgl1` and MUJOCO_GL=egl let MuJoCo draw without a display"
        ) from error


def _shrink(frame: np.ndarray) -> np.ndarray:
    """Averages blocks of 2 x 2 pixels until the frame is at most `WIDTH` wide."""
    while frame.shape[1] > WIDTH:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        blocks = frame[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        frame = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return frame
