"""`CNNPolicySL`: a policy that sees pictures. It overrides the encoder, and what is seen and remembered."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rl_il.envs import env_spec, is_picture, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import to_numpy
from rl_il.policies.mlp_policy import MLPPolicySL

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of each layer: those of Mnih et al. 2015 (doi:10.1038/nature14236)."""
MOST_FRAMES = 64
GREY = (77, 150, 29)  # 256ths of red, green and blue in a shade of grey (ITU-R BT.601)


class CNNPolicySL(MLPPolicySL):
    """An `MLPPolicySL` whose network reads what convolutions make of the last few pictures.

    Pictures stay uint8 until `encode` scales them, on the policy's device. It remembers the pictures of an episode,
    so it takes one observation at a time, each in turn, or one of each of its episodes once it is `vectorized`; a
    batch is for `forward`.

    Args:
      ob_shape: (height, width, channels) of a picture.
      frame_stack: how many successive pictures it sees; from fewer, speed cannot be told.
      greyscale: whether colours are dropped.
      rows: rows of the picture that are kept, from the top; None: all. Below CarRacing's 84 are dials that show the
        steering, from which a clone would learn to repeat the last action.
      Others: those of `MLPPolicySL`.
    """

    compile_pays = False  # its time goes into convolutions, not into starting operations

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        ac_dim: int,
        discrete: bool,
        n_layers: int = 2,
        size: int = 64,
        activation: str = "tanh",
        loss: str | None = None,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        frame_stack: int = 4,
        greyscale: bool = True,
        rows: int | None = None,
    ):
        if len(ob_shape) != 3 or ob_shape[2] not in (1, 3):
            raise InputError(f"a picture has the shape (height, width, 1 or 3), got {tuple(ob_shape)}")
        if type(frame_stack) is not int or not 1 <= frame_stack <= MOST_FRAMES:
            raise InputError(f"--frame_stack must be 1 to {MOST_FRAMES}, got {frame_stack!r}")
        height = ob_shape[0] if rows is None else rows
        if type(height) is not int or not 1 <= height <= ob_shape[0]:
            raise InputError(f"a picture of {ob_shape[0]} rows cannot keep {rows!r} of them")
        self.frame_stack, self.greyscale, self.rows = frame_stack, bool(greyscale), height
        # Of each episode that it acts in: (frame_stack, height, width, channels) uint8, the newest last.
        self._frames: list[np.ndarray | None] = [None]
        self.home = torch.device(device)  # a frozen copy lies elsewhere
        super().__init__(
            ob_shape, ac_dim, discrete, n_layers, size, activation, loss, learning_rate, weight_decay, seed, device
        )

    @classmethod
    def count_features(cls, hyperparameters: dict[str, Any]) -> int:
        """Numbers that the convolutions give for one observation."""
        height, width, _ = hyperparameters["ob_shape"]
        sides = [hyperparameters.get("rows") or height, width]
        for _, kernel, stride in CONVOLUTIONS:
            sides = [(side - kernel) // stride + 1 for side in sides]
        if min(sides) < 1:
            raise InputError(f"pictures of {height} x {width} are too small for the convolutions; 36 x 36 are needed")
        return CONVOLUTIONS[-1][0] * sides[0] * sides[1]

    def build_encoder(self) -> int:
        """Makes the convolutions; returns how many features they give."""
        layers: list[nn.Module] = []
        channels = self.frame_stack * (1 if self.greyscale else self.ob_shape[2])
        for out, kernel, stride in CONVOLUTIONS:
            layers += [nn.Conv2d(channels, out, kernel, stride), nn.ReLU()]
            channels = out
        self.convolutions = nn.Sequential(*layers)
        return self.count_features({"ob_shape": self.ob_shape, "rows": self.rows})

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Does nothing: every pixel is divided by 255."""

    # Torch -----------------------------------------------------------------------------------------------

    def encode(self, observations: Tensor) -> Tensor:
        """Views `(N, frame_stack, height, width, channels)` uint8 to `(N, features)`; with one frame, its axis may
        be left out."""
        if observations.ndim == 4:
            observations = observations.unsqueeze(1)
        pictures = observations.permute(0, 1, 4, 2, 3).flatten(1, 2)
        # Channels last is how a CPU convolves fastest.
        pictures = pictures.contiguous(memory_format=torch.channels_last).float() / 255
        return self.convolutions(pictures).flatten(1)

    # NumPy -----------------------------------------------------------------------------------------------

    def view(self, obs: np.ndarray) -> np.ndarray:
        """`(N, *ob_shape)` uint8 to `(N, rows, width, channels)` uint8."""
        obs = obs[:, : self.rows]
        if not self.greyscale or obs.shape[-1] == 1:
            return obs
        red, green, blue = (obs[..., i].astype(np.uint16) * weight for i, weight in enumerate(GREY))
        return ((red + green + blue) >> 8).astype(np.uint8)[..., None]

    def see(self, obs: np.ndarray) -> np.ndarray:
        """The next observation of each of its n episodes, `(n, *ob_shape)`, to those and the ones before them,
        `(n, frame_stack, rows, width, channels)`. There is one episode, unless it is `vectorized`."""
        n = len(self._frames)
        if self.frame_stack > 1 and len(obs) != n:
            each = "one observation" if n == 1 else f"one observation of each of its {n} episodes"
            raise InputError(
                f"a policy that sees {self.frame_stack} pictures in a row acts on {each} at a time, in the order of"
                f" the episode; got {len(obs)}"
            )
        view = self.view(obs)
        if self.frame_stack == 1:
            return view
        self._frames = [self._follow(*each) for each in zip(self._frames, view, strict=True)]
        return np.stack(self._frames)

    def _follow(self, frames: np.ndarray | None, view: np.ndarray) -> np.ndarray:
        """The last `frame_stack` pictures of an episode; before its first one they are like that."""
        if frames is None:
            return np.repeat(view[None], self.frame_stack, axis=0)
        return np.concatenate((frames[1:], view[None]))

    def reset(self, seed: int = 0) -> None:
        """Starts an episode: forgets the pictures of the last one."""
        super().reset(seed)
        self._frames = [None]

    def vectorized(self, n: int) -> CNNPolicySL | None:
        """A frozen copy for n episodes in one batch, on the device that the policy is trained on. None for a subclass
        that may remember an episode in its own way."""
        names = ("get_action", "see", "reset")
        if any(getattr(type(self), name) is not getattr(CNNPolicySL, name) for name in names):
            return None
        actor = _frozen(*self.__reduce__()[1], device=self.home)
        actor._frames = [None] * n
        return actor

    def begin(self, slot: int, seed: int) -> None:
        """Where one of several episodes starts: forgets the pictures of the last one in this slot."""
        self._frames[slot] = None

    def __reduce__(self):
        """What travels to a worker process, and into the frozen copy: arrays, and no pictures."""
        state = {name: to_numpy(tensor) for name, tensor in self.state_dict().items()}
        return _frozen, (type(self), self.hyperparameters(), state, self.home)

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments, except the device."""
        own = {"frame_stack": self.frame_stack, "greyscale": self.greyscale, "rows": self.rows}
        return super().hyperparameters() | own


def _frozen(
    policy_class: type[CNNPolicySL],
    hyperparameters: dict[str, Any],
    state: dict[str, np.ndarray],
    home: torch.device,
    device: torch.device | str = "cpu",
) -> CNNPolicySL:
    """A copy that only acts, of a policy that is trained on the device `home`."""
    policy = policy_class(**hyperparameters, device=device)
    policy.home = home
    policy.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    return policy.eval().requires_grad_(False)


def policy_class(env: gym.Env) -> type[MLPPolicySL]:
    """The kind of policy that fits what the environment shows."""
    return CNNPolicySL if is_picture(env.observation_space) else MLPPolicySL


def picture_settings(env: gym.Env, frame_stack: int | None, colour: bool, whole_picture: bool) -> dict[str, Any]:
    """What `CNNPolicySL` takes beside `MLPPolicySL`'s arguments; nothing where there are no pictures.

    Raises `InputError` for a setting of pictures where there are none.
    """
    if is_picture(env.observation_space):
        rows = None if whole_picture else env_spec(name_of(env)).picture_rows
        return {"frame_stack": frame_stack or 4, "greyscale": not colour, "rows": rows}
    given = {"--frame_stack": frame_stack, "--colour": colour, "--whole_picture": whole_picture}
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{', '.join(names)}: {name_of(env)} shows no pictures; drop it")
    return {}
