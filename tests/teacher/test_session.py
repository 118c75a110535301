import numpy as np
import pytest
from teaching import finish_episode, make_session

from rl_il.errors import InputError
from rl_il.infrastructure.counting import Counts, count_collected
from rl_il.types import HUMAN, LEARNER


def performed(session):
    return session.env.unwrapped.executed


def shown(session, *names):
    """Return these values of the state that the page gets."""
    state = session.state()
    return tuple(state[name] for name in names)


def test_the_agent_acts_until_a_held_key_takes_over():
    session = make_session()
    assert shown(session, "acting", "agent_action", "human_action") == ("nobody", None, None)
    session.step()
    assert shown(session, "acting", "agent_action", "human_action") == ("agent", 0, None)
    session.hold(["Digit2"], stamp=7.5)
    assert session.keys_stamp is None  # no step has used the key yet
    session.step()
    assert shown(session, "acting", "agent_action", "human_action", "keys_stamp") == ("human", 0, 2, 7.5)
    session.hold([])
    session.step()
    assert shown(session, "acting", "intervention_rate") == ("agent", 1 / 3)
    session.hold(["Digit0"])  # the agent would do the same, but the person chose it
    session.step()
    assert shown(session, "acting", "intervention_rate") == ("human", 1 / 2)
    assert performed(session) == [0, 2, 0, 0]


def test_in_demonstrate_the_idle_action_is_a_label():
    session = make_session(mode="demonstrate")
    session.learner.publish(action=2)
    session.step()
    session.hold(["Digit1"])
    session.step()
    assert performed(session) == [0, 1]
    assert session.labels.counts == {"human": 2, "approved": 0}
    assert session.so_far().trajectory.expert_acs is None


def test_in_watch_keys_do_nothing_and_nothing_is_a_label():
    session = make_session(labels="performed")
    session.set_mode("watch")
    session.hold(["Digit2"])
    finish_episode(session)
    assert performed(session) == [0] * 5
    assert session.labels.counts == {"human": 0, "approved": 0}
    assert not session.ended_episodes[0].trajectory.labelled_steps.any()


@pytest.mark.parametrize(
    "rule, labelled", [("human", [0, 1, 1, 0, 0]), ("performed", [1] * 5), ("weighted", [1] * 5)]
)
def test_an_episode_is_kept_step_by_step(rule, labelled):
    session = make_session(labels=rule)
    session.learner.publish()  # after the episode's start
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
    assert (episode.number, episode.start, episode.snapshot) == (0, 0, 0)
    assert trajectory.expert_acs is None  # the keys were read at each step, but they are not answers of an expert


@pytest.mark.parametrize(
    "name, ep_len, ended", [("Corridor", None, "terminated"), ("EndlessCorridor", 3, "truncated")]
)
def test_how_an_episode_ended(name, ep_len, ended):
    session = make_session(f"{name}-v0", ep_len=ep_len)
    finish_episode(session)
    trajectory = session.ended_episodes[0].trajectory
    assert getattr(trajectory, ended) and session.state()["ended"] == ended
    assert ep_len is None or len(trajectory) == ep_len


@pytest.mark.parametrize("hot_swap, actions", [(False, [0] * 5 + [1]), (True, [0, 0, 1, 1, 1, 1])])
def test_a_snapshot_waits_for_the_next_episode_or_step(hot_swap, actions):
    session = make_session(hot_swap=hot_swap)
    session.step()
    session.learner.publish()
    session.step()  # this action was chosen before, with or without --hot_swap
    assert shown(session, "snapshot", "playing_snapshot") == (1, hot_swap)
    actor = session.player.snapshot.actor
    assert (actor.seeds, actor.watched) == ([session.rollout.seed], session.env)  # `reset` empties a memory
    finish_episode(session)
    assert session.step() and len(performed(session)) == 5  # this only starts the next episode
    session.step()
    assert performed(session) == actions


def test_each_episode_has_its_own_seed_also_for_the_actor():
    session = make_session()
    seeds = [session.rollout.seed]
    for _ in range(2):
        finish_episode(session)
        session.step()
        seeds.append(session.rollout.seed)
    assert len({*seeds}) == 3
    actor = session.player.snapshot.actor
    assert session.env.unwrapped.seeds == seeds == actor.seeds and actor.watched is session.env
    assert make_session().rollout.seed == seeds[0]
    assert make_session(first_episode=2).rollout.seed == seeds[2]
    assert session.learner.episodes == [0, 1, 2] and session.learner.granted == 10  # each step adds gradient steps


def test_undo_also_removes_labels_of_earlier_episodes():
    session = make_session(labels="performed")
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


REFUSED = {"set_mode": ["teach", "dance"], "undo": [0, -1, 601], "set_speed": [0.2, 4.1]}


@pytest.mark.parametrize("what, value", [(what, value) for what, values in REFUSED.items() for value in values])
def test_values_outside_the_limits_are_refused(what, value):
    session = make_session(mode="demonstrate", modes=["demonstrate"])
    with pytest.raises(InputError, match=rf"got '?{value}"):
        getattr(session, what)(value)
    assert (session.mode, session.speed) == ("demonstrate", 1)


def test_reset_ends_the_episode_now_and_keeps_its_labels():
    session = make_session()
    session.reset()  # before the first step there is nothing to save
    session.step()
    assert session.ended_episodes == [] and session.episode == 1
    session.hold(["Digit2"])
    session.step()
    session.reset()
    session.reset()
    (episode,) = session.ended_episodes
    assert len(episode.trajectory) == 1
    assert not episode.trajectory.terminated and not episode.trajectory.truncated
    assert session.step() and session.episode == 2 and session.labels.counts["human"] == 1


def test_without_keys_watch_is_the_only_mode(monkeypatch):
    monkeypatch.setattr("rl_il.envs.spaces.AXES", ())  # so that continuous actions have no keys
    session = make_session("CorridorContinuous-v0", mode="watch")
    assert session.keys is None
    session.hold(["Digit1"])
    session.learner.publish([9, -9])
    session.begin()
    session.step()
    assert shown(session, "acting", "agent_action", "human_action") == ("agent", [9, -9], None)  # not clipped
    for use in (lambda: session.set_mode("teach"), lambda: make_session("CorridorContinuous-v0")):
        with pytest.raises(InputError, match="CorridorContinuous-v0"):
            use()


def test_an_episode_without_a_limit_runs_until_reset():
    session = make_session("EndlessCorridor-v0")
    for _ in range(60):
        session.step()
    assert session.ended is None and len(session.so_far().trajectory) == 60
    session.reset()
    assert session.ended == "reset"


def test_what_a_person_is_asked_and_does_is_counted():
    session = make_session()
    assert session.counts == Counts()
    for held in (("Digit2",), ("Digit1",), (), ("Digit0",), ()):  # the person takes over twice
        session.hold(held)
        session.step()
    first = Counts(env_steps=5, expert_labels=3, consulted=5, expert_steps=3, takeovers=2)
    assert session.counts == first == count_collected([session.ended_episodes[0].trajectory])
    session.hold(("Digit2",))
    session.step()  # it only starts the next episode
    assert session.counts == first
    for mode in ("teach", "watch", "demonstrate", "teach"):  # a key is held all the time
        session.set_mode(mode)
        session.step()
    assert session.counts == Counts(env_steps=9, expert_labels=6, consulted=8, expert_steps=6, takeovers=4)
    assert shown(session, "counts") == (session.counts.scalars(),)
    session.reset()
    assert session.ended_episodes[1].trajectory.consulted.tolist() == [True, False, True, True]
    assert session.undo(0.5) == 3 and session.counts == Counts(9, 3, 8, 6, 4)  # undone labels are not counted


def test_approved_steps_are_not_labels_of_the_teacher():
    session = make_session(labels="performed", max_labels=4)
    session.step()
    session.hold(("Digit2",))
    session.step()
    assert session.labels.counts == {"human": 1, "approved": 1}
    assert session.counts.expert_labels == 1 == 4 - session.labels_left


def test_the_labels_that_are_left_end_the_session():
    session = make_session(max_labels=3)
    assert shown(session, "labels_left") == (3,)
    for held in (("Digit2",), ("Digit1",), (), ("Digit2",)):
        session.hold(held)
        session.step()
    assert shown(session, "labels_left", "ended") == (0, "no labels left")
    assert session.used_up and session.ended_episodes[0].trajectory.labelled_steps.tolist() == [
        True,
        True,
        False,
        True,
    ]
    session.begin()
    assert session.used_up  # as after a resume, before the first step
    unlimited = make_session()
    assert shown(unlimited, "labels_left") == (None,) and not unlimited.used_up
