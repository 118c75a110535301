"""The scripted driver, on a road with speeds and angles computed by hand, and on real tracks."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.car_driver import Car, CarDriver, RacingLine, drive, look_ahead, racing_line, read_car
from rl_il.experts.loading import load_expert
from rl_il.infrastructure.rollouts import sample_n_trajectories, sample_trajectory
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.runs.evaluate import record_demos
from rl_il.runs.experiment import run

PICTURE = (96, 96, 3)
NORTH, EAST = np.array([0.0, 1.0]), np.array([1.0, 0.0])


def straight(corner_speeds=(), length=60):
    """Return a line to the north from the origin, with a point at each metre."""
    points = np.stack([np.zeros(length), np.arange(length)], axis=1).astype(float)
    return RacingLine(points, np.ones(length), np.array([*corner_speeds, *[1e3] * (length - len(corner_speeds))]))


def car(x=0.0, y=0.0, heading=NORTH, speed=30.0, wheel_speed=None):
    return Car(np.array([x, y]), heading, speed, speed, speed if wheel_speed is None else wheel_speed)


def circle(radius, points=400):
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


# The line ------------------------------------------------------------------------------------------------


def test_on_a_circle_it_is_as_fast_as_the_tyres_allow():
    line = racing_line(circle(100.0))
    radius = np.linalg.norm(line.points, axis=1)
    assert radius.max() - radius.min() < 1e-9 and 98 < radius[0] < 100  # slightly inside, since it cuts the corner
    np.testing.assert_allclose(line.corner_speeds, np.sqrt(120.0 * radius), rtol=1e-3)
    np.testing.assert_allclose(line.steps, 2 * np.pi * radius / 400, rtol=1e-3)


def test_the_line_stays_within_four_metres_of_the_centre():
    corner = np.concatenate(
        [[(x, 0.0) for x in np.arange(0, 100, 3.5)], [(98.0, y) for y in np.arange(3.5, 100, 3.5)]]
    )
    centre = np.concatenate([corner, corner[::-1] + 0.1])  # there and back, with a hairpin at each end
    cut = np.linalg.norm(racing_line(centre).points - centre, axis=1)
    assert cut.max() == pytest.approx(4)


# Looking ahead -------------------------------------------------------------------------------------------


def test_it_aims_at_the_line_at_the_given_distance():
    aim, _ = look_ahead(straight(), start=3, aim_distance=7.5)
    assert aim.tolist() == [0.0, 10.5]


def test_it_slows_down_in_time_for_a_corner_ahead():
    slow = [1e3] * 20 + [10.0]  # 20 m ahead
    _, speed = look_ahead(straight(slow), 0, 5.0)
    assert speed == pytest.approx(np.sqrt(10**2 + 2 * 75 * 20))
    _, speed = look_ahead(straight(slow), 20, 5.0)
    assert speed == 10


def test_it_does_not_see_what_the_picture_does_not_show():
    assert look_ahead(straight([1e3] * 34 + [0.0]), 0, 5.0)[1] == pytest.approx(np.sqrt(2 * 75 * 34))
    assert look_ahead(straight([1e3] * 35 + [0.0]), 0, 5.0)[1] == 90
    assert look_ahead(straight(), 0, 50.0)[0].tolist() == [0.0, 35.0]


# Driving -------------------------------------------------------------------------------------------------


def test_on_the_line_it_drives_straight_ahead():
    steer, gas, brake = drive(straight(), car(speed=30))
    assert (steer, gas, brake) == (0, 1, 0)  # 60 m/s too slow
    assert drive(straight(), car(speed=90 - 5)).tolist() == pytest.approx([0, 0.08 * 5, 0])
    assert drive(straight(), car(speed=90 + 5)).tolist() == pytest.approx([0, 0, 0.04 * 5])
    assert drive(straight(), car(speed=200))[2] == pytest.approx(0.8)


@pytest.mark.parametrize("side", [-1, 1])
def test_it_steers_towards_the_line_by_pure_pursuit(side):
    steer, *_ = drive(straight(), car(x=-side * 1.0, speed=50))  # aims 4 + 0.12 * 50 = 10 m ahead
    assert steer == pytest.approx(side * np.arctan(2 * 3.24 * 1.0 / (10**2 + 1)))  # wheelbase, 2 x / d^2


def test_with_the_wheels_turned_it_gives_less_gas():
    steer, gas, _ = drive(straight(), car(x=-2, speed=30))
    assert gas == pytest.approx(1 - steer / 0.4)
    assert drive(straight(), car(x=-6, speed=30))[1] == pytest.approx(0.3)


def test_it_starts_gently_and_never_spins_its_wheels():
    assert drive(straight(), car(speed=0))[1] == 0.5
    assert drive(straight(), car(speed=30, wheel_speed=41))[1] == 1
    assert drive(straight(), car(speed=30, wheel_speed=43))[1] == 0


def test_off_the_road_it_is_slow():
    assert drive(straight(), car(x=6.9, speed=50))[2] == 0
    assert drive(straight(), car(x=7.1, speed=50))[2] == pytest.approx(0.04 * 5)


def test_facing_away_it_turns_round_slowly():
    steer, gas, brake = drive(straight(), car(x=1, heading=EAST, speed=30))  # the line is behind it, on the left
    assert (steer, gas) == (pytest.approx(-0.4), 0)
    assert brake == pytest.approx(0.04 * (30 - 22))


def test_the_cars_state_is_read_as_gymnasium_keeps_it():
    wheels = [SimpleNamespace(omega=omega, wheel_rad=0.5) for omega in (100, 100, 10, 20)]
    hull = SimpleNamespace(position=(1.0, 2.0), angle=np.pi / 2, linearVelocity=(-3.0, 4.0))  # it faces west
    state = read_car(SimpleNamespace(hull=hull, wheels=wheels))
    assert state.position.tolist() == [1, 2]
    assert state.heading == pytest.approx([-1, 0])
    assert (state.speed, state.forward_speed, state.wheel_speed) == pytest.approx((5, 3, 10))


# On real tracks --------------------------------------------------------------------------------------------


@pytest.fixture
def track(monkeypatch):
    """Yield a CarRacing that draws no picture: drawing takes most of a step's time."""
    env = make_env("CarRacing-v3")
    blank = np.zeros(PICTURE, np.uint8)
    monkeypatch.setattr(env.unwrapped, "_render", lambda mode: blank)
    yield env
    env.close()


def test_it_finishes_its_laps_fast(track):
    driver = load_expert(None, track)
    for seed in (101, 102, 103):  # each has a new track
        trajectory = sample_trajectory(track, driver, seed)
        assert trajectory.terminated and trajectory.episode_return > 890
        assert track.action_space.contains(trajectory.acs[0])


def test_it_comes_back_after_a_crash(track):
    # Learners reach such states: here, after a second with full gas and the wheels fully turned.
    driver = CarDriver(PICTURE)
    ob, _ = track.reset(seed=7)
    driver.watch(track)
    driver.reset(7)
    line = racing_line(np.array([point[2:4] for point in track.unwrapped.track]))

    def metres_off():
        return np.linalg.norm(line.points - read_car(track.unwrapped.car).position, axis=1).min()

    furthest = 0.0
    for step in range(400):
        crash = 100 <= step < 150
        track.step(np.array([1, 1, 0], np.float32) if crash else driver.get_action(ob))
        furthest = max(furthest, metres_off())
    assert furthest > 10  # the grass begins 6.7 m from the centre
    assert metres_off() < 3
    assert read_car(track.unwrapped.car).forward_speed > 20


def test_it_answers_only_in_the_environment_that_it_watches(track):
    driver, ob = CarDriver(PICTURE), np.zeros(PICTURE, np.uint8)
    with pytest.raises(InputError, match=r"\(96, 96, 3\)"):
        driver.get_action(ob)
    track.reset(seed=0)
    driver.watch(track)
    assert driver.get_action(ob).shape == (3,)
    with pytest.raises(InputError, match=r"\(2, 96, 96, 3\)"):
        driver.get_action(np.stack([ob, ob]))
    assert pickle.loads(pickle.dumps(driver)).env is None  # it is pickled without it


def test_workers_drive_like_one_process():
    driver = CarDriver(PICTURE)
    workers = RolloutWorkers("CarRacing-v3", 2)
    try:
        (there,) = sample_n_trajectories(workers, driver, 1, np.random.default_rng(3), 40)
    finally:
        workers.close()
    env = make_env("CarRacing-v3")
    (here,) = sample_n_trajectories(env, driver, 1, np.random.default_rng(3), 40)
    env.close()
    np.testing.assert_array_equal(there.acs, here.acs)
    np.testing.assert_array_equal(there.obs, here.obs)


def test_a_clone_is_compared_with_the_drivers_return(tmp_path):
    laps = tmp_path / "laps.npz"
    record_demos("CarRacing-v3", laps, n_demos=1, ep_len=15)
    small = {"ep_len": 10, "eval_episodes": 1, "num_agent_train_steps_per_iter": 2, "video_log_freq": -1}
    config = RunConfig("CarRacing-v3", expert_data=str(laps), logdir=str(tmp_path / "run"), **small)
    summary = run(config, verbose=False).summary
    assert summary["expert_labels"] == 15
    assert summary["expert_episodes"] == summary["eval_episodes"] and np.isfinite(summary["expert_return_mean"])
