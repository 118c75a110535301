"""Frames and videos of an episode. A video is a GIF, or an MP4 if imageio-ffmpeg is installed."""

from __future__ import annotations

import io
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.envs import make_env, name_of, recipe_of
from rl_il.envs.interface import described
from rl_il.errors import RAISED, InputError, describe
from rl_il.files import atomic_write, check_writable
from rl_il.infrastructure.rollouts import episode_steps
from rl_il.types import Actor, Trajectory

FORMATS = (".gif", ".mp4")
FRAMES_PER_SECOND = 20  # maximum; frames of faster environments are skipped
MAX_WIDTH = 400  # pixels; the size of larger frames is halved


class RenderError(InputError):
    """An error because an environment cannot draw on this machine. The message says why."""


def record_frames(
    env: gym.Env, actor: Actor, seed: int, max_path_length: int | None = None, max_frames: int = 300
) -> tuple[np.ndarray, float]:
    """Return the frames of one episode, `(n, height, width, 3)` uint8, and their number per second in real time.

    The episode is rolled out in a new environment that is made like `env`. After about `max_frames` frames it is cut
    off. Raise `RenderError` if the environment cannot draw, or fails in this episode.
    """
    with closing(make_drawing_env(env)) as env:
        native = env.metadata.get("render_fps") or FRAMES_PER_SECOND
        stride = -(-native // FRAMES_PER_SECOND)
        limit = min(filter(None, (max_path_length, max_frames * stride)))
        frames: list[np.ndarray] = []
        try:
            for rollout in episode_steps(env, actor, seed, limit):
                if len(rollout) % stride == 0 or rollout.ended:
                    frames.append(_shrink(render_frame(env)))
        except InputError as error:
            raise RenderError(str(error)) from error
    return _stacked(env, frames), native / stride


def frames_at(env: gym.Env, actor: Actor, seed: int, steps: Sequence[int]) -> tuple[np.ndarray, Trajectory]:
    """Return the frames before these steps, `(len(steps), height, width, 3)` uint8, and the episode up to them.

    Raise `RenderError` if the environment cannot draw, and `InputError` if the episode ends before the last step.
    """
    frames: dict[int, np.ndarray] = {}
    with closing(make_drawing_env(env)) as env:
        for rollout in episode_steps(env, actor, seed, max(steps) + 1):
            if len(rollout) in steps and not rollout.ended:
                frames[len(rollout)] = _shrink(render_frame(env))
    if len(rollout) <= max(steps):
        raise InputError(f"{name_of(env)}: the episode ends after {len(rollout)} steps, before step {max(steps)}")
    return _stacked(env, [frames[each] for each in steps]), rollout.trajectory()


def tile(videos: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return one video that shows all videos in rows of `columns`. Shorter videos repeat their last frame.

    All videos must have frames of the same size.
    """
    longest = max(map(len, videos))
    padded = [np.concatenate((video, video[-1:].repeat(longest - len(video), axis=0))) for video in videos]
    rows = [np.concatenate(padded[i : i + columns], axis=2) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=1)


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Write a GIF or an MP4, depending on the suffix of `path`. Raise `InputError` for any other suffix."""
    path = Path(path)
    check_video_path(path)
    data = gif_bytes(frames, fps) if path.suffix == ".gif" else _mp4_bytes(frames, fps)
    with atomic_write(path) as file:
        file.write(data)


def check_video_path(path: str | Path) -> None:
    """Raise `InputError` if a video cannot be written to this path. Call it before any work."""
    check_writable(path)
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: the name of a video must end in {' or '.join(FORMATS)}, got {suffix or 'no suffix'}"
        )
    if suffix == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"{path}: MP4 needs `pip install imageio-ffmpeg`; .gif needs no other package"
            ) from error


def gif_bytes(frames: np.ndarray, fps: float) -> bytes:
    """Return the bytes of a GIF, which repeats without end. The frames are `(n, height, width, 3)` uint8."""
    import imageio.v3 as imageio

    file = io.BytesIO()
    duration = 10 * round(100 / fps)  # milliseconds; a GIF stores hundredths of a second, rounded down
    imageio.imwrite(file, frames, extension=".gif", duration=duration, loop=0)
    return file.getvalue()


def _mp4_bytes(frames: np.ndarray, fps: float) -> bytes:
    import imageio.v2 as imageio

    file = io.BytesIO()
    with imageio.get_writer(file, format="mp4", fps=fps, macro_block_size=2) as writer:
        for frame in frames:
            writer.append_data(frame)
    return file.getvalue()


def make_drawing_env(env: gym.Env) -> gym.Env:
    """Return a new environment like `env`, prepared for drawing. Raise `RenderError` if it cannot be made."""
    if "rgb_array" not in (env.metadata.get("render_modes") or ()):
        raise RenderError(f"{name_of(env)} cannot draw: its metadata has no render mode rgb_array")
    try:
        return make_env(recipe_of(env), render=True)
    except InputError as error:
        raise RenderError(f"{name_of(env)} cannot draw here: {error}") from error


def render_frame(env: gym.Env) -> np.ndarray:
    """Return the environment's current picture, `(height, width, 3)` uint8. Raise `RenderError` if it cannot draw."""
    try:
        frame = env.render()
    except RAISED as error:  # glfw, EGL and OpenGL raise different classes
        text = f"{name_of(env)} cannot draw here: {describe(error)}"
        files = {part for frame in traceback.extract_tb(error.__traceback__) for part in Path(frame.filename).parts}
        if "mujoco" in files:  # the name of its package, and of Gymnasium's folder for it
            text += (
                "; MuJoCo without a display needs MUJOCO_GL=egl and, on Debian and Ubuntu,"
                " `apt-get install libegl1 libgl1`"
            )
        raise RenderError(text) from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise RenderError(
            f"{name_of(env)}: `render` must return an array (height, width, 3) of uint8, got {described(frame)}"
        )
    return frame


def _stacked(env: gym.Env, frames: Sequence[np.ndarray]) -> np.ndarray:
    """Return the frames as one array. Raise `RenderError` if they have different sizes."""
    shapes = list(dict.fromkeys(frame.shape for frame in frames))
    if len(shapes) > 1:
        raise RenderError(f"{name_of(env)}: `render` returned frames of the shapes {shapes[0]} and {shapes[1]}")
    return np.array(frames)


def _shrink(frame: np.ndarray) -> np.ndarray:
    """Average blocks of 2 x 2 pixels until the frame is at most `MAX_WIDTH` wide, and return it."""
    while frame.shape[1] > MAX_WIDTH:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        blocks = frame[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        frame = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return frame
