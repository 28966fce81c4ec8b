# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Video semantic segmentation (VSPW): mIoU, fwIoU, accuracies, and video consistency mVC."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .frame_pairs import label_runs, pair_frames
from .masks import is_rle, name_frame, to_labels
from .summed_metric import SummedMetric
from .video_metric import exact_sum

VOID = 255
Frame = np.ndarray | Mapping[int, Any]


class VSSMetric(SummedMetric):
    """mIoU, fwIoU, Acc, Acc_class and mVC as VSPW's evaluation scripts compute them.

    All pixels of all frames of all videos go into one confusion matrix; pixels whose ground truth is "others" or void
    are left out. IoU and recall are averaged over the classes that occur in the ground truth.

    mVC_k (video consistency, VSPW, CVPR 2021) looks at windows of k consecutive frames: of the pixels whose ground
    truth is the same in all of them, the share whose prediction is also the same in all of them (right or not). Void
    counts as a class there. The mean is over all windows of all videos; windows without such pixels are left out.

    By default the figures are those of the scripts that UniVS reports with. They differ from the definition in two
    ways, each with an option for the sane value:

    - A predicted 255 ("no class") is counted as class `255 % C` for ground truth class `g + 255 // C` (C classes; with
      VSPW's 124: class 7, g + 2), because the scripts add up `C * g + 255`. `void_prediction="miss"` counts it as a
      miss of class g and nothing else.
    - The last window of each video is left out: T - k of T - k + 1, and none if T = k. `all_windows=True` takes all.

    Memory: the sums of all videos, and of the frames of a video only the last one, whatever iterable is given.

    Args:
        num_classes (`int`, defaults to 124): C, at most 254.
        windows (sequence of `int`, defaults to `(8, 16)`): The k of mVC.
        void_prediction (`str`, defaults to `"script"`): `"script"` or `"miss"`, see above.
        all_windows (`bool`, defaults to `False`): See above.
        raw_ids (`bool`, defaults to `False`): Tell "others" (0) from void (255) in mVC, as VSPW_baseline's script
            does; UniVS' script makes both void first. Only with `reduce_labels`.
        reduce_labels (`bool`, defaults to `True`): Ground truth holds VSPW's raw ids: 0 "others", 1..C the classes,
            255 void. With `False` it holds 0..C-1 and 255.

    Raises:
        TypeError, ValueError: If an argument is none of these.

    Source: VSPW_baseline `utils.py`, `VC_perclip.py`; UniVS `eval_miou_vss.py`, `eval_vc_perclip_vss.py`.
    """

    def __init__(
        self,
        num_classes: int = 124,
        windows: Sequence[int] = (8, 16),
        *,
        void_prediction: str = "script",
        all_windows: bool = False,
        raw_ids: bool = False,
        reduce_labels: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(num_classes, int) or not 1 <= num_classes <= 254:
            raise ValueError(f"`num_classes` must be an int from 1 to 254, got {num_classes!r}.")
        if void_prediction not in ("script", "miss"):
            raise ValueError(f"`void_prediction` must be 'script' or 'miss', got {void_prediction!r}.")
        if raw_ids and not reduce_labels:
            raise ValueError("`raw_ids` needs `reduce_labels`: without it the ground truth has no id for 'others'.")
        self.num_classes = num_classes
        self.windows = check_windows(windows)
        self.void_prediction = void_prediction
        self.all_windows = bool(all_windows)
        self.raw_ids = bool(raw_ids)
        self.reduce_labels = bool(reduce_labels)

    def settings(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            "windows": self.windows,
            "void_prediction": self.void_prediction,
            "all_windows": self.all_windows,
            "raw_ids": self.raw_ids,
            "reduce_labels": self.reduce_labels,
        }

    def update(self, video_id: str, prediction: Iterable[Frame], ground_truth: Iterable[Frame]) -> None:
        """Takes in one video.

        Args:
            video_id (`str`): Its id.
            prediction (iterable of frames): An array (T, H, W), or anything that yields T frames, such as a generator
                that reads them: integer arrays (H, W) of 0..C-1 and 255, or mappings from class to mask or RLE (the
                rest is 255).
            ground_truth (iterable of frames): The same with raw ids, see `reduce_labels` (in mappings the rest is 0,
                or 255 without `reduce_labels`).

        Raises:
            TypeError: If a frame is missing or neither integer array nor mapping.
            ValueError: If numbers or sizes of frames differ, a value is outside the label set, the video was given
                before, or a prediction of 255 lies on a class for which the scripts have no entry. The message names
                video and frame; the metric stays as it was.
        """
        video_id = self._new_video(video_id)
        counts = np.zeros((self.num_classes + 1) ** 2, dtype=np.int64)
        consistency = ConsistencyCounter(self.windows)
        true_codes, predicted_codes = self._codes()
        size = None
        for frame, (predicted, true) in enumerate(pair_frames(video_id, prediction, ground_truth)):
            where = [name_frame(name, video_id, frame) for name in ("prediction", "ground_truth")]
            true = _to_classes(true, where[1], size, 0 if self.reduce_labels else VOID)
            size = true.shape
            predicted = _to_classes(predicted, where[0], size, VOID)
            found_predicted, found_true, lengths = label_runs(predicted, true)
            self._check_labels(found_predicted, found_true, where)
            np.add.at(counts, true_codes[found_true] + predicted_codes[found_predicted], lengths)
            if self.reduce_labels and not self.raw_ids:
                if frame == 0:
                    merged, valid = np.empty(size, dtype=np.uint8), np.empty(size, dtype=bool)
                np.not_equal(true, VOID, out=valid)
                true = np.multiply(true, valid.view(np.uint8), out=merged)
            consistency.add(predicted, true)
        counts = counts.reshape(self.num_classes + 1, self.num_classes + 1)
        # The last row is what the ground truth leaves out.
        sums: dict[Any, Any] = {"confusion": counts[:-1]}
        for window in self.windows:
            values = consistency.values(window, self.all_windows)
            values = values[~np.isnan(values)]
            sums["consistency", window] = exact_sum(values)
            sums["num_windows", window] = len(values)
        self._add(video_id, sums)

    def compute(self) -> dict[str, float]:
        """Figures over all videos so far: `mIoU`, `fwIoU`, `Acc`, `Acc_class`, and `mVC{k}` for each window.

        A figure without anything to average is NaN.
        """
        confusion = self.confusion_matrix()
        true = confusion.sum(axis=1)
        occurs = true > 0
        figures = dict.fromkeys(("mIoU", "fwIoU", "Acc", "Acc_class"), float("nan"))
        if occurs.any():
            right, true, iou = np.diagonal(confusion)[occurs], true[occurs], self.class_iou()[occurs]
            figures = {
                "mIoU": float(np.mean(iou)),
                "fwIoU": float(np.sum(true / true.sum() * iou)),
                "Acc": float(right.sum() / true.sum()),
                "Acc_class": float(np.mean(right / true)),
            }
        for window in self.windows:
            count = self._sums.get(("num_windows", window), 0)
            figures[f"mVC{window}"] = float(self._sums["consistency", window] / count) if count else float("nan")
        return figures

    def confusion_matrix(self) -> np.ndarray:
        """Pixels by ground truth class (row) and predicted class (column), int64.

        Shape (C, C) with `void_prediction="script"`; (C, C + 1) with `"miss"`, the last column for a predicted 255.
        """
        counts = self._sums.get("confusion", np.zeros((self.num_classes, self.num_classes + 1), dtype=np.int64))
        if self.void_prediction == "miss":
            return counts.copy()
        confusion = counts[:, :-1].copy()
        row, column = divmod(VOID, self.num_classes)
        # Rows beyond the last are empty: `update` refuses them.
        confusion[row:, column] += counts[: max(self.num_classes - row, 0), -1]
        return confusion

    def class_iou(self) -> np.ndarray:
        """IoU per class, float64 (C,); NaN for a class that the ground truth does not hold."""
        confusion = self.confusion_matrix()
        true, right = confusion.sum(axis=1), np.diagonal(confusion)
        union = true + confusion.sum(axis=0)[: self.num_classes] - right
        return np.divide(right, union, out=np.full(self.num_classes, np.nan), where=true > 0)

    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """For each label of ground truth and prediction its part of a code row * (C + 1) + column, int64 (256,).

        Rows are classes of the ground truth, columns those of the prediction; row and column C are all other labels.
        """
        classes = np.arange(self.num_classes)
        true, predicted = (np.full(256, self.num_classes, dtype=np.int64) for _ in range(2))
        true[classes + int(self.reduce_labels)] = classes
        predicted[classes] = classes
        return true * (self.num_classes + 1), predicted

    def _check_labels(self, predicted: np.ndarray, true: np.ndarray, where: list[str]) -> None:
        """Raises if the labels of the runs of a frame hold one that does not exist, or that the script fails on."""
        first = int(self.reduce_labels)
        for name, labels, lowest in ((where[1], true, first), (where[0], predicted, 0)):
            end = lowest + self.num_classes
            wrong = (labels >= end) & (labels != VOID)
            if wrong.any():
                others = "0 ('others'), " if lowest else ""
                found = np.unique(labels[wrong]).tolist()
                raise ValueError(f"{name} must hold {others}classes {lowest}..{end - 1} and 255, got {found[:6]}.")
        if self.void_prediction == "script":
            row, column = divmod(VOID, self.num_classes)
            end = max(self.num_classes - row, 0)
            if ((predicted == VOID) & (true >= first + end) & (true != VOID)).any():
                raise ValueError(
                    f"{where[0]} is 255 where the ground truth is class {end} (counted from 0) or above, for which "
                    f"VSPW's script fails (it counts class {column} of ground truth class g + {row}): choose "
                    f'`void_prediction="miss"`.'
                )


class ConsistencyCounter:
    """Counts, frame by frame, the pixels that stay the same over windows of frames.

    Args:
        windows: Lengths k of the windows, in frames.
    """

    def __init__(self, windows: Sequence[int]) -> None:
        self.windows = tuple(windows)
        # For each pixel the number of frames, up to now, over which it did not change; it saturates.
        self._limit = max(self.windows, default=1)
        self._dtype = np.uint8 if self._limit < 255 else np.uint16 if self._limit < 65535 else np.int64
        self._last: list[np.ndarray] = []
        # Memory that is taken anew for every frame costs more than what is computed there.
        self._scratch: list[np.ndarray] = []
        # Of the ground truth, and of both together.
        self._runs: list[np.ndarray] = []
        # Of each window of frames the pixels of both together and of the ground truth, 16 bytes a frame.
        self._counts = {window: array("q") for window in self.windows}
        self._frames = 0

    def add(self, prediction: np.ndarray, ground_truth: np.ndarray) -> None:
        """Takes in the next frame: label maps (H, W)."""
        self._frames += 1
        frame = [prediction, ground_truth]
        if self._frames == 1:
            self._runs = [np.ones(ground_truth.shape, dtype=self._dtype) for _ in range(2)]
            self._scratch = [np.empty(ground_truth.shape, dtype=bool) for _ in range(3)]
            self._last = [labels.copy() for labels in frame]
        same_true, same_both, flags = self._scratch
        if self._frames > 1:
            np.equal(self._last[1], ground_truth, out=same_true)
            np.equal(self._last[0], prediction, out=same_both)
            same_both &= same_true
            for runs, same in zip(self._runs, (same_true, same_both), strict=True):
                # Counts stop above the longest window. As bytes the flags need no conversion.
                runs -= np.greater(runs, self._limit, out=flags).view(np.uint8)
                runs *= same.view(np.uint8)
                runs += 1
            # A copy: a reader may fill the same array again.
            for i, labels in enumerate(frame):
                if labels.dtype == self._last[i].dtype:
                    np.copyto(self._last[i], labels)
                else:
                    self._last[i] = labels.copy()
        for window in self.windows:
            if window <= self._frames:
                true, both = (np.count_nonzero(np.greater_equal(runs, window, out=flags)) for runs in self._runs)
                self._counts[window].extend((both, true))

    def values(self, window: int, all_windows: bool = False) -> np.ndarray:
        """Share of consistent pixels, float64, per window in order; NaN where the ground truth is constant nowhere.

        The window that ends with the last frame is left out unless `all_windows`.
        """
        counts = np.array(self._counts[window], dtype=np.int64).reshape(-1, 2)
        if not all_windows:
            counts = counts[:-1]
        with np.errstate(invalid="ignore"):
            return counts[:, 0] / counts[:, 1]


def video_consistency(
    prediction: Iterable[np.ndarray], ground_truth: Iterable[np.ndarray], window: int, *, all_windows: bool = False
) -> np.ndarray:
    """Video consistency VC of each window of one video.

    Args:
        prediction, ground_truth: Arrays (T, H, W) of labels, or iterables of (H, W); ids are compared as they are.
        window: Frames k per window.
        all_windows: Take the window that ends with the last frame, too; VSPW's scripts leave it out (T - k windows).

    Returns:
        `np.ndarray` of shape (T - k,), or (T - k + 1,) with `all_windows` (but none below 0), float64: NaN where no
        pixel of the ground truth is constant.

    Raises:
        TypeError, ValueError: If frames or sizes do not fit together.
    """
    (window,) = check_windows([window])
    counter = ConsistencyCounter([window])
    size = None
    for frame, (predicted, true) in enumerate(pair_frames("-", prediction, ground_truth)):
        true = to_labels(true, f"`ground_truth`, frame {frame}", size)
        size = true.shape
        counter.add(to_labels(predicted, f"`prediction`, frame {frame}", size), true)
    return counter.values(window, all_windows)


def check_windows(windows: Sequence[int]) -> tuple[int, ...]:
    """Lengths of windows as a tuple.

    Raises:
        ValueError: If one is no positive integer, or given twice.
    """
    checked = tuple(windows)
    if any(isinstance(window, bool) or not isinstance(window, int) or window < 1 for window in checked):
        raise ValueError(f"`windows` must hold positive numbers of frames, got {windows!r}.")
    if len(set(checked)) != len(checked):
        raise ValueError(f"`windows` must differ from each other, got {windows!r}.")
    return checked


def _to_classes(frame: Frame, where: str, size: tuple[int, int] | None, rest: int) -> np.ndarray:
    """A frame as uint8 label map; `rest` is what a mapping leaves out."""
    if isinstance(frame, Mapping) and not is_rle(frame):
        # Labels of `to_labels` are positive, classes begin at 0.
        labels = to_labels({_above(label, where): mask for label, mask in frame.items()}, where, size)
        labels = np.where(labels == 0, rest, labels - 1)
    else:
        labels = to_labels(frame, where, size)
    if labels.dtype != np.uint8:
        if labels.size and labels.max() > 255:
            raise ValueError(f"{where} must hold labels up to 255, got {labels.max()}.")
        labels = labels.astype(np.uint8)
    return labels


def _above(label: Any, where: str) -> int:
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label < 0:
        raise TypeError(f"{where} must map classes (integers from 0) to masks, got {label!r}.")
    return int(label) + 1
