import numpy as np
import pytest
from teaching import finish_episode, make_session

from rl_il.errors import InputError
from rl_il.types import EXPERT, HUMAN, LEARNER


def performed(session):
    return session.env.unwrapped.executed


def test_without_keys_the_agent_acts_and_a_held_key_takes_over_in_the_very_next_step():
    session = make_session()
    session.step()
    assert (performed(session), session.acting, session.human_action) == ([0], "agent", None)
    session.hold(["Digit2"], stamp=7.5)
    assert session.keys_stamp is None  # no step has used it yet
    session.step()
    assert (performed(session), session.acting) == ([0, 2], "human")
    assert (session.agent_action, session.human_action, session.keys_stamp) == (0, 2, 7.5)
    session.hold([])
    session.step()
    assert (performed(session), session.acting) == ([0, 2, 0], "agent")
    assert session.state()["intervention_rate"] == 1 / 3


def test_a_key_that_does_what_the_agent_would_is_still_the_teachers():
    session = make_session()
    session.hold(["Digit0"])
    session.step()
    assert session.acting == "human" and session.sources == [HUMAN]


def test_in_demonstrate_the_idle_action_is_performed_and_is_a_label():
    session = make_session(modes=["demonstrate"])
    session.learner.publish(action=2)
    session.step()
    session.hold(["Digit1"])
    session.step()
    assert performed(session) == [0, 1]
    assert session.labels.counts == {"human": 2, "approved": 0}


def test_in_watch_keys_do_nothing_and_nothing_is_a_label():
    session = make_session(rule="performed")
    session.set_mode("watch")
    session.hold(["Digit2"])
    finish_episode(session)
    assert performed(session) == [0] * 5
    assert session.labels.counts == {"human": 0, "approved": 0}
    assert not session.ended_episodes[0].trajectory.labelled_steps.any()


def test_paused_nothing_moves_and_a_lost_teacher_pauses_with_all_keys_up():
    session = make_session()
    session.hold(["Digit2"])
    session.release()
    assert session.step() is False
    assert performed(session) == [] and session.held == ()
    session.paused = False
    session.step()
    assert performed(session) == [0]


@pytest.mark.parametrize(
    "rule, labelled", [("human", [0, 1, 1, 0, 0]), ("performed", [1] * 5), ("weighted", [1] * 5)]
)
def test_an_episode_is_kept_step_by_step(rule, labelled):
    session = make_session(rule=rule)
    session.learner.publish()  # too late for this episode
    for held in ((), ("Digit2",), ("Digit1",), (), ()):
        session.hold(held)
        session.step()
    (episode,) = session.ended_episodes
    trajectory = episode.trajectory
    assert trajectory.acs.tolist() == [0, 2, 1, 0, 0]
    assert trajectory.source.tolist() == [LEARNER, HUMAN, HUMAN, LEARNER, LEARNER]
    assert trajectory.labelled_steps.astype(int).tolist() == labelled
    assert trajectory.obs[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert trajectory.obs.dtype == np.float32 and trajectory.acs.dtype == np.int64
    assert (trajectory.terminated, trajectory.truncated) == (False, True)
    assert trajectory.episode_return == 3
    assert (episode.taken_over, episode.intervention_rate, episode.snapshot) == (2, 0.4, 0)
    assert (episode.number, episode.start, episode.stop) == (0, 0, 5)


def test_a_terminated_episode_says_so():
    session = make_session("Corridor-v0")
    finish_episode(session)
    assert session.ended_episodes[0].trajectory.terminated
    assert session.state()["ended"] == "terminated"


def test_a_shorter_limit_truncates():
    session = make_session("EndlessCorridor-v0", ep_len=3)
    finish_episode(session)
    assert len(session.ended_episodes[0].trajectory) == 3 and session.ended == "truncated"


def test_a_snapshot_waits_for_the_next_episode():
    session = make_session()
    session.step()
    session.learner.publish()
    session.step()
    assert performed(session) == [0, 0]
    assert session.state()["snapshot"] == 1 and session.state()["playing_snapshot"] == 0
    finish_episode(session)
    assert session.step() and performed(session) == [0] * 5  # the start of the next one is shown
    session.step()
    assert performed(session)[-1] == 1


def test_hot_swap_takes_it_at_the_next_step():
    session = make_session(hot_swap=True)
    session.step()
    session.learner.publish()
    session.step()  # chosen before
    session.step()
    assert performed(session) == [0, 0, 1]
    assert session.actor.seeds == [session.seed_now]  # a memory starts empty


def test_each_episode_has_its_own_seed_and_the_actor_is_reset_with_it():
    session = make_session()
    seeds = [session.seed_now]
    for _ in range(2):
        finish_episode(session)
        session.step()
        seeds.append(session.seed_now)
    assert len({*seeds}) == 3
    assert session.env.unwrapped.seeds == seeds == session.actor.seeds
    assert make_session().seed_now == seeds[0]
    assert make_session(first_episode=2).seed_now == seeds[2]
    assert session.learner.episodes == [0, 1, 2]


def test_one_action_is_asked_for_in_each_state():
    session = make_session()
    asked = []
    get_action = session.actor.get_action
    session.actor.get_action = lambda ob: asked.append(ob.tolist()) or get_action(ob)
    finish_episode(session)
    assert [ob[0] for ob in asked] == [1, 2, 3, 4]  # the first was asked before, the last leads nowhere


def test_undo_takes_the_labels_of_the_last_seconds_in_earlier_episodes_too():
    session = make_session(rule="performed")
    finish_episode(session)
    session.step()
    session.step()
    session.step()  # 7 steps at 10 a second
    assert session.undo(0.4) == 4
    assert session.labels.labelled(0, 7).tolist() == [True] * 3 + [False] * 4
    assert session.so_far().trajectory.labelled_steps.tolist() == [False, False]
    assert session.undo(0.4) == 0
    assert session.undo(60) == 3
    session.step()
    assert session.labels.counts == {"human": 0, "approved": 1}


@pytest.mark.parametrize("seconds", [0, -1, 601, 1e14])
def test_undo_of_other_times_is_refused(seconds):
    with pytest.raises(InputError, match="undo takes between 0 and 600 seconds"):
        make_session().undo(seconds)


def test_reset_ends_the_episode_where_it_is_and_keeps_its_labels():
    session = make_session()
    session.hold(["Digit2"])
    session.step()
    session.reset()
    session.reset()
    (episode,) = session.ended_episodes
    assert len(episode.trajectory) == 1
    assert not episode.trajectory.terminated and not episode.trajectory.truncated
    assert session.step() and session.episode == 1 and session.labels.counts["human"] == 1


def test_reset_before_the_first_step_saves_nothing():
    session = make_session()
    session.reset()
    session.step()
    assert session.ended_episodes == [] and session.episode == 1


def test_the_stand_ins_steps_are_the_experts():
    session = make_session(teacher=EXPERT)
    session.hold(["Digit2"])
    finish_episode(session)
    assert session.ended_episodes[0].trajectory.source.tolist() == [EXPERT] * 5


@pytest.mark.parametrize("speed", [0.2, 4.1, 1e14, -1])
def test_a_speed_beyond_the_limits_is_refused(speed):
    session = make_session()
    with pytest.raises(InputError, match=r"between 0\.25 and 4"):
        session.set_speed(speed)
    assert session.speed == 1


def test_a_mode_that_there_is_not_is_refused():
    session = make_session(modes=["demonstrate"])
    for mode in ("teach", "dance", "x" * 5000):
        with pytest.raises(InputError) as error:
            session.set_mode(mode)
        assert len(str(error.value)) < 200
    assert session.mode == "demonstrate"


def test_without_keys_one_can_only_watch():
    session = make_session("CorridorContinuous-v0", modes=["watch", "teach"])
    assert session.keys is None
    with pytest.raises(InputError, match="has no keys"):
        session.set_mode("teach")
    with pytest.raises(InputError, match="has no keys"):
        make_session("CorridorContinuous-v0")


def test_a_continuous_action_is_clipped_before_it_is_executed():
    session = make_session("CorridorContinuous-v0", modes=["watch"])
    session.intention = np.array([9, -9], np.float32)
    session.step()
    np.testing.assert_array_equal(performed(session)[0], [1, -2])
    assert session._trajectory(session.obs, slice(None)).acs.dtype == np.float32


def test_pixels_stay_pixels():
    session = make_session("PixelCorridor-v0", rule="performed")
    session.hold(["Digit1"])
    session.actor.ob_shape = (2, 2)
    finish_episode(session)
    assert session.ended_episodes[0].trajectory.obs.dtype == np.uint8
    assert session.labels.sample(3, np.random.default_rng(0)).obs.numpy().dtype == np.uint8


def test_an_environment_that_fails_is_named_with_the_seed():
    session = make_session()
    session.env.unwrapped.step = None
    with pytest.raises(InputError, match=rf"failed in step 1 of the episode from seed {session.seed_now}: TypeError"):
        session.step()


def test_every_step_earns_gradient_steps():
    session = make_session()
    finish_episode(session)
    assert session.learner.granted == 5
