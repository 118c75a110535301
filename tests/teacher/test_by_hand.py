"""Sessions taught by a person: what is saved when, and how they are resumed."""

import re
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from unittest.mock import Mock

import fakes  # noqa: F401  (registers the corridors)
import pytest

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.errors import InputError, Interrupted
from rl_il.files import read_csv
from rl_il.infrastructure.counting import SCALARS, Counts
from rl_il.runs.tensorboard import EventWriter
from rl_il.teacher import run
from rl_il.teacher.run import settings_to_go_on
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching
from rl_il.types import HUMAN


def rows(folder):
    return read_csv(folder / "metrics.csv")


@pytest.fixture
def by_hand(tmp_path):
    """Yield a function that opens sessions in the corridor; they train only with `updates_per_step`."""
    with ExitStack() as stack:

        def open_run(resume=None, **settings):
            settings = {"env_name": "TimedCorridor-v0", "updates_per_step": 0, "eval_every": -1} | settings
            config = TeachConfig(logdir=str(tmp_path / "run"), **settings)
            locks = stack.enter_context(ExitStack())
            teaching = open_teaching(locks, config, resume)
            teaching.unlock = locks.close
            return teaching

        yield open_run


def steps(teaching, n, *held):
    teaching.session.hold(held)
    for _ in range(n):
        teaching.session.step()


def labelled(folder):
    return [t.labelled_steps.astype(int).tolist() for t in load_trajectories(folder, may_lack_labels=True)]


def test_a_crash_loses_only_the_running_episode(by_hand):
    teaching = by_hand()
    steps(teaching, 5, "Digit2")
    steps(teaching, 4, "Digit1")  # a start and three steps
    teaching.abandon()  # as if it had been killed
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.labels.counts == {"human": 5, "approved": 0}
    assert (again.session.episode, len(again.metrics.history)) == (1, 1)
    steps(again, 5)
    again.close()
    assert labelled(teaching.folder) == [[1] * 5, [0] * 5]
    assert [row["iteration"] for row in rows(teaching.folder)] == ["0", "1"]


def counts_in(row):
    """Return the counts of a row of metrics.csv."""
    return Counts(*(int(row[name]) for name in SCALARS))


def test_a_resumed_session_goes_on_counting(by_hand):
    teaching = by_hand()
    for held in ((), ("Digit2",), (), ("Digit2",), ("Digit1",)):  # the person takes over twice
        steps(teaching, 1, *held)
    teaching.session.step()
    teaching.session.set_mode("watch")
    steps(teaching, 2, "Digit2")
    teaching.save()
    teaching.abandon()  # as if it had been killed in the second episode, which was saved
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.session.counts == Counts(env_steps=7, expert_labels=3, consulted=5, expert_steps=3, takeovers=2)
    steps(again, 5, "Digit2")
    again.close()
    table = [counts_in(row) for row in rows(teaching.folder)]
    assert table == [Counts(5, 3, 5, 3, 2), Counts(12, 8, 10, 8, 3)]


def test_a_session_of_an_earlier_version_is_continued(by_hand):
    """Its files do not say where the person was consulted, and its history has no counts."""
    teaching = by_hand()
    steps(teaching, 2, "Digit2")
    steps(teaching, 3)
    (path,) = (teaching.folder / "session").iterdir()
    save_trajectories(path, [replace(t, consulted=None) for t in load_trajectories(path)], {})
    del teaching.metrics.history[0]["counts"]
    teaching.save_learning(1)
    teaching.abandon()
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.session.counts == Counts(5, 2, consulted=2, expert_steps=2, takeovers=1)  # at least at the labels
    steps(again, 5)
    again.close()
    first, second = rows(teaching.folder)
    assert (first["Expert_LabelsSoFar"], first["Expert_ConsultedSoFar"]) == ("2", "")
    assert counts_in(second) == Counts(10, 2, 7, 2, 1)


def test_a_running_episode_that_was_saved_is_saved_again_at_its_end(by_hand):
    teaching = by_hand()
    assert teaching.save() is None
    steps(teaching, 3, "Digit2")
    assert teaching.unsaved_steps == 3
    path = teaching.save()
    assert teaching.unsaved_steps == 0
    (part,) = load_trajectories(path)
    assert len(part) == 3 and not (part.terminated or part.truncated)
    steps(teaching, 1, "Digit2")
    assert teaching.unsaved_steps == 1
    steps(teaching, 1)
    teaching.close()
    (whole,) = load_trajectories(path)
    assert len(whole) == 5 and whole.truncated


def test_undo_also_changes_the_saved_files(by_hand):
    teaching = by_hand()
    steps(teaching, 11, "Digit2")  # two episodes: 5, a start, 5
    teaching.session.step()
    steps(teaching, 2, "Digit2")
    teaching.save()
    assert teaching.undo(0.4) == 4  # at 10 steps a second
    assert labelled(teaching.folder) == [[1] * 5, [1] * 3 + [0] * 2, [0] * 2]
    assert teaching.labels.counts["human"] == 8
    teaching.close()
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.labels.counts["human"] == 8
    assert again.undo(1) == 6
    again.abandon()
    assert labelled(teaching.folder)[0] == [1, 1, 0, 0, 0]


def test_two_processes_never_teach_in_one_folder(by_hand):
    teaching = by_hand()
    with pytest.raises(InputError, match=re.escape(str(teaching.folder))):
        by_hand(resume=teaching.folder)
    teaching.abandon()


@pytest.mark.parametrize("damaged, named", [("session/*.npz", "episode_000000"), ("checkpoint/*.pt", "state_")])
def test_a_damaged_file_is_named(by_hand, damaged, named):
    teaching = by_hand()
    steps(teaching, 5, "Digit2")
    teaching.close()
    teaching.unlock()
    for path in teaching.folder.glob(damaged):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=named):
        by_hand(resume=teaching.folder)


@pytest.mark.parametrize("text", ["", "[]", '{"teaching": 3}', '{"config": {}}', '{"teaching": {"port": "x"}}', "["])
def test_a_broken_config_is_a_users_mistake(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        settings_to_go_on(tmp_path)


def test_a_mistake_makes_no_folder(by_hand, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # not installed
    monkeypatch.setattr("rl_il.envs.spaces.AXES", ())  # so that continuous actions have no keys
    for settings, named in (
        ({"tracker": "mlflow"}, "--tracker"),
        ({"env_name": "CorridorContinuous-v0"}, "CorridorContinuous-v0"),
        ({"key_values": "Digit1=3"}, "--key_values"),
        ({"env_name": "FacelessCorridor-v0"}, "FacelessCorridor-v0"),
    ):
        with pytest.raises(InputError, match=named):
            by_hand(**settings)
    assert list(tmp_path.iterdir()) == []


def test_each_episodes_points_are_on_disk_when_it_ends(by_hand, monkeypatch):
    synced = []
    monkeypatch.setattr(EventWriter, "sync", lambda self: synced.append(self))
    teaching = by_hand()
    steps(teaching, 11, "Digit2")
    assert len(synced) == len(rows(teaching.folder)) == 2


@pytest.fixture
def mlflow(monkeypatch):
    """Return a fake module that records its calls."""
    module = Mock(__file__="mlflow.py")
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def test_metrics_go_to_mlflow_too(by_hand, mlflow):
    teaching = by_hand(tracker="mlflow")
    steps(teaching, 11, "Digit2")
    teaching.close()
    names = [name for name, *_ in mlflow.mock_calls]
    assert names == ["set_experiment", "start_run", "log_params", *["log_metrics"] * 2, "end_run"]
    assert mlflow.log_params.call_args.args[0]["env_name"] == "TimedCorridor-v0"
    for (_, (scalars,), settings), row in zip(mlflow.log_metrics.mock_calls, rows(teaching.folder), strict=True):
        assert settings == {"step": int(row["iteration"])}
        assert scalars["Return"] == float(row["Return"]) == 10 and " " not in "".join(scalars)


def test_an_mlflow_that_cannot_be_reached_is_a_users_mistake(by_hand, mlflow):
    mlflow.start_run.side_effect = ConnectionError("no server\nand much more")
    with pytest.raises(InputError, match="no server") as error:
        by_hand(tracker="mlflow")
    assert "much more" not in str(error.value)


def test_an_mlflow_that_fails_later_does_not_end_the_teaching(by_hand, mlflow, capsys):
    mlflow.log_metrics.side_effect = ConnectionError("no server")
    teaching = by_hand(tracker="mlflow")
    steps(teaching, 11, "Digit2")
    teaching.close()
    assert len(rows(teaching.folder)) == 2 and mlflow.log_metrics.call_count == 1
    assert capsys.readouterr().err.count("no server") == 1


@pytest.mark.parametrize(("stopped", "to"), [(False, "npz"), (True, "npz"), (True, "csv")])
def test_a_persons_demonstrations_are_written(tmp_path, monkeypatch, stopped, to):
    """Of five episodes the first, third and fifth reach the return that is asked for."""

    def person(teaching, check_signals, finished):
        while not finished():
            if stopped and teaching.session.episode == 3:
                raise KeyboardInterrupt
            steps(teaching, 1, "Digit2" if teaching.session.episode % 2 == 0 else "Digit0")

    monkeypatch.setattr(run, "run_page", person)
    config = TeachConfig(env_name="TimedCorridor-v0", mode="demonstrate", port=0, logdir=str(tmp_path / "run"))
    out = tmp_path / f"demos.{to}"
    with pytest.raises(Interrupted, match=out.name) if stopped else nullcontext():
        run.record_human_demos(config, out, n_demos=3, min_return=5, to=to)
    kept = load_trajectories(out)
    assert [t.episode_return for t in kept] == [10] * (2 if stopped else 3)
    assert all((t.source == HUMAN).all() for t in kept)
    assert len(load_trajectories(tmp_path / "run")) == 3 + 2 * (not stopped)


def test_without_an_episode_no_demonstrations_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_page", lambda *args: None)
    config = TeachConfig(env_name="TimedCorridor-v0", mode="demonstrate", port=0, logdir=str(tmp_path / "run"))
    with pytest.raises(InputError):
        run.record_human_demos(config, tmp_path / "demos.npz", n_demos=1)
    assert not (tmp_path / "demos.npz").exists()


@pytest.mark.parametrize("scripted", [False, True])
def test_an_environment_that_fails_keeps_the_labels_and_says_how_to_go_on(by_hand, monkeypatch, scripted):
    teaching = by_hand()
    teaching.scripted = scripted
    monkeypatch.setattr(run, "noted_signals", lambda grace: nullcontext(lambda: None))

    def work(check_signals):
        steps(teaching, 3, "Digit1")
        monkeypatch.setattr(type(teaching.env.unwrapped), "step", lambda self, action: sys.exit(0))
        steps(teaching, 1, "Digit1")

    with ExitStack() as stack, pytest.raises(InputError) as error:
        run.until_stopped(stack, teaching, work)
    for word in ("TimedCorridor-v0, step 4", "SystemExit", f"--resume {teaching.folder}"):
        assert word in str(error.value)
    assert (teaching.folder / "session" / "episode_000000.npz").exists() is not scripted
