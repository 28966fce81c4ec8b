# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Rows from arrays or encoded pictures, and Parquet files of rows."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq

from ..rle import encode_label_map, encode_mask
from .row_validation import validate_row
from .schema import ARROW_SCHEMA, Entity, Expression, RowError, rows_to_table

# A row group is read as a whole when rows are streamed (data specification, section 1.3).
_ROW_GROUP_BYTES = 64 * 2**20
_ROW_GROUP_ROWS = 16
_PICTURE_COLUMNS = ("frames", "video")

Picture = bytes | np.ndarray | PIL.Image.Image
FrameMask = tuple[int, int, np.ndarray | bytes | str]


def build_row(
    *,
    key: str,
    dataset: str,
    frames: Sequence[Picture] | np.ndarray = (),
    tasks: Sequence[str] = (),
    entities: Sequence[Entity] = (),
    masks: np.ndarray | None = None,
    label_maps: np.ndarray | None = None,
    frame_masks: Iterable[FrameMask] | None = None,
    expressions: Sequence[Expression] = (),
    category_set: str = "",
    category_sizes: Mapping[str, int] | None = None,
    fps: float = 0.0,
    time_index: Sequence[int] | None = None,
    video: bytes | None = None,
    size: tuple[int, int] | None = None,
    num_frames: int | None = None,
    neg_categories: Sequence[int] | None = None,
    not_exhaustive_categories: Sequence[int] | None = None,
    exhaustive: bool = False,
    meta: Mapping[str, Any] | None = None,
    image_format: str = "JPEG",
    quality: int = 90,
) -> dict[str, Any]:
    """Makes one row of the schema and checks it.

    Masks are given in one of three ways; those without a pixel are left out.

    Args:
        key: Unique name, `dataset/split/video#chunk`.
        dataset: Id of the dataset.
        frames: One picture per frame: encoded bytes, which are kept as they are, or uint8 arrays (H, W, 3) and PIL
            images, which are encoded.
        tasks: Those of `"detection"`, `"sot"` and `"grounding"` that the row can supervise.
        entities: The N objects and stuff segments.
        masks: bool (N, T, H, W).
        label_maps: Integers (T, H, W), `n + 1` where entity `n` is, 0 elsewhere.
        frame_masks: `(frame, entity, mask)` in any order; a mask is bool (H, W) or its COCO run-length string.
        expressions: Sentences that point to entities.
        category_set: What the categories of the entities refer to.
        category_sizes: Number of categories of sets that are not label sets of the package.
        fps: Frames per second of the original, 0 if not known.
        time_index: Number of each frame in the original video; by default 0, 1, ...
        video: An encoded video in place of `frames`; needs `size` and `num_frames`.
        size: (height, width) in pixels; by default that of the first frame.
        num_frames: By default the number of `frames`.
        neg_categories, not_exhaustive_categories: LVIS's federated information.
        exhaustive: Whether all instances of the category set are labelled.
        meta: Anything else, in JSON.
        image_format: What arrays and images are encoded as, `"JPEG"` or `"PNG"`.
        quality: Of JPEG, 1 to 95.

    Returns:
        A dictionary with the columns of `schema.FEATURES`.

    Raises:
        RowError: If something does not fit; names the row and the field.
    """
    encoded = [_encode_picture(frame, key, index, image_format, quality) for index, frame in enumerate(frames)]
    if size is None:
        if not encoded:
            raise RowError(key, "height", "must be given as `size` where there are no `frames`.")
        size = _picture_size(encoded[0], key)
    count = len(encoded) if num_frames is None else num_frames
    ways = {"masks": masks, "label_maps": label_maps, "frame_masks": frame_masks}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise RowError(key, "mask_rle", f"give masks in one way, not as {' and '.join(given)}.")
    if masks is not None:
        table = _from_masks(np.asarray(masks), key, (len(entities), count, *size))
    elif label_maps is not None:
        table = _from_label_maps(np.asarray(label_maps), key, (count, *size), len(entities))
    else:
        table = _from_frame_masks(frame_masks or (), key, count, size)
    table = [
        (frame, entity, rle) for frame, entity, rle in sorted(table, key=lambda item: item[:2]) if rle is not None
    ]
    row = {
        "key": key,
        "dataset": dataset,
        "tasks": list(tasks),
        "category_set": category_set,
        "height": size[0],
        "width": size[1],
        "num_frames": count,
        "fps": float(fps),
        "time_index": [int(number) for number in (range(count) if time_index is None else time_index)],
        "frames": encoded,
        "video": video,
        "entities": [asdict(entity) for entity in entities],
        "mask_offsets": np.searchsorted([frame for frame, _, _ in table], np.arange(count + 1)).tolist(),
        "mask_entity": [entity for _, entity, _ in table],
        "mask_rle": [rle for _, _, rle in table],
        "expressions": [asdict(expression) for expression in expressions],
        "neg_categories": None if neg_categories is None else [int(index) for index in neg_categories],
        "not_exhaustive_categories": (
            None if not_exhaustive_categories is None else [int(index) for index in not_exhaustive_categories]
        ),
        "exhaustive": bool(exhaustive),
        "meta": "" if meta is None else json.dumps(meta),
    }
    validate_row(row, category_sizes)
    return row


def write_parquet(rows: Iterable[Mapping[str, Any]], path: str | Path) -> int:
    """Writes rows to one Parquet file, holding one row group in memory; the file appears when it is complete.

    Pictures are stored as they are, everything else is compressed with zstd. Row groups have at most 16 rows and
    about 64 MB.

    Args:
        rows: Rows as dictionaries, e.g. from [`build_row`].
        path: File to write.

    Returns:
        The number of rows.

    Raises:
        RowError: If a row does not fit the schema.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    compression = {name: "NONE" if name.split(".")[0] in _PICTURE_COLUMNS else "ZSTD" for name in _leaf_columns()}
    written = 0
    try:
        with pq.ParquetWriter(
            temporary, ARROW_SCHEMA, compression=compression, use_dictionary=False, write_statistics=False
        ) as writer:
            group: list[Mapping[str, Any]] = []
            group_bytes = 0
            for row in rows:
                row_bytes = sum(map(len, row["frames"])) + len(row["video"] or b"") + sum(map(len, row["mask_rle"]))
                if group and (len(group) == _ROW_GROUP_ROWS or group_bytes + row_bytes > _ROW_GROUP_BYTES):
                    writer.write_table(rows_to_table(group).combine_chunks())
                    written, group, group_bytes = written + len(group), [], 0
                group.append(row)
                group_bytes += row_bytes
            if group:
                writer.write_table(rows_to_table(group).combine_chunks())
                written += len(group)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return written


def _leaf_columns() -> list[str]:
    """Parquet's own names of the columns, such as `frames.list.element`."""
    sink = io.BytesIO()
    pq.write_metadata(ARROW_SCHEMA, sink)
    sink.seek(0)
    schema = pq.read_metadata(sink).schema
    return [schema.column(index).path for index in range(len(schema))]


def _encode_picture(frame: Picture, key: str, index: int, image_format: str, quality: int) -> bytes:
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return bytes(frame)
    if image_format not in ("JPEG", "PNG"):
        raise RowError(key, "frames", f"`image_format` must be 'JPEG' or 'PNG', got {image_format!r}.")
    if isinstance(frame, np.ndarray):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise RowError(
                key, "frames", f"frame {index} must be uint8 of shape (H, W, 3), got {frame.dtype} {frame.shape}."
            )
        frame = PIL.Image.fromarray(frame)
    if not isinstance(frame, PIL.Image.Image):
        raise RowError(
            key, "frames", f"frame {index} must be bytes, an array or an image, got {type(frame).__name__}."
        )
    sink = io.BytesIO()
    options = {"quality": quality} if image_format == "JPEG" else {"compress_level": 1}
    frame.convert("RGB").save(sink, image_format, **options)
    return sink.getvalue()


def _picture_size(picture: bytes, key: str) -> tuple[int, int]:
    try:
        with PIL.Image.open(io.BytesIO(picture)) as image:
            return image.size[1], image.size[0]
    except OSError as error:
        raise RowError(key, "frames", f"frame 0 is not a picture that PIL reads: {error}") from error


def _from_masks(masks: np.ndarray, key: str, shape: tuple[int, ...]) -> list[tuple[int, int, bytes | None]]:
    if masks.shape != shape:
        raise RowError(key, "mask_rle", f"`masks` must have shape (N, T, H, W) = {shape}, got {masks.shape}.")
    entity, frame = np.nonzero(masks.any(axis=(2, 3)))
    return [(int(t), int(n), encode_mask(masks[n, t])["counts"].encode()) for n, t in zip(entity, frame, strict=True)]


def _from_label_maps(
    label_maps: np.ndarray, key: str, shape: tuple[int, ...], num_entities: int
) -> list[tuple[int, int, bytes | None]]:
    if label_maps.shape != shape:
        raise RowError(key, "mask_rle", f"`label_maps` must have shape (T, H, W) = {shape}, got {label_maps.shape}.")
    table: list[tuple[int, int, bytes | None]] = []
    for frame, label_map in enumerate(label_maps):
        try:
            strings = encode_label_map(label_map, num_entities)
        except ValueError as error:
            raise RowError(key, "mask_rle", f"`label_maps`, frame {frame}: {error}") from error
        present = np.unique(label_map)
        table += [(frame, int(label) - 1, strings[label - 1]) for label in present[present > 0]]
    return table


def _from_frame_masks(
    frame_masks: Iterable[FrameMask], key: str, num_frames: int, size: tuple[int, int]
) -> list[tuple[int, int, bytes | None]]:
    table: list[tuple[int, int, bytes | None]] = []
    for frame, entity, mask in frame_masks:
        if not 0 <= frame < num_frames:
            raise RowError(key, "mask_rle", f"a mask is for frame {frame}, but there are {num_frames}.")
        if isinstance(mask, (str, bytes)):
            table.append((int(frame), int(entity), mask.encode("latin-1") if isinstance(mask, str) else mask))
            continue
        mask = np.asarray(mask)
        if mask.shape != tuple(size):
            raise RowError(
                key,
                "mask_rle",
                f"the mask of entity {entity} in frame {frame} must have shape {tuple(size)}, got {mask.shape}.",
            )
        table.append((int(frame), int(entity), encode_mask(mask)["counts"].encode() if mask.any() else None))
    return table
