# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What the metrics have in common as modules of the `evaluate` library."""

from __future__ import annotations

import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from .video_metric import VideoMetric

_EVALUATE_ARGUMENTS = frozenset(inspect.signature(evaluate.EvaluationModule.__init__).parameters) - {"self", "kwargs"}

_INPUTS = """
A video is one example; masks are given as [`{metric}.update`] takes them.

Args of `add`:
    prediction: The prediction for a video.
    reference: Its ground truth.
    video_id (`str` or `int`, *optional*): Its id; by default the videos are numbered in the order in which they come.
{inputs}
Args of `add_batch` and `compute`:
    predictions, references: Lists with an entry per video.
    video_ids: A list of ids.
    The others as in `add`, each a list with an entry per video.

Options of `evaluate.load`: the arguments of [`{metric}`].

Returns of `compute`: what [`{metric}.compute`] returns.
"""


class VideoEvaluation(evaluate.Metric, ABC):
    """An `evaluate` metric that is fed one video at a time.

    A video is measured when it is added. Only what the figures need is written to `evaluate`'s cache, so that masks of
    a whole data set are never held, and the processes of a distributed evaluation (`num_process`, `process_id`,
    `experiment_id`) are pooled exactly.

    A module names its metric in `metric_class`, the arguments of its `update` in `prediction_argument` and
    `reference_argument`, and any others in `input_arguments`.
    """

    prediction_argument = "prediction"
    reference_argument = "ground_truth"
    # Names of further arguments, with what they are.
    input_arguments: dict[str, str] = {}
    citation = ""

    @property
    @abstractmethod
    def metric_class(self) -> type[VideoMetric]:
        """The metric behind the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.options = {name: value for name, value in kwargs.items() if name not in _EVALUATE_ARGUMENTS}
        self._new_metric()
        self._added = 0
        super().__init__(*args, **{name: value for name, value in kwargs.items() if name in _EVALUATE_ARGUMENTS})

    def _info(self) -> evaluate.MetricInfo:
        inputs = "".join(f"    {name}: {text}\n" for name, text in self.input_arguments.items())
        return evaluate.MetricInfo(
            description=inspect.getdoc(self.metric_class),
            citation=self.citation,
            inputs_description=_INPUTS.format(metric=self.metric_class.__name__, inputs=inputs),
            features=datasets.Features({"videos": datasets.Value("large_binary")}),
        )

    def add(
        self, *, prediction: Any = None, reference: Any = None, video_id: str | int | None = None, **inputs: Any
    ) -> None:
        """Measures one video.

        Raises:
            TypeError, ValueError: As the metric's `update`; also if an input is unknown or missing.
        """
        self._check_inputs(inputs)
        if video_id is None:
            # Unlike in any other process, and in the order of the videos also as text.
            video_id = f"{self.process_id:06d}-{self._added:012d}"
        metric = self._new_metric()
        metric.update(video_id, **{self.prediction_argument: prediction, self.reference_argument: reference}, **inputs)
        super().add(videos=pickle.dumps(metric.state_dict()))
        self._added += 1

    def add_batch(
        self,
        *,
        predictions: Sequence[Any] | None = None,
        references: Sequence[Any] | None = None,
        video_ids: Sequence[str | int] | None = None,
        **inputs: Sequence[Any],
    ) -> None:
        """Measures several videos.

        Raises:
            TypeError, ValueError: As the metric's `update`; also if an input is unknown or missing, or the numbers of
                entries differ.
        """
        self._check_inputs(inputs)
        columns = {"predictions": predictions, "references": references, **inputs}
        if video_ids is not None:
            columns["video_ids"] = video_ids
        missing = [name for name, column in columns.items() if column is None]
        if missing:
            raise ValueError(f"{missing} must be lists with an entry per video, got None.")
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All inputs must have as many entries as there are videos, got {lengths}.")
        for i in range(lengths["predictions"]):
            self.add(
                prediction=predictions[i],
                reference=references[i],
                video_id=None if video_ids is None else video_ids[i],
                **{name: column[i] for name, column in inputs.items()},
            )

    def compute(
        self, *, predictions: Sequence[Any] | None = None, references: Sequence[Any] | None = None, **inputs: Any
    ) -> dict[str, Any] | None:
        """Figures over all videos added since the last call; None in processes other than the first.

        With arguments the videos given are added before, as `add_batch` does.

        Raises:
            TypeError, ValueError: As `add_batch`; also if no video was added.
        """
        if predictions is not None or references is not None or inputs:
            self.add_batch(predictions=predictions, references=references, **inputs)
        if self.writer is None:
            raise ValueError("No video was added: call `add` or `add_batch`, or give `predictions` and `references`.")
        self._added = 0
        return super().compute()

    def _compute(self, videos: Sequence[bytes]) -> dict[str, Any]:
        metric = self._new_metric()
        for state in videos:
            video = self._new_metric()
            video.load_state_dict(pickle.loads(state))
            metric.merge(video)
        return metric.compute()

    def _new_metric(self) -> VideoMetric:
        return self.metric_class(**self.options)

    def _check_inputs(self, inputs: dict[str, Any]) -> None:
        """Checks the names of further inputs."""
        known = inspect.signature(self.metric_class.update).parameters
        main = {"self", "video_id", self.prediction_argument, self.reference_argument}
        unknown = sorted(inputs.keys() - (known.keys() - main))
        if unknown:
            raise ValueError(
                f"Unknown inputs {unknown}; beside predictions, references and ids: {[*known.keys() - main]}."
            )
        needed = {name for name, argument in known.items() if argument.default is argument.empty} - main
        if needed - inputs.keys():
            raise ValueError(f"Missing inputs: {sorted(needed - inputs.keys())}.")
