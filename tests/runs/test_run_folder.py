"""The content of the files of a run folder: every row and point."""

import errno
import io
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import walk
from small_runs import corridor, data_of, points_of, rows_of, run_in, settings_of, stop_after

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.errors import PACKAGE, InputError
from rl_il.infrastructure.counting import Counts
from rl_il.infrastructure.evaluation import Evaluation
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rl_trainer import Block
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.runs.run_folder import RunFolder
from rl_il.runs.tensorboard import EventWriter, read_events


class Idle:
    """A trainer with nothing to save."""

    def __init__(self):
        self.itr, self.policy = 1, self

    def save(self, path):
        path.touch()


def begun(path, config):
    """Return the folder of a run that has begun."""
    folder = RunFolder(path, config)
    folder.begin({"config": {}, "inputs": []})
    return folder


def block(steps, losses, ends=False, itr=0, before=0, trajectories=()):
    losses = np.array(losses, float)
    return Block(itr, steps, ends, True, True, before + steps, Counts(0, 8), losses, trajectories)


def evaluation(itr=0, mean=2.0):
    episodes = EpisodeStatistics.from_lists([mean - 1, mean + 1], [3, 4])
    return Evaluation(itr, 0, {"Eval_AverageReturn": mean}, *episodes)


# Curves and tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    (
        "sizes",
        "points",
    ),  # gradient steps of each block; the points at which means of the losses 0, 1, 2, ... are logged
    [
        ([50], [(50, 24.5)]),
        ([70, 70, 110], [(100, 49.5), (200, 149.5), (250, 224.5)]),
        ([100, 1, 99], [(100, 49.5), (200, 149.5)]),
        ([30, 1000], [(100 * i, 100 * i - 50.5) for i in range(1, 11)] + [(1030, 1014.5)]),
    ],
)
def test_losses_are_logged_as_means_of_hundreds(tmp_path, sizes, points):
    folder = begun(tmp_path, RunConfig(video_log_freq=-1))
    for itr in range(2):
        losses = iter(range(sum(sizes)))
        for i, end in enumerate(np.cumsum(sizes).tolist()):
            part = [next(losses) for _ in range(sizes[i])]
            folder.save(block(end, part, end == sum(sizes), itr, itr * sum(sizes)), None, Idle(), Watch())
    folder.close()
    second = [(sum(sizes) + step, mean) for step, mean in points]
    assert points_of(tmp_path / "steps") == {"Training_Loss": [*points, *second]}


@pytest.mark.parametrize(("n_steps", "mean"), [(1, 0), (4, 1.5), (100, 49.5), (250, 199.5), (1000, 949.5)])
def test_a_rows_loss_is_the_mean_of_the_last_hundred(tmp_path, n_steps, mean):
    row = begun(tmp_path, RunConfig(video_log_freq=-1)).save(
        block(n_steps, range(n_steps), True), evaluation(), Idle(), Watch()
    )
    assert row.scalars["Training Loss"] == mean
    assert float(rows_of(tmp_path)[0]["Training Loss"]) == mean


def test_evaluations_by_gradient_step_and_iterations_by_number(tmp_path):
    folder = begun(tmp_path, RunConfig(video_log_freq=-1, do_dagger=True, n_iter=2))
    folder.log_expert(EpisodeStatistics.from_lists([9.0], [5]))
    watch, trainer = Watch(), Idle()
    trainer.itr = 2
    folder.save(block(5, [1.0] * 5, trajectories=[walk(3), walk(5)]), evaluation(0, 2), trainer, watch)
    folder.save(block(8, [1 / 3] * 3, True), evaluation(0, 3), trainer, watch)
    folder.save(block(4, [0.5] * 4, False, 1, 8, [walk(4, action=2)]), evaluation(1, 4), trainer, watch)
    without_episodes = Evaluation(1, 0, {"Validation Loss": 7.0})
    folder.save(block(8, [0.25] * 4, True, 1, 8), without_episodes, trainer, watch)
    folder.close()
    rows = rows_of(tmp_path)
    places = [(row["iteration"], row["gradient_steps"]) for row in rows]
    assert places == [("0", "5"), ("0", "8"), ("1", "12"), ("1", "16")]
    assert [row["Eval_AverageReturn"] for row in rows] == ["2", "3", "4", ""]
    assert [row["Validation Loss"] for row in rows] == ["", "", "", "7.0"]
    assert float(rows[1]["Training Loss"]) == np.mean([1.0] * 5 + [1 / 3] * 3)  # every digit
    assert [row["Train_AverageReturn"] for row in rows] == ["4.0", "4.0", "8.0", "8.0"]
    assert {row["Initial_DataCollection_AverageReturn"] for row in rows} == {"4.0"}
    steps, iterations = points_of(tmp_path / "steps"), points_of(tmp_path)
    assert steps["Eval_AverageReturn"] == [(5, 2), (8, 3), (12, 4)]
    assert {(tag, *points) for tag, points in iterations.items() if tag.startswith("Eval")} == {
        ("Eval_AverageReturn", (0, 3))  # an iteration's point is that of its end; the second iteration was not due
    }
    episodes = [tuple(row.values()) for row in rows_of(tmp_path, "episodes.csv")]
    first = [("expert", "0", "0", "9.0", "5"), ("learner", "0", "5", "1.0", "3"), ("learner", "0", "5", "3.0", "4")]
    assert (len(episodes), episodes[:3]) == (7, first)


@pytest.mark.parametrize(
    "trajectories",
    [[walk(3, rewards=np.full(3, np.nan))], [walk(3), walk(3, terminated=False)]],
    ids=["no rewards", "no end"],
)
def test_demonstrations_of_unknown_return_have_no_scalar(tmp_path, trajectories):
    folder = begun(tmp_path, RunConfig(video_log_freq=-1))
    row = folder.save(block(1, [1.0], True, trajectories=trajectories), evaluation(), Idle(), Watch())
    assert not {name for name in row.scalars if name.startswith(("Train_Av", "Train_St", "Train_M", "Initial"))}


def test_an_event_writer_drops_what_is_written_again(tmp_path):
    for start in (0, 2, 1):
        writer = EventWriter(tmp_path / "steps")
        if start:
            writer.purge(start)
        for step in range(start, 4):
            writer.scalars(step, {"a b": 10.0 * start + step})
            assert len(list((tmp_path / "steps").iterdir())) == {0: 1, 2: 2, 1: 3}[start]  # none is overwritten
        writer.close()
    assert points_of(tmp_path / "steps") == {"a_b": [(0, 0), (1, 11), (2, 12), (3, 13)]}


def test_tensorboard_shows_the_settings_next_to_the_last_scalars(tmp_path):
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    runs = {size: run_in(tmp_path / f"{size}", corridor(tmp_path / "files", size=size)) for size in (8, 16)}
    events = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    events.Reload()
    provider = MultiplexerDataProvider(events, str(tmp_path))
    context = backend_context.Context(SimpleNamespace(data_provider=provider, sampling_hints={}))
    request = api_pb2.ListSessionGroupsRequest(slice_size=10, allowed_statuses=[1], include_metrics=True)
    groups = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    by_size = {group.hparams["size"].number_value: group for group in groups}
    assert (len(groups), by_size.keys()) == (2, runs.keys())
    for size, group in by_size.items():
        assert group.hparams["rule"].string_value == "dagger"
        assert group.hparams["do_dagger"].bool_value is True
        assert not {"logdir", "ep_len"} & set(group.hparams)
        shown = {(value.name.group, value.name.tag): value for value in group.metric_values}
        assert shown["", "Eval_AverageReturn"].training_step == 2
        assert shown["", "Eval_AverageReturn"].value == pytest.approx(runs[size].results[-1].returns.mean())


def test_a_run_that_is_stopped_has_no_settings_in_tensorboard_yet(tmp_path, monkeypatch):
    stop_after(monkeypatch, tmp_path / "run", corridor(tmp_path / "files"), 2)
    assert settings_of(tmp_path / "run") == []


def test_a_cut_event_file_is_read_and_a_damaged_one_refused(tmp_path):
    writer = EventWriter(tmp_path)
    for step in range(3):
        writer.scalars(step, {"a": 1.0})
    (path,) = tmp_path.iterdir()  # everything is on disk before it is closed
    whole = path.read_bytes()
    assert len(list(read_events(path))) == 4
    path.write_bytes(whole[:-1])
    assert len(list(read_events(path, may_be_cut=True))) == 3
    with pytest.raises(InputError, match=path.name):
        list(read_events(path))
    path.write_bytes(whole[:9] + b"x" + whole[10:])
    with pytest.raises(InputError, match=path.name):
        list(read_events(path))


@pytest.mark.parametrize("lost", [0, 5, 20])
def test_zeros_at_the_end_of_an_event_file_are_an_incomplete_record(tmp_path, lost):
    """A power failure leaves them, since the file's size is on disk before its content."""
    writer = EventWriter(tmp_path)
    for step in range(3):
        writer.scalars(step, {"a": 1.0})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - lost] + bytes(lost or 40))
    assert len(list(read_events(path, may_be_cut=True))) == (3 if lost else 4)
    with pytest.raises(InputError, match=path.name):
        list(read_events(path))


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_one_sentence_also_when_the_event_file_is_closed(tmp_path, monkeypatch, call):
    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def fsync(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = EventWriter(tmp_path)
    writer.scalars(0, {"a": 1.0})
    if call == "write":
        writer._file.close()
        (path,) = tmp_path.iterdir()
        writer._file = io.BufferedWriter(Full(path, "ab"))
    else:
        monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match=f"{tmp_path.name}.*No space left"):
        if call == "write":
            writer.scalars(1, {"a": 1.0})
        writer.sync()
    writer.close()  # nothing is left to be written


# Evaluations within an iteration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "frequency", "steps"),
    [
        (None, 1, [20, 40, 60]),
        ("8", 1, [8, 16, 20, 28, 36, 40, 48, 56, 60]),
        ("8", 2, [8, 16, 20, 40, 48, 56, 60]),  # the second iteration is not due
        ("8", -1, [20, 40, 48, 56, 60]),
    ],
)
def test_a_row_for_each_evaluation_and_each_iteration(tmp_path, interval, frequency, steps):
    config = corridor(tmp_path / "files", eval_interval=interval, scalar_log_freq=frequency, eval_episodes=5)
    rows = run_in(tmp_path / "run", config).results
    assert [row.gradient_steps for row in rows] == steps
    assert [row["gradient_steps"] for row in rows_of(tmp_path / "run")] == list(map(str, steps))
    due = {1: [0, 1, 2], 2: [0, 2], -1: [2]}[frequency]
    for row in rows:
        assert len(row.returns) == (5 if row.itr in due else 0)
    for itr in due:  # the corridor's length follows from the seed
        assert len({tuple(row.lengths) for row in rows if row.itr == itr}) == 1
    assert [step for step, _ in points_of(tmp_path / "run")["Eval_AverageReturn"]] == due
    evaluated = [row.gradient_steps for row in rows if len(row.returns)]
    assert [step for step, _ in points_of(tmp_path / "run/steps")["Eval_AverageReturn"]] == evaluated


# Data of each round --------------------------------------------------------------------------------------


def test_the_page_about_run_folders_names_all_files(tmp_path):
    folder = run_in(tmp_path / "run", corridor(tmp_path / "files", video_log_freq=1)).folder
    page = (PACKAGE / "runs/README.md").read_text()
    names = {re.split(r"\d|\.out", path.name)[0] for path in folder.iterdir()}
    assert {"config.json", "policy_itr_", "events"} < names
    assert [name for name in names if f"`{name}" not in page] == []


def test_the_data_of_each_round_are_kept_as_they_were_used(tmp_path, monkeypatch):
    added = []

    def add(self, trajectories, original=ReplayBuffer.add):
        added.append(list(trajectories))
        return original(self, trajectories)

    monkeypatch.setattr(ReplayBuffer, "add", add)
    result = run_in(tmp_path / "run", corridor(tmp_path / "files", beta_decay=0.5))
    for itr in (1, 2):
        read = load_trajectories(result.folder / f"data/itr_{itr}.npz")
        for one, other in zip(read, added[itr], strict=True):
            for name in ("obs", "acs", "labels", "rewards", "source", "labelled_steps"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert (one.terminated, one.truncated) == (other.terminated, other.truncated)
            np.testing.assert_array_equal(one.labels, np.where(one.obs[:-1, 0] < 2, 0, 2))
    assert sorted(data_of(result.folder)) == ["itr_1.npz", "itr_2.npz"]


def test_a_run_that_keeps_no_data_leaves_none(tmp_path):
    result = run_in(tmp_path / "run", corridor(tmp_path / "files"), keep_data=False)
    assert result.summary["expert_labels"] > 8
    assert not (result.folder / "data").exists()
