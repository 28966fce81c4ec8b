# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Scores of generated videos: the truth scores 1, what is wrong less, processes share the videos."""

import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tiny_config import tiny_model
from tiny_processor import text_config, tiny_processor

from univs_hf.data.moving_shapes import CATEGORIES, MovingShapes, MovingShapesConfig
from univs_hf.training import train
from univs_hf.training.config import EvaluationConfig
from univs_hf.training.evaluation import ShapesEvaluation
from univs_hf.training.shapes_scores import FIGURES, ShapesScores, score_videos

SHAPES = {"height": 48, "width": 48, "num_frames": 9, "min_visible_frames": 4}
VIDEOS = MovingShapes("validation", 2, MovingShapesConfig(**SHAPES))


class Oracle(torch.nn.Module):
    """Stands for a model: answers with the truth of the video that a session shows, moved by `shift` pixels."""

    def __init__(self, shift=0):
        super().__init__()
        self.shift = shift

    def propagate_in_video_iterator(self, session):
        frames = np.stack(session.video)
        (video,) = [video for video in VIDEOS if np.array_equal(video.frames, frames)]
        labels = np.roll(video.labels.astype(np.int32), self.shift, axis=2)
        things = [entity.id for entity in video.things]
        summary = []
        for index, frame in enumerate(labels):
            if session.task == "vss":
                classes = np.array([0, *(entity.category for entity in video.entities)])[frame]
                yield {"frame_idx": index, "segmentation": torch.from_numpy(classes), "segments_info": []}
                continue
            if session.task in ("vis", "refvos"):
                wanted = things if session.task == "vis" else list(session.expressions)
                infos = [self._info(video, number) for number in wanted]
                summary = infos
                masks = np.stack([frame == number for number in wanted])
                yield {"frame_idx": index, "masks": torch.from_numpy(masks), "segments_info": infos}
                continue
            ids = frame
            infos = [self._info(video, number) for number in np.unique(frame).tolist()]
            if session.task == "vos":
                first = session.inputs[0][0][1]
                true = {int(video.labels[0][mask][0]): number for number, mask in first.items()}
                ids = np.vectorize(lambda value, true=true: true.get(value, 0))(frame)
                infos = [{"id": number, "score": 1.0} for number in first]
            summary = [self._info(video, entity.id) for entity in video.entities]
            yield {"frame_idx": index, "segmentation": torch.from_numpy(ids), "segments_info": infos}
        session.summary = lambda: summary

    @staticmethod
    def _info(video, number):
        return {"id": number, "label_id": video.entities[number - 1].category, "score": 0.9, "label": "thing"}


def scores_of(model, tasks=tuple(FIGURES)):
    for scores, _, pictures in score_videos(model, tiny_processor(), VIDEOS, tasks):  # noqa: B007
        assert set(pictures) <= set(tasks)
    return scores.figures()


def test_the_truth_scores_one():
    figures = scores_of(Oracle())
    assert set(figures) == {f"{task}/{name}" for task, names in FIGURES.items() for name in names.values()}
    assert figures == pytest.approx(dict.fromkeys(figures, 1.0))


def test_what_is_wrong_scores_less():
    figures = scores_of(Oracle(shift=12))
    assert all(value < 0.75 for name, value in figures.items() if name != "vss/mVC8"), figures


def test_a_model_and_its_mode():
    model = tiny_model(text_config=text_config())
    model.train()
    model.model.backbone.eval()
    figures = scores_of(model, ("vos", "vss"))
    assert 0 <= figures["vos/J&F"] <= 1 and 0 <= figures["vss/mIoU"] <= 1
    assert model.training and not model.model.backbone.training


def test_tasks():
    with pytest.raises(ValueError, match="`tasks` must be some of"):
        ShapesScores(["vot"])


def test_pictures_and_merging(tmp_path):
    config = EvaluationConfig(every=1, num_videos=2, num_overlays=1, generator=SHAPES)
    evaluation = ShapesEvaluation(config, tmp_path, Accelerator(cpu=True))
    figures = evaluation(Oracle(), tiny_processor(), 7)
    assert figures == pytest.approx(dict.fromkeys(figures, 1.0))
    pictures = sorted((tmp_path / "pictures" / "step-00000007").iterdir())
    assert [path.name for path in pictures] == sorted(f"{task}-00000000.jpg" for task in FIGURES)
    sheet = np.asarray(Image.open(pictures[0]))
    assert sheet.shape[1] > 4 * 300 and sheet.std() > 10
    halves = []
    for video in VIDEOS:
        halves.append(ShapesScores(list(FIGURES)))
        halves[-1].run(Oracle(), tiny_processor(), video)
    halves[0].merge(halves[1])
    assert halves[0].figures() == figures
    assert len(CATEGORIES) == 18


def test_within_a_run(tmp_path):
    from training_runs import run_config

    changes = {
        "evaluation": {"every": 2, "num_videos": 1, "tasks": ["vos"], "generator": SHAPES},
        "schedule": {"max_steps": 3},
        "tracking": {"trackers": ["tensorboard"]},
        "ema": {"enabled": True},
    }
    result = train(run_config(tmp_path, **changes))
    assert set(result.evaluations) == {2, 3} and set(result.evaluations[2]) == {"vos/J&F", "vos/J", "vos/F"}
    assert (tmp_path / "run" / "pictures" / "step-00000002" / "vos-00000000.jpg").is_file()
    assert list((tmp_path / "run" / "logs").rglob("events.out.tfevents.*"))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert "evaluation/vos/J" in log[2]
