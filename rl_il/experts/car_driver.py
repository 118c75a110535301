"""A scripted driver for CarRacing that reads the simulator: an expert for learners that see pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from rl_il.errors import InputError
from rl_il.types import Actor

# Lengths are in metres, speeds in metres per second, and angles in radians (anticlockwise).
SMOOTHED_POINTS = 6  # of the centre line on each side, averaged into the racing line, which so cuts corners
MAX_CUT = 4.0  # the maximum distance of the racing line from the centre line
CORNER_ACCELERATION = 120.0  # m/s^2 sideways, at which the tyres still hold
BRAKE_ACCELERATION = 75.0  # m/s^2
TOP_SPEED = 90.0
HORIZON = 35.0  # how far the driver looks ahead: about as far as the picture shows (37 m)
AIM_DISTANCE, AIM_SECONDS = 4.0, 0.12  # it steers at the point this distance plus speed times seconds ahead
WHEELBASE = 3.24
MAX_STEER = 0.4  # the limit of Gymnasium's car
GAS_GAIN, BRAKE_GAIN, MAX_BRAKE = 0.08, 0.04, 0.8  # pedal position for each m/s too slow or too fast
WHEEL_SPIN = 12.0  # m/s by which the rear tyres may be faster than the car
TURNING_GAS = 0.3  # the maximum with the wheels fully turned, at speeds above SLOW
SLOW, SLOW_GAS = 20.0, 0.5  # a speed, and the maximum gas below it
LOST_ANGLE, LOST_SPEED = 1.2, 22.0  # at a larger angle to the line, turn round at this speed
OFF_ROAD, OFF_ROAD_SPEED = 7.0, 45.0  # at a larger distance from the line, the maximum speed


class RacingLine(NamedTuple):
    """A closed line that the driver follows."""

    points: np.ndarray  # (N, 2)
    steps: np.ndarray  # (N,) distance from each point to the next
    corner_speeds: np.ndarray  # (N,) at which the tyres still hold


class Car(NamedTuple):
    """The car's position and motion."""

    position: np.ndarray  # (2,)
    heading: np.ndarray  # (2,) the direction it faces, of length 1
    speed: float  # in any direction
    forward_speed: float  # in the direction of the heading
    wheel_speed: float  # of the faster rear tyre's tread


class CarDriver(Actor):
    """A driver of CarRacing-v3 that reads the track and the car's state from the environment itself.

    It follows a line that cuts the corners, by pure pursuit (Coulter 1992, CMU-RI-TR-92-01), at the speed that the
    next corners allow. It remembers only the current track's line, so it can answer in any state that a learner
    reaches. But it must be asked while the environment is in that state, since it does not read the picture.
    """

    reads_simulator = True

    def __init__(self, ob_shape: tuple[int, ...]):
        self.ob_shape = tuple(ob_shape)
        self.env: Any = None
        self.track: list | None = None
        self.line: RacingLine | None = None

    def __reduce__(self):
        """Return how the driver is pickled: without its environment, since each worker process has its own."""
        return CarDriver, (self.ob_shape,)

    def watch(self, env: gym.Env) -> None:
        """Read the state of this environment from now on."""
        self.env = env.unwrapped

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return steering (right is positive), gas and brake, `(3,)` float32, for the watched environment's state.

        Raise `InputError` for a batch of observations: they do not hold what the driver reads.
        """
        if self.env is None or np.shape(obs) != self.ob_shape:
            raise InputError(
                "car_driver reads the simulator, so it cannot label recorded observations; expected one observation"
                f" {self.ob_shape} of the environment that it watches, got {np.shape(obs)}"
            )
        if self.track is not self.env.track:
            self.track = self.env.track
            self.line = racing_line(np.array([point[2:4] for point in self.track]))
        return drive(self.line, read_car(self.env.car))


def racing_line(centre: np.ndarray) -> RacingLine:
    """Return the racing line for a track's closed centre line `(N, 2)`."""
    n = len(centre)
    weights = np.hanning(2 * SMOOTHED_POINTS + 3)[1:-1]
    around = np.concatenate([centre[n - SMOOTHED_POINTS :], centre, centre[:SMOOTHED_POINTS]])
    smooth = np.stack([np.convolve(xy, weights / weights.sum(), "valid") for xy in around.T], axis=1)
    cut = smooth - centre
    distance = np.linalg.norm(cut, axis=1, keepdims=True)
    points = centre + cut * np.minimum(1, MAX_CUT / np.maximum(distance, 1e-6))
    edges = np.roll(points, -1, axis=0) - points
    steps = np.linalg.norm(edges, axis=1)
    heading = np.arctan2(edges[:, 1], edges[:, 0])
    turn = (np.roll(heading, -1) - heading + np.pi) % (2 * np.pi) - np.pi
    curvature = np.abs(turn) / np.maximum(steps, 0.5)
    curvature = (np.roll(curvature, 1) + 2 * curvature + np.roll(curvature, -1)) / 4
    return RacingLine(points, steps, np.sqrt(CORNER_ACCELERATION / np.maximum(curvature, 1e-4)))


def read_car(car: Any) -> Car:
    """Return the state of Gymnasium's car, whose body faces in the direction of its own y axis."""
    angle, velocity = car.hull.angle, np.array(car.hull.linearVelocity)
    heading = np.array([-np.sin(angle), np.cos(angle)])
    wheel_speed = max(wheel.omega * wheel.wheel_rad for wheel in car.wheels[2:4])
    speed, forward_speed = float(np.hypot(*velocity)), float(velocity @ heading)
    return Car(np.array(car.hull.position), heading, speed, forward_speed, wheel_speed)


def drive(line: RacingLine, car: Car) -> np.ndarray:
    """Return steering, gas and brake that follow the line, `(3,)` float32."""
    distances = np.linalg.norm(line.points - car.position, axis=1)
    nearest = int(np.argmin(distances))
    aim, wanted_speed = look_ahead(line, nearest, AIM_DISTANCE + AIM_SECONDS * car.speed)
    to_aim = aim - car.position
    right = np.array([car.heading[1], -car.heading[0]])
    angle = np.arctan2(to_aim @ right, to_aim @ car.heading)
    steer = np.arctan2(2 * WHEELBASE * np.sin(angle), np.hypot(*to_aim))  # the circle through `aim`
    if abs(angle) > LOST_ANGLE:
        steer, wanted_speed = np.sign(angle) * MAX_STEER, min(wanted_speed, LOST_SPEED)
    if distances[nearest] > OFF_ROAD:
        wanted_speed = min(wanted_speed, OFF_ROAD_SPEED)
    too_slow = wanted_speed - car.forward_speed
    turning_gas = max(TURNING_GAS, 1 - abs(steer) / MAX_STEER)
    max_gas = turning_gas if car.forward_speed > SLOW else SLOW_GAS
    spinning = car.wheel_speed - car.forward_speed > WHEEL_SPIN
    gas = 0.0 if spinning else min(np.clip(GAS_GAIN * too_slow, 0, 1), max_gas)
    brake = np.clip(-BRAKE_GAIN * too_slow, 0, MAX_BRAKE)
    return np.array([np.clip(steer, -MAX_STEER, MAX_STEER), gas, brake], np.float32)


def look_ahead(line: RacingLine, start: int, aim_distance: float) -> tuple[np.ndarray, float]:
    """Return the point of the line `aim_distance` after its point `start`, and the highest speed from which the car
    can slow down in time for every corner before `HORIZON`."""
    wanted_speed, aim = TOP_SPEED, None
    distance, i = 0.0, start
    while distance < HORIZON:
        wanted_speed = min(wanted_speed, np.sqrt(line.corner_speeds[i] ** 2 + 2 * BRAKE_ACCELERATION * distance))
        following = (i + 1) % len(line.points)
        if aim is None and distance + line.steps[i] >= aim_distance:
            share = (aim_distance - distance) / max(line.steps[i], 1e-6)
            aim = (1 - share) * line.points[i] + share * line.points[following]
        distance, i = distance + line.steps[i], following
    return line.points[i] if aim is None else aim, wanted_speed
