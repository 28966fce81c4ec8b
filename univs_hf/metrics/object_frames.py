# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The objects of a frame, one mask per id, and videos read frame by frame side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np

from .masks import Size, is_rle, name_frame, to_binary, to_labels
from .packed_masks import PixelGrid, pack_padded, pixel_grid
from .region_boundary import RegionMask, f_radius

Frame = np.ndarray | Mapping[int, Any]
VOID = 255


def frame_grid(size: Size) -> PixelGrid:
    """The pixel grid on which J, F and Boundary IoU of a frame are computed."""
    return pixel_grid(*size, f_radius(*size))


class ObjectFrame:
    """The objects of one frame as masks on a pixel grid, each made when it is asked for.

    Args:
        labels: Integer array (height, width) of object ids, 0 being background; or a mapping from id to binary mask
            (array or RLE), which may overlap.
        where: Names the frame in errors.
        size: (height, width) it must have, in pixels.

    Raises:
        TypeError, ValueError: If `labels` is none of these or has another size.
    """

    def __init__(self, labels: Frame, where: str, size: Size | None = None) -> None:
        self.where = where
        self._regions: dict[int, RegionMask] = {}
        if isinstance(labels, Mapping) and not is_rle(labels):
            if size is None and not labels:
                raise ValueError(f"{where} is an empty mapping, which has no size: give a label map.")
            self._padded = None
            self.size = size
            for object_id, mask in labels.items():
                check_object_id(object_id, where)
                array = to_binary(mask, f"{where}, object {object_id}", self.size)
                self.size = array.shape
                self.grid = frame_grid(self.size)
                self._regions[int(object_id)] = RegionMask(self.grid, self.grid.pack(array))
            self.grid = frame_grid(self.size)
            self._largest = max(self._regions, default=0)
        else:
            array = to_labels(labels, where, size)
            self.size = array.shape
            self.grid = frame_grid(self.size)
            self._largest = int(array.max()) if array.size else 0
            if self._largest < 256:
                array = array.astype(np.uint8, copy=False)
            self._padded = self.grid.pad(array)

    def region(self, object_id: int) -> RegionMask:
        """The mask of an object, empty if the frame does not show it."""
        if object_id not in self._regions:
            seen = self._padded is not None and object_id <= self._largest
            bits = pack_padded(self._padded == object_id) if seen else 0
            self._regions[object_id] = RegionMask(self.grid, bits)
        return self._regions[object_id]

    def largest_id(self, void: int | None = None) -> int:
        """Largest id in the frame, `void` left out; 0 if there is none."""
        if self._largest != void:
            return self._largest
        if self._padded is None:
            return max((object_id for object_id in self._regions if object_id != void), default=0)
        return int(self._padded[self._padded != void].max(initial=0))

    def check_ids(self, known: Iterable[int]) -> None:
        """Checks that the frame holds no other ids than those, 0 aside.

        Raises:
            ValueError: If it does.
        """
        known = sorted(known)
        if self._padded is None:
            unknown = sorted(self._regions.keys() - set(known))
        # The areas of all known objects are needed anyway; only if pixels are left over does one look for their ids.
        elif np.count_nonzero(self._padded) == sum(self.region(object_id).area for object_id in known):
            return
        else:
            unknown = np.setdiff1d(self._padded, [0, *known]).tolist()
        if unknown:
            raise ValueError(f"{self.where} holds the object ids {unknown[:6]}; known are {known}.")


def binary_region(mask: Any, where: str, size: Size) -> RegionMask:
    """A binary mask (array or RLE) on the grid of its frame.

    Raises:
        TypeError, ValueError: If it is no binary mask or has another size.
    """
    grid = frame_grid(size)
    return RegionMask(grid, grid.pack(to_binary(mask, where, size)))


def check_object_id(object_id: Any, where: str) -> None:
    """Raises a `ValueError` unless `object_id` is a positive integer."""
    if isinstance(object_id, bool) or not isinstance(object_id, (int, np.integer)) or object_id <= 0:
        raise ValueError(f"{where} must have positive integers as object ids, got {object_id!r}.")


def side_by_side(video_id: str, videos: Mapping[str, Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yields the frames of several videos together; generators are read one frame at a time.

    Args:
        video_id: Names the video in errors.
        videos: Name of the argument -> frames.

    Raises:
        TypeError: If a video is no iterable of frames.
        ValueError: If a video is missing (`None`) or has no frames, or their lengths differ; before the first frame
            where lengths are known.
    """
    first = next(iter(videos))
    for name, frames in videos.items():
        if frames is None:
            raise ValueError(f"{name_frame(name, video_id)} is missing.")
        if isinstance(frames, (str, bytes, Mapping)) or not isinstance(frames, Iterable):
            raise TypeError(f"{name_frame(name, video_id)} must be a sequence or iterable of frames, "
                            f"got {type(frames).__name__}.")  # fmt: skip
    lengths = {name: len(frames) for name, frames in videos.items() if isinstance(frames, Sized)}
    for name, length in lengths.items():
        if first in lengths and length != lengths[first]:
            raise ValueError(f"{name_frame(name, video_id)} has {length} frames, `{first}` has {lengths[first]}.")
    iterators = {name: iter(frames) for name, frames in videos.items()}
    end = object()
    index = 0
    while True:
        frames = {name: next(iterator, end) for name, iterator in iterators.items()}
        ended = [name for name, frame in frames.items() if frame is end]
        if len(ended) == len(frames):
            if not index:
                raise ValueError(f"{name_frame(first, video_id)} has no frames.")
            return
        if ended:
            longer = next(name for name in frames if name not in ended)
            raise ValueError(f"{name_frame(ended[0], video_id)} ends after {index} frames, `{longer}` has more.")
        yield tuple(frames.values())
        index += 1


def require_frame(frame: Any, where: str) -> Any:
    """The frame itself.

    Raises:
        ValueError: If it is missing (`None`).
    """
    if frame is None:
        raise ValueError(f"{where} is missing.")
    return frame
