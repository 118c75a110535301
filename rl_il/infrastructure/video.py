"""One episode as a video, a GIF with the core install or an MP4 with the `mp4` extra; or as single frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.envs import make_env, name_of
from rl_il.errors import InputError
from rl_il.files import atomic_write, check_writable
from rl_il.infrastructure.rollouts import episode_steps
from rl_il.types import Actor, Trajectory

FORMATS = (".gif", ".mp4")
FRAMES_PER_SECOND = 20  # at most; faster environments skip frames
WIDTH = 400  # pixels at most; larger frames are halved


class RenderError(InputError):
    """An error of an environment that cannot draw on this machine; the message names what to install."""


def record_frames(
    env_name: str, actor: Actor, seed: int, max_path_length: int | None = None, max_frames: int = 300
) -> tuple[np.ndarray, float]:
    """Return one episode's frames `(n, height, width, 3)` uint8, and how many show a second of its time.

    An episode that needs more than `max_frames` is cut there. Raise `RenderError` where the environment cannot draw.
    """
    with closing(make_drawing_env(env_name)) as env:
        native = env.metadata.get("render_fps") or FRAMES_PER_SECOND
        stride = -(-native // FRAMES_PER_SECOND)
        limit = min(filter(None, (max_path_length, max_frames * stride)))
        frames: list[np.ndarray] = []
        for rollout in episode_steps(env, actor, seed, limit):
            if len(rollout) % stride == 0 or rollout.ended:
                frames.append(_shrink(render_frame(env)))
    return np.array(frames), native / stride


def frames_at(env_name: str, actor: Actor, seed: int, steps: Sequence[int]) -> tuple[np.ndarray, Trajectory]:
    """Return the frames before each of `steps`, `(len(steps), height, width, 3)` uint8, and the episode till then.

    Raise `RenderError` where the environment cannot draw, and `InputError` where the episode ends before the last of
    `steps`.
    """
    frames: dict[int, np.ndarray] = {}
    with closing(make_drawing_env(env_name)) as env:
        for rollout in episode_steps(env, actor, seed, max(steps) + 1):
            if len(rollout) in steps and not rollout.ended:
                frames[len(rollout)] = _shrink(render_frame(env))
    if len(rollout) <= max(steps):
        raise InputError(f"{env_name}: the episode ends after {len(rollout)} steps, before step {max(steps)}")
    return np.array([frames[each] for each in steps]), rollout.trajectory()


def tile(videos: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return videos of one frame size as one, in rows of `columns`; a shorter one shows its last frame to the end."""
    longest = max(map(len, videos))
    padded = [np.concatenate((video, video[-1:].repeat(longest - len(video), axis=0))) for video in videos]
    rows = [np.concatenate(padded[i : i + columns], axis=2) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=1)


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Write a `.gif` or an `.mp4`, by the suffix. Raise `InputError` for another one."""
    path = Path(path)
    check_video_path(path)
    data = gif_bytes(frames, fps) if path.suffix == ".gif" else _mp4_bytes(frames, fps)
    with atomic_write(path) as file:
        file.write(data)


def check_video_path(path: str | Path) -> None:
    """Raise `InputError` for a video that could not be written: before any work is done for it."""
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
    """Return an endlessly looping GIF of `(n, height, width, 3)` uint8 frames."""
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
    """Return the environment, made for drawing. Raise `RenderError` where that is impossible."""
    try:
        return make_env(env_name, render=True)
    except (InputError, TypeError) as error:  # TypeError: its constructor takes no render_mode
        raise RenderError(f"{env_name} cannot draw here: {error}") from error


def render_frame(env: gym.Env) -> np.ndarray:
    """Return the environment's picture now, `(height, width, 3)` uint8. Raise `RenderError` where it cannot draw."""
    try:
        return env.render()
    except Exception as error:  # glfw, EGL and OpenGL each raise classes of their own
        raise RenderError(
            f"{name_of(env)} cannot draw here ({type(error).__name__}: {error}); on Debian and Ubuntu"
            " `apt-get install libegl1 libgl1` and MUJOCO_GL=egl let MuJoCo draw without a display"
        ) from error


def _shrink(frame: np.ndarray) -> np.ndarray:
    """Return the frame, halved by averaging blocks of 2 x 2 pixels until it is at most `WIDTH` wide."""
    while frame.shape[1] > WIDTH:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        blocks = frame[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        frame = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return frame
