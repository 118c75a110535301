import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_il.errors import InputError
from rl_il.infrastructure.logger import Logger, new_folder
from rl_il.infrastructure.scalars import return_scalars
from rl_il.infrastructure.video import gif_bytes


def read_events(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def read_rows(folder) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))


def test_tensorboard_finds_every_scalar(tmp_path):
    logger = Logger(tmp_path)
    logger.log_iteration(0, {"Eval_AverageReturn": 1.5, "Training Loss": 0.25, "Train_EnvstepsSoFar": 0})
    logger.log_iteration(3, {"Eval_AverageReturn": -2.5, "Training Loss": 0.125, "Train_EnvstepsSoFar": 1000})
    logger.close()
    events = read_events(tmp_path)
    expected = {
        "Eval_AverageReturn": [(0, 1.5), (3, -2.5)],
        "Train_EnvstepsSoFar": [(0, 0), (3, 1000)],
        "Training_Loss": [(0, 0.25), (3, 0.125)],
    }
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert {tag.replace(" ", "_"): points for tag, points in found.items()} == expected


def test_metrics_are_on_disk_before_the_logger_is_closed(tmp_path):
    logger = Logger(tmp_path)
    for itr in range(3):
        logger.log_iteration(itr, {"Training Loss": 0.5}, to_tensorboard=False)
        assert len(read_rows(tmp_path)) == itr + 1


def test_an_iteration_that_is_not_due_is_in_the_table_only(tmp_path):
    logger = Logger(tmp_path)
    logger.log_iteration(0, {"Training": 1.0})
    logger.log_iteration(1, {"Training": 2.0}, to_tensorboard=False)
    logger.log_iteration(2, {"Training": 3.0})
    logger.close()
    assert [event.step for event in read_events(tmp_path).Scalars("Training")] == [0, 2]
    assert [row["Training"] for row in read_rows(tmp_path)] == ["1.0", "2.0", "3.0"]


def test_tensorboard_finds_the_video(tmp_path):
    frames = np.zeros((3, 20, 30, 3), np.uint8)
    frames[1], frames[2] = 100, 200
    logger = Logger(tmp_path)
    gif = gif_bytes(frames, 10)
    path = logger.log_video("eval_rollouts", 4, gif, frames.shape[1:])
    logger.close()
    assert path == tmp_path / "videos" / "eval_rollouts_itr_4.gif"
    assert path.read_bytes() == gif
    (image,) = read_events(tmp_path).Images("eval_rollouts")
    assert (image.step, image.width, image.height) == (4, 30, 20)
    assert image.encoded_image_string == gif
    assert image.encoded_image_string.startswith(b"GIF8")
    assert Image.open(io.BytesIO(image.encoded_image_string)).n_frames == 3


def test_metrics_have_a_row_an_iteration_and_every_column(tmp_path):
    logger = Logger(tmp_path)
    logger.log_iteration(0, {"a": 1.0, "only at first": 7.0}, to_tensorboard=False)
    logger.log_iteration(1, {"a": 2.0, "new": 0.5}, to_tensorboard=False)
    assert read_rows(tmp_path) == [
        {"iteration": "0", "a": "1.0", "only at first": "7.0", "new": ""},
        {"iteration": "1", "a": "2.0", "only at first": "", "new": "0.5"},
    ]


def test_metrics_keep_every_digit(tmp_path):
    logger = Logger(tmp_path)
    logger.log_iteration(0, {"loss": 1 / 3}, to_tensorboard=False)
    assert float(read_rows(tmp_path)[0]["loss"]) == 1 / 3


def test_summary_writes_null_where_there_is_no_number(tmp_path):
    summary = {"mean": math.nan, "ci": [-math.inf, 1.5], "wall_seconds": {"train": 2.0, "video": np.float64("nan")}}
    Logger(tmp_path).write_summary(summary)
    expected = {"mean": None, "ci": [None, 1.5], "wall_seconds": {"train": 2.0, "video": None}}
    assert json.loads((tmp_path / "summary.json").read_text()) == expected


def test_config_is_written(tmp_path):
    Logger(tmp_path).write_config({"config": {"seed": 1, "ep_len": None}})
    assert json.loads((tmp_path / "config.json").read_text()) == {"config": {"seed": 1, "ep_len": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]  # no temporary file, no event file


def test_return_scalars_by_hand():
    scalars = return_scalars("Eval", np.array([1.0, 3.0, 5.0, 7.0]), np.array([10, 20, 30, 41]))
    assert scalars == {
        "Eval_AverageReturn": 4.0,
        "Eval_StdReturn": math.sqrt(5),  # the population's; a sample's would be 2.58
        "Eval_MaxReturn": 7.0,
        "Eval_MinReturn": 1.0,
        "Eval_AverageEpLen": 25.25,
    }


@pytest.mark.parametrize("numbered", [True, False])
def test_a_new_folder_is_made_with_its_parents(tmp_path, numbered):
    folder = new_folder(tmp_path / "a" / "run", numbered)
    assert folder == tmp_path / "a" / "run"
    assert folder.is_dir()


def test_a_taken_name_gets_a_number(tmp_path):
    made = [new_folder(tmp_path / "run", numbered=True) for _ in range(3)]
    assert [folder.name for folder in made] == ["run", "run_2", "run_3"]
    assert all(folder.is_dir() for folder in made)


def test_an_empty_folder_may_be_used(tmp_path):
    assert new_folder(tmp_path, numbered=False) == tmp_path


def test_an_occupied_folder_is_an_error(tmp_path):
    (tmp_path / "metrics.csv").touch()
    with pytest.raises(InputError, match="must be new or empty"):
        new_folder(tmp_path, numbered=False)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_file_in_the_folders_place_is_an_error(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="must be new or empty"):
        new_folder(tmp_path / "run", numbered=False)
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("numbered", [True, False])
def test_a_file_in_the_way_is_an_error(tmp_path, numbered):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        new_folder(tmp_path / "file" / "run", numbered)
