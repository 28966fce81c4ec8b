# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Image processor of UniVS: frames to model input, prompt masks to model size, mask logits back to the frame.

Three sizes occur, all (height, width):
    original   the frame as it was given
    resized    after `ResizeShortestEdge` (specification B.1)
    padded     after zeros were added at the bottom and the right, common to a batch

Shapes: B videos, T frames, N masks or queries, K classes, (H, W) original, (Hp, Wp) padded, (h, w) mask logits at
stride 4.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ChannelDimension, SizeDict

from .image_post_processing_univs import ImagePostProcessingMixin
from .mask_resizing_univs import block_elements, padded_size_of, paired_sizes
from .packaged_checkpoints import PackagedCheckpointMixin
from .semantic_voting_univs import vote_for_classes

_CHANNEL_COUNTS = (1, 3, 4)
_ACCEPTED_VIDEOS = (
    "a frame, a list of frames or a (T, H, W, C) / (T, C, H, W) array is one video; a list of those or a 5-"
    "dimensional array is a batch. A frame is a PIL image, or a numpy array or torch tensor of shape (H, W), "
    "(H, W, C) or (C, H, W) with 1, 3 or 4 channels"
)
# PIL modes that hold more than 8 bits per channel: PIL's conversion to RGB would clip them.
_DEEP_PIL_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class UniVSImageProcessorKwargs(TypedDict, total=False):
    """Settings of [`UniVSImageProcessor`], each also an argument of its call."""

    do_resize: bool | None
    size: int | dict[str, int] | SizeDict | None
    square_size: int | None
    size_divisibility: int | None
    do_rescale: bool | None
    rescale_factor: int | float | None
    do_normalize: bool | None
    image_mean: list[float] | tuple[float, ...] | None
    image_std: list[float] | tuple[float, ...] | None
    input_data_format: str | ChannelDimension | None
    return_tensors: str | None


class UniVSProcessedFrame(NamedTuple):
    """One frame of a stream, ready for `encode_frames`.

    Attributes:
        pixel_values: float32 (1, 1, 3, Hp, Wp).
        original_size: (height, width) of the frame as it was given.
        resized_size: (height, width) before padding.
    """

    pixel_values: torch.Tensor
    original_size: tuple[int, int]
    resized_size: tuple[int, int]


def compute_resized_size(
    height: int, width: int, shortest_edge: int, longest_edge: int | None = None
) -> tuple[int, int]:
    """Size after `ResizeShortestEdge`: the short side becomes `shortest_edge`, unless the long side then exceeds
    `longest_edge`, which it becomes instead; sides are rounded half up (specification B.1).

    Args:
        height, width: Size of the frame in pixels.
        shortest_edge: Wanted length of the short side.
        longest_edge: Limit of the long side; None for no limit.

    Returns:
        (height, width) in pixels, at least 1 each.
    """
    scale = shortest_edge / min(height, width)
    # The short side is set, not computed, so that rounding cannot miss it.
    if height < width:
        new_height, new_width = float(shortest_edge), scale * width
    else:
        new_height, new_width = scale * height, float(shortest_edge)
    if longest_edge is not None and max(new_height, new_width) > longest_edge:
        shrink = longest_edge / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(int(new_height + 0.5), 1), max(int(new_width + 0.5), 1)


def split_videos(videos: Any) -> tuple[list[list[Any]], bool]:
    """Splits the accepted forms of input into videos of single frames.

    Args:
        videos: One video or a batch, see [`UniVSImageProcessor`].

    Returns:
        B lists of T frames, and whether a batch was given (False: one video).

    Raises:
        ValueError: If there is no video or no frame.
        TypeError: If something else than frames was given.
    """

    def dimensions(item: Any) -> int | None:
        return item.ndim if isinstance(item, np.ndarray | torch.Tensor) else None

    if isinstance(videos, Iterator):
        videos = list(videos)
    if isinstance(videos, str | bytes):
        raise TypeError(
            f"`videos` must hold decoded frames, got the string {videos!r}. Decode a file with `univs_hf.video_io` "
            "or any other reader."
        )
    if isinstance(videos, PIL.Image.Image) or dimensions(videos) in (2, 3):
        return [[videos]], False
    if dimensions(videos) == 4:
        batch, is_batch = [videos], False
    elif dimensions(videos) == 5:
        batch, is_batch = list(videos), True
    elif isinstance(videos, list | tuple):
        if len(videos) and (isinstance(videos[0], list | tuple | Iterator) or dimensions(videos[0]) == 4):
            batch, is_batch = list(videos), True
        else:
            batch, is_batch = [videos], False
    else:
        given = type(videos).__name__ if dimensions(videos) is None else f"shape {tuple(videos.shape)}"
        raise TypeError(f"`videos`: {_ACCEPTED_VIDEOS}; got {given}.")
    split = []
    for index, video in enumerate(batch):
        if not isinstance(video, list | tuple | Iterator) and dimensions(video) != 4:
            given = type(video).__name__ if dimensions(video) is None else f"shape {tuple(video.shape)}"
            raise TypeError(
                f"Video {index} of the batch must be a list of frames or a 4-dimensional array, got {given}."
            )
        split.append(list(video))
        if not split[-1]:
            raise ValueError(f"`videos` must hold at least one frame per video, but video {index} has none.")
    if not split:
        raise ValueError("`videos` must hold at least one video, got an empty array.")
    return split, is_batch


def nearest_source_index(source: int, target: int) -> np.ndarray:
    """Source pixel that PIL's nearest-neighbour resize takes for each target pixel of one axis: int64 (target,)."""
    line = PIL.Image.fromarray(np.arange(source, dtype=np.int32)[None])
    return np.asarray(line.resize((target, 1), PIL.Image.Resampling.NEAREST))[0].astype(np.int64)


class UniVSImageProcessor(ImagePostProcessingMixin, PackagedCheckpointMixin, PilBackend):
    """Prepares video frames for UniVS and brings its masks back to the frames.

    Frames are resized with PIL's bilinear filter on 8-bit RGB, as the published models were trained and tested,
    normalised in units of 0..255, and padded with zeros at the bottom and the right. torchvision is not needed.

    Accepted input: a frame, a list of frames or a (T, H, W, C) / (T, C, H, W) array is one video; a list of those or
    a 5-dimensional array is a batch. A frame is a PIL image, a numpy array or a torch tensor of shape (H, W),
    (H, W, C) or (C, H, W); grey frames are repeated to RGB and an alpha channel is dropped. If both ends of a
    3-dimensional shape could be channels, numpy arrays are read as (H, W, C) and torch tensors as (C, H, W);
    `input_data_format` decides it otherwise. Videos of a batch may differ in size but not in length.

    Args:
        do_resize: Resize the frames.
        size: `{"shortest_edge": int, "longest_edge": int}`; the second may be absent for no limit.
        square_size: Pad to a square of this side, which also limits the long side. None pads to the next multiple of
            `size_divisibility` of the largest frame of the batch.
        size_divisibility: The padded size is a multiple of it (32, the coarsest stride of the model).
        do_rescale: Multiply a video of float frames by `rescale_factor` if all its values lie in [0, 1]. Float videos
            with a larger value, and all float videos if False, are taken to be in [0, 255] already. Integer frames
            are in [0, 255] always. (A stream is judged frame by frame: set False for floats in [0, 255] there.)
        rescale_factor: 255.
        do_normalize: Subtract `image_mean` and divide by `image_std`.
        image_mean, image_std: RGB, in units of 0..255.
        input_data_format: `"channels_first"` or `"channels_last"` for arrays; None infers it.

    In a call, None stands for the processor's own setting.
    """

    valid_kwargs = UniVSImageProcessorKwargs
    model_input_names = ["pixel_values_videos", "pixel_mask"]

    do_resize = True
    size = {"shortest_edge": 640, "longest_edge": 1333}
    square_size = None
    size_divisibility = 32
    do_rescale = True
    rescale_factor = 255
    do_normalize = True
    image_mean = (123.675, 116.28, 103.53)
    image_std = (58.395, 57.12, 57.375)
    input_data_format = None
    default_to_square = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._validate_preprocess_kwargs(**{name: getattr(self, name) for name in self._valid_kwargs_names})

    def _standardize_kwargs(self, size: Any = None, **kwargs: Any) -> dict[str, Any]:
        if isinstance(size, int):
            size = {"shortest_edge": size}
        if isinstance(size, dict):
            unknown = set(size) - {"shortest_edge", "longest_edge"}
            if unknown or "shortest_edge" not in size:
                raise ValueError(
                    f"`size` must be {{'shortest_edge': int}}, optionally with 'longest_edge', got {size}."
                )
            size = SizeDict(**size)
        for name in ("image_mean", "image_std"):
            if isinstance(kwargs.get(name), list):
                kwargs[name] = tuple(kwargs[name])
        return {"size": size, **kwargs}

    def _validate_preprocess_kwargs(
        self,
        do_resize: bool | None = None,
        size: SizeDict | None = None,
        square_size: int | None = None,
        size_divisibility: int | None = None,
        rescale_factor: float | None = None,
        image_mean: tuple[float, ...] | None = None,
        image_std: tuple[float, ...] | None = None,
        input_data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        edges = {} if size is None else {"shortest_edge": size.shortest_edge, "longest_edge": size.longest_edge}
        for name, value in {**edges, "square_size": square_size, "size_divisibility": size_divisibility}.items():
            if value is None and name in ("longest_edge", "square_size"):
                continue
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive number of pixels, got {value!r}.")
        if square_size is not None and square_size % size_divisibility:
            raise ValueError(
                f"`square_size` must be a multiple of `size_divisibility` ({size_divisibility}), got {square_size}."
            )
        for name, values in (("image_mean", image_mean), ("image_std", image_std)):
            if values is None or len(values) != 3:
                raise ValueError(f"`{name}` must hold 3 values (RGB, in units of 0..255), got {values}.")
        if min(image_std) <= 0:
            raise ValueError(f"`image_std` must be greater than 0, got {image_std}.")
        if rescale_factor is None or rescale_factor <= 0:
            raise ValueError(f"`rescale_factor` must be greater than 0, got {rescale_factor}.")
        formats = [None, *(member.value for member in ChannelDimension)]
        if input_data_format not in formats:
            raise ValueError(f"`input_data_format` must be one of {formats}, got {input_data_format!r}.")

    # --- frames to model input

    def _preprocess_image_like_inputs(self, images: Any, **settings: Any) -> BatchFeature:
        videos, _ = split_videos(images)
        return_tensors = settings.pop("return_tensors", None)
        lengths = {len(video) for video in videos}
        if len(lengths) > 1:
            raise ValueError(
                f"All videos of a batch must have the same number of frames, got {[len(video) for video in videos]}. "
                "Process videos of different length one by one, or clip by clip."
            )
        frames = [self._video_to_uint8(video, index, **settings) for index, video in enumerate(videos)]
        original_sizes = [video[0].shape[:2] for video in frames]
        resized_sizes = [self.get_resized_size(*size, **settings) for size in original_sizes]
        padded_size = self.get_padded_size(resized_sizes, **settings)

        pixel_values = torch.zeros(len(videos), lengths.pop(), 3, *padded_size)
        pixel_mask = torch.zeros(len(videos), *padded_size, dtype=torch.int64)
        for index, (video, (height, width)) in enumerate(zip(frames, resized_sizes, strict=True)):
            pixel_mask[index, :height, :width] = 1
            for frame_index, frame in enumerate(video):
                self._write_frame(pixel_values[index, frame_index, :, :height, :width], frame, **settings)
        data = {
            "pixel_values_videos": pixel_values,
            "pixel_mask": pixel_mask,
            "original_sizes": torch.tensor(original_sizes, dtype=torch.int64),
            "resized_sizes": torch.tensor(resized_sizes, dtype=torch.int64),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def preprocess_frame(self, frame: Any) -> UniVSProcessedFrame:
        """Prepares one frame of a stream with the settings of this processor, without the batch's bookkeeping.

        Args:
            frame: A PIL image, or an array of shape (H, W), (H, W, C) or (C, H, W).

        Returns:
            The frame, normalised and padded, with its sizes.

        Raises:
            ValueError, TypeError: As for a video.
        """
        settings = {name: getattr(self, name) for name in self._valid_kwargs_names}
        (array,) = self._video_to_uint8([frame], 0, **settings)
        original_size = array.shape[:2]
        resized_size = self.get_resized_size(*original_size, **settings)
        pixel_values = torch.zeros(1, 1, 3, *self.get_padded_size([resized_size], **settings))
        self._write_frame(pixel_values[0, 0, :, : resized_size[0], : resized_size[1]], array, **settings)
        return UniVSProcessedFrame(pixel_values, original_size, resized_size)

    def get_resized_size(
        self,
        height: int,
        width: int,
        do_resize: bool | None = None,
        size: SizeDict | None = None,
        square_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[int, int]:
        """(height, width) of a frame after resizing, before padding. Settings default to this processor's."""
        do_resize = self.do_resize if do_resize is None else do_resize
        size = self.size if size is None else size
        square_size = self.square_size if square_size is None else square_size
        if not do_resize:
            return height, width
        limits = [limit for limit in (size.longest_edge, square_size) if limit is not None]
        return compute_resized_size(height, width, size.shortest_edge, min(limits, default=None))

    def get_padded_size(
        self,
        resized_sizes: Iterable[tuple[int, int]],
        square_size: int | None = None,
        size_divisibility: int | None = None,
        **kwargs: Any,
    ) -> tuple[int, int]:
        """(height, width) common to a batch of resized frames. Settings default to this processor's.

        Raises:
            ValueError: If a frame is larger than `square_size`.
        """
        square_size = self.square_size if square_size is None else square_size
        divisor = self.size_divisibility if size_divisibility is None else size_divisibility
        height, width = (max(sides) for sides in zip(*resized_sizes, strict=True))
        if square_size is None:
            return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor
        if max(height, width) > square_size:
            raise ValueError(
                f"A frame of {height}x{width} does not fit into `square_size` {square_size}: set `do_resize` or a "
                "larger square."
            )
        return square_size, square_size

    def _video_to_uint8(
        self,
        video: Sequence[Any],
        index: int,
        do_rescale: bool = True,
        rescale_factor: float = 255,
        input_data_format: str | None = None,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """Frames of one video as uint8 (H, W, 3) arrays of one size."""
        frames = [
            _frame_to_array(frame, f"frame {frame_index} of video {index}", input_data_format)
            for frame_index, frame in enumerate(video)
        ]
        sizes = {frame.shape[:2] for frame in frames}
        if len(sizes) > 1:
            raise ValueError(
                f"All frames of a video must have the same size, but video {index} has frames of (height, width) "
                f"{sorted(sizes)}. Resize them, or cut the video where its size changes."
            )
        floats = [frame for frame in frames if frame.dtype != np.uint8]
        if not floats:
            return frames
        low, high = min(frame.min() for frame in floats), max(frame.max() for frame in floats)
        if low < 0 or high > 255:
            raise ValueError(
                f"Float frames must lie in [0, 1] or in [0, 255], but video {index} has values from {low:g} to "
                f"{high:g}."
            )
        factor = rescale_factor if do_rescale and high <= 1 else 1
        return [
            frame if frame.dtype == np.uint8 else np.rint(frame * factor).clip(0, 255).astype(np.uint8)
            for frame in frames
        ]

    def _write_frame(
        self,
        target: torch.Tensor,
        frame: np.ndarray,
        do_normalize: bool = True,
        image_mean: tuple[float, ...] | None = None,
        image_std: tuple[float, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """Resizes a uint8 (H, W, 3) frame to the size of `target` (3, h, w) and writes it there, normalised."""
        height, width = target.shape[-2:]
        if frame.shape[:2] != (height, width):
            image = PIL.Image.fromarray(frame).resize((width, height), PIL.Image.Resampling.BILINEAR)
            frame = np.array(image)
        if not frame.flags.writeable:
            frame = frame.copy()  # torch warns about arrays that it could not write to
        target.copy_(torch.from_numpy(frame).permute(2, 0, 1))
        if do_normalize:
            target.sub_(torch.tensor(image_mean).view(3, 1, 1)).div_(torch.tensor(image_std).view(3, 1, 1))

    # --- prompt masks to model size

    def resize_masks(
        self, masks: np.ndarray, resized_size: tuple[int, int], padded_size: tuple[int, int]
    ) -> torch.Tensor:
        """Brings object masks to the padded model size: nearest neighbour as PIL does it, then zeros.

        Args:
            masks: bool (N, H, W) in the original size of the frame.
            resized_size: (height, width) of the resized frame.
            padded_size: (height, width) of the padded batch.

        Returns:
            float32 (N, Hp, Wp) of 0 and 1.
        """
        rows = nearest_source_index(masks.shape[-2], resized_size[0])
        columns = nearest_source_index(masks.shape[-1], resized_size[1])
        resized = torch.zeros(len(masks), *padded_size)
        for target, mask in zip(resized, masks, strict=True):
            target[: resized_size[0], : resized_size[1]] = torch.from_numpy(mask[np.ix_(rows, columns)])
        return resized

    # --- masks to the frames

    def resize_mask_logits(
        self,
        mask_logits: torch.Tensor,
        original_size: tuple[int, int],
        resized_size: tuple[int, int],
        padded_size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Brings mask logits of one frame to its original size: bilinear to the padded size, crop to the resized
        size, bilinear to the original size (specification B.1).

        Args:
            mask_logits: (N, h, w), any float dtype.
            original_size, resized_size: (height, width) of this frame.
            padded_size: (height, width) of the model input; by default four times the size of the logits.

        Returns:
            float32 (N, H, W).
        """
        padded_size = padded_size_of(mask_logits, resized_size, padded_size)
        resized = mask_logits.new_empty((len(mask_logits), *original_size), dtype=torch.float32)
        block = max(block_elements(mask_logits) // (2 * math.prod(padded_size)), 1)
        for start in range(0, len(mask_logits), block):
            piece = mask_logits[start : start + block, None].float()
            piece = F.interpolate(piece, size=padded_size, mode="bilinear", align_corners=False)
            piece = piece[..., : resized_size[0], : resized_size[1]]
            if tuple(resized_size) != tuple(original_size):
                piece = F.interpolate(piece, size=tuple(original_size), mode="bilinear", align_corners=False)
            resized[start : start + block] = piece[:, 0]
        return resized

    def post_process_masks(
        self,
        masks_queries_logits: torch.Tensor,
        original_sizes: Any,
        resized_sizes: Any,
        mask_threshold: float = 0.0,
    ) -> list[torch.Tensor]:
        """Binary masks in the original size of each video.

        At no time more than a few full-size masks of one frame exist as floats; the result takes one byte per pixel,
        so give only the queries that are wanted.

        Args:
            masks_queries_logits: (B, N, T, h, w) at stride 4.
            original_sizes, resized_sizes: (B, 2) tensors or lists of (height, width), as the processor returned them.
            mask_threshold: A pixel belongs to the mask if its logit is above it.

        Returns:
            B bool tensors (N, T, H, W), on the device of the logits.

        Raises:
            ValueError: If shapes or numbers of videos do not fit.
        """
        originals, resizeds = paired_sizes(masks_queries_logits, original_sizes, resized_sizes)
        results = []
        for logits, original, resized in zip(masks_queries_logits, originals, resizeds, strict=True):
            masks = logits.new_empty((*logits.shape[:2], *original), dtype=torch.bool)
            for frame in range(logits.shape[1]):
                torch.gt(
                    self.resize_mask_logits(logits[:, frame], original, resized), mask_threshold, out=masks[:, frame]
                )
            results.append(masks)
        return results

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        original_sizes: Any,
        resized_sizes: Any,
        num_queries: int | None = None,
        quality_high_logit: float = 1.0,
        quality_low_logit: float = -1.0,
    ) -> list[torch.Tensor]:
        """Semantic label maps of one clip per video (specification B.3, VSS).

        Each query votes for its classes with score x quality x mask probability, and a pixel takes the class with
        most votes. The quality of a query is #(logit > `quality_high_logit`) / #(logit > `quality_low_logit`) over all
        frames of the clip. Masks go to the padded size bilinearly and from the resized to the original size by
        nearest neighbour, so votes are counted only once per source pixel, in strips of rows.

        Args:
            outputs: Model output with `masks_queries_logits` (B, Q, T, h, w) and `class_queries_logits` (B, Q, K).
            original_sizes, resized_sizes: (B, 2) tensors or lists of (height, width), as the processor returned them.
            num_queries: Use the first `num_queries` queries (the learnable ones); None uses all.
            quality_high_logit, quality_low_logit: Logits that bound a certain and a possible mask.

        Returns:
            B int64 tensors (T, H, W) of class indices from 0; there is no background.

        Raises:
            ValueError: If the model gave no class logits, or shapes or numbers of videos do not fit.
        """
        if outputs.class_queries_logits is None:
            raise ValueError("`outputs.class_queries_logits` must not be None: give the model categories.")
        mask_logits = outputs.masks_queries_logits[:, :num_queries]
        scores = outputs.class_queries_logits[:, :num_queries].float().sigmoid()
        originals, resizeds = paired_sizes(mask_logits, original_sizes, resized_sizes)
        for resized in resizeds:
            padded_size_of(mask_logits, resized)
        return [
            vote_for_classes(*video, quality_high_logit, quality_low_logit)
            for video in zip(mask_logits, scores, originals, resizeds, strict=True)
        ]


def _frame_to_array(frame: Any, name: str, input_data_format: str | None) -> np.ndarray:
    """One frame as (H, W, 3), uint8 or (unscaled) float32."""
    if isinstance(frame, PIL.Image.Image):
        if frame.mode in _DEEP_PIL_MODES:
            raise ValueError(f"{name} has PIL mode {frame.mode!r}; accepted are images of 8 bits per channel.")
        array, input_data_format = np.array(frame.convert("RGB")), "channels_last"
    elif isinstance(frame, torch.Tensor):
        array = frame.detach().cpu()
        # numpy has no bfloat16.
        array = (array.float() if array.is_floating_point() else array).numpy()
        ambiguous_format = "channels_first"
    elif isinstance(frame, np.ndarray):
        array, ambiguous_format = frame, "channels_last"
    else:
        raise TypeError(f"{name} must be a PIL image, a numpy array or a torch tensor, got {type(frame).__name__}.")

    if array.ndim == 2:
        array, input_data_format = array[..., None], "channels_last"
    if array.ndim != 3:
        raise ValueError(f"{name} must have shape (H, W), (H, W, C) or (C, H, W), got {array.shape}.")
    if input_data_format is None:
        candidates = [
            layout
            for layout, axis in (("channels_last", 2), ("channels_first", 0))
            if array.shape[axis] in _CHANNEL_COUNTS
        ]
        input_data_format = candidates[0] if len(candidates) == 1 else ambiguous_format
    given_shape = array.shape
    if input_data_format == "channels_first":
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in _CHANNEL_COUNTS:
        raise ValueError(f"{name} must have 1 (grey), 3 (RGB) or 4 (RGBA) channels, got shape {given_shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name} must have at least one pixel, got shape {given_shape}.")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]

    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise ValueError(f"{name} must be finite, but has {count} NaN or infinite values.")
        return array
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise ValueError(
                f"{name} must lie in [0, 255], got {array.dtype} values from {array.min()} to {array.max()}."
            )
        return np.ascontiguousarray(array.astype(np.uint8))
    raise ValueError(f"{name} must be uint8, another integer type in [0, 255] or float, got {array.dtype}.")
