# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of segmentations: palette, overlays with outlines and labels, contact sheets. Needs numpy and PIL only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont


@lru_cache(maxsize=1)
def segmentation_palette() -> np.ndarray:
    """The 256-colour palette of PASCAL VOC and DAVIS.

    The bits of the index are dealt in turn to red, green and blue, most significant colour bit first, so that small
    indices get colours that are far apart. Index 0 is black.

    Returns:
        `np.ndarray` of shape (256, 3), dtype `uint8`; read-only.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for level in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * level + channel)) & 1) << (7 - level)).astype(np.uint8)
    palette.setflags(write=False)
    return palette


@lru_cache(maxsize=1)
def overlay_colors() -> np.ndarray:
    """255 colours that stand out on video and from one another, the first ones most.

    Each is the one farthest, in the perceptual space CIELAB, from all before it, among colours that are neither dark
    nor pale nor grey.

    Returns:
        `np.ndarray` of shape (255, 3), dtype `uint8`; read-only.
    """
    levels = np.linspace(0, 255, 18).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _srgb_to_lab(candidates / 255)
    vivid = (lab[:, 0] > 45) & (lab[:, 0] < 90) & (np.hypot(lab[:, 1], lab[:, 2]) > 35)
    candidates, lab = candidates[vivid], lab[vivid]
    chosen = [int(np.abs(candidates - (230, 60, 50)).sum(axis=1).argmin())]
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < 255:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    colors = candidates[chosen].astype(np.uint8)
    colors.setflags(write=False)
    return colors


def _srgb_to_lab(colors: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) in 0..1 to CIELAB of the D65 white point (IEC 61966-2-1, CIE 15)."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = linear @ to_xyz.T / to_xyz.sum(axis=1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def segment_color(segment_id: int) -> tuple[int, int, int]:
    """Colour of a segment in overlays: decided by its id alone, from 1 on; ids from 256 on use the colours again."""
    red, green, blue = overlay_colors()[(segment_id - 1) % 255].tolist()
    return red, green, blue


def flatten_masks(masks: np.ndarray, ids: Sequence[int], scores: Sequence[float]) -> np.ndarray:
    """One map of ids from masks that may overlap: where they do, the highest score wins, then the first.

    Args:
        masks (`np.ndarray` of shape (N, height, width)): Binary masks.
        ids (sequence of `int`): Their ids.
        scores (sequence of `float`): Their scores.

    Returns:
        `np.ndarray` of shape (height, width), dtype `int32`, 0 where no mask is.
    """
    masks = np.asarray(masks)
    segmentation = np.zeros(masks.shape[-2:], dtype=np.int32)
    # Painted from the last to the first, so that what counts most is on top.
    for index in sorted(range(len(masks)), key=lambda index: (scores[index], -index)):
        segmentation[masks[index].astype(bool)] = ids[index]
    return segmentation


def save_palette_png(path: Any, segmentation: np.ndarray) -> None:
    """Writes a label map as a palette PNG, the layout in which DAVIS stores annotations.

    Args:
        path: A path or writable binary file.
        segmentation (`np.ndarray` of shape (height, width)): Ids from 0 to 255.

    Raises:
        ValueError: If an id does not fit in 8 bits or the shape is wrong.
    """
    segmentation = np.asarray(segmentation)
    if segmentation.ndim != 2 or segmentation.min() < 0 or segmentation.max() > 255:
        raise ValueError(
            f"A palette PNG takes a (height, width) map of ids in 0..255, got shape {segmentation.shape} with ids "
            f"{segmentation.min()}..{segmentation.max()}."
        )
    image = Image.fromarray(segmentation.astype(np.uint8))
    image.putpalette(segmentation_palette().tobytes())
    image.save(path, format="PNG")


def overlay_segmentation(
    frame: np.ndarray,
    segmentation: np.ndarray,
    segments_info: Sequence[Mapping[str, Any]] | None = None,
    background: int | None = 0,
    alpha: float = 0.5,
    outline: int | None = None,
    labels: bool = True,
) -> np.ndarray:
    """Paints segments over a frame: translucent fill, solid outline, and a name on each segment.

    Args:
        frame (`np.ndarray` of shape (height, width, 3), dtype `uint8`): RGB picture. It is not changed.
        segmentation (`np.ndarray` of shape (height, width) or (N, height, width)):
            A map of segment ids, or a stack of binary masks (which may overlap; mask n has the id of
            `segments_info[n]`, or n + 1 without it).
        segments_info (sequence of mappings with `id` and optionally `label` and `score`, *optional*):
            What is written on the segments. Without it the ids are.
        background (`int`, *optional*, defaults to 0): Id that is left unpainted; `None` if every id is a segment, as
            in semantic maps whose classes start at 0 (their colours are then those of the ids from 1 on).
        alpha (`float`, *optional*, defaults to 0.5): Opacity of the fill, 0 to 1.
        outline (`int`, *optional*): Width of the outline in pixels; by default it grows with the frame. 0 for none.
        labels (`bool`, *optional*, defaults to `True`): Whether to write names.

    Returns:
        `np.ndarray` of shape (height, width, 3), dtype `uint8`.

    Raises:
        ValueError: If sizes do not agree or `alpha` is outside [0, 1].
    """
    frame = np.asarray(frame)
    segmentation = np.asarray(segmentation)
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"`frame` must be uint8 (height, width, 3), got {frame.dtype} {frame.shape}.")
    if segmentation.ndim not in (2, 3) or segmentation.shape[-2:] != frame.shape[:2]:
        raise ValueError(f"`segmentation` of shape {segmentation.shape} does not fit a frame of {frame.shape[:2]}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` must be in [0, 1], got {alpha}.")
    height, width = frame.shape[:2]
    if outline is None:
        outline = max(1, round(min(height, width) / 300))
    color_shift = 1 if background is None else 0
    # The classes of a semantic map have names; objects have ids, too, which tell those of one class apart.
    names = {int(info["id"]): _caption(info, with_id=background is not None) for info in segments_info or ()}

    segments: list[tuple[int, np.ndarray]]
    if segmentation.ndim == 3:
        ids = [int(info["id"]) for info in segments_info] if segments_info else range(1, len(segmentation) + 1)
        if len(ids) != len(segmentation):
            raise ValueError(f"{len(segmentation)} masks were given with {len(ids)} entries of `segments_info`.")
        segments = [(segment_id, mask.astype(bool)) for segment_id, mask in zip(ids, segmentation, strict=True)]
    else:
        present = np.unique(segmentation).tolist()
        segments = [(segment_id, segmentation == segment_id) for segment_id in present if segment_id != background]

    if segmentation.ndim == 3:
        painted = _fill_masks(frame, segments, color_shift, alpha)
    else:
        painted = _fill_map(frame, segmentation, [segment_id for segment_id, _ in segments], color_shift, alpha)
    # Outlines come after all fills, so that an overlapping fill does not hide them.
    if outline:
        for segment_id, mask in segments:
            painted[_inner_outline(mask, outline)] = _outline_color(segment_color(segment_id + color_shift))
    if not labels or not segments:
        return painted

    image = Image.fromarray(painted)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(10, round(min(height, width) / 30)))
    taken: list[tuple[int, int, int, int]] = []
    for segment_id, mask in segments:
        anchor = _label_anchor(mask)
        if anchor is not None:
            caption = names.get(segment_id, f"#{segment_id}")
            color = segment_color(segment_id + color_shift)
            taken.append(_draw_caption(draw, anchor, caption, color, font, (width, height), taken))
    return np.asarray(image)


def _fill_masks(
    frame: np.ndarray, segments: Sequence[tuple[int, np.ndarray]], color_shift: int, alpha: float
) -> np.ndarray:
    """Fills masks one after the other; where they overlap the colours mix."""
    painted = frame.astype(np.float32)
    for segment_id, mask in segments:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            fill = np.asarray(segment_color(segment_id + color_shift), dtype=np.float32) * alpha
            part = painted[box]
            np.copyto(part, part * (1 - alpha) + fill, where=mask[box][..., None])
    return np.rint(painted).astype(np.uint8)


def _fill_map(
    frame: np.ndarray, segmentation: np.ndarray, ids: Sequence[int], color_shift: int, alpha: float
) -> np.ndarray:
    """Fills the segments of a map, all in one pass over the frame."""
    lowest = int(segmentation.min())
    table = np.zeros((int(segmentation.max()) - lowest + 1, 3), dtype=np.float32)
    weights = np.zeros((len(table), 1), dtype=np.float32)
    for segment_id in ids:
        table[segment_id - lowest] = segment_color(segment_id + color_shift)
        weights[segment_id - lowest] = alpha
    index = segmentation - lowest
    weight = weights.take(index, axis=0)
    fill = (table * weights).take(index, axis=0)
    return np.rint(frame * (1 - weight) + fill).astype(np.uint8)


def contact_sheet(
    frames: Sequence[np.ndarray], columns: int | None = None, cell_width: int = 320, captions: Sequence[str] = ()
) -> np.ndarray:
    """Arranges frames on one sheet, row by row.

    Args:
        frames (sequence of `np.ndarray` of shape (height, width, 3), dtype `uint8`): The pictures, of any sizes.
        columns (`int`, *optional*): Pictures per row; by default as near to a square sheet as they allow.
        cell_width (`int`, *optional*, defaults to 320): Width of a cell in pixels. Its height follows the first frame.
        captions (sequence of `str`, *optional*): A line for the corner of each picture.

    Returns:
        `np.ndarray` of shape (sheet height, sheet width, 3), dtype `uint8`.

    Raises:
        ValueError: If there are no frames, or a number is not positive.
    """
    if len(frames) == 0:
        raise ValueError("A contact sheet needs at least one frame.")
    if cell_width < 1 or (columns is not None and columns < 1):
        raise ValueError(f"`columns` and `cell_width` must be positive, got {columns} and {cell_width}.")
    columns = columns or int(np.ceil(np.sqrt(len(frames))))
    rows = -(-len(frames) // columns)
    cell_height = max(1, round(cell_width * frames[0].shape[0] / frames[0].shape[1]))
    gap = 4
    sheet = Image.new("RGB", (columns * (cell_width + gap) + gap, rows * (cell_height + gap) + gap), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(10, cell_height // 14))
    for index, frame in enumerate(frames):
        left = gap + index % columns * (cell_width + gap)
        top = gap + index // columns * (cell_height + gap)
        picture = Image.fromarray(frame)
        picture.thumbnail((cell_width, cell_height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left, top))
        if index < len(captions):
            _draw_caption(draw, (left, top), captions[index], (0, 0, 0), font, sheet.size, centered=False)
    return np.asarray(sheet)


def _caption(info: Mapping[str, Any], with_id: bool) -> str:
    segment_id, label = f"#{info['id']}", str(info.get("label") or info["id"])
    if label == str(info["id"]):
        label = segment_id
    elif with_id:
        label = f"{label} {segment_id}"
    return label if info.get("score") is None else f"{label}  {float(info['score']):.2f}"


def _inner_outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of `mask` at most `width` steps (up, down, left, right) away from its outside."""
    inside = mask
    for _ in range(width):
        # The border of the frame counts as inside: a segment that leaves the picture has no edge there.
        padded = np.pad(inside, 1, constant_values=True)
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _outline_color(color: tuple[int, int, int]) -> tuple[int, ...]:
    # Halfway to white: visible on the fill and on dark frames alike.
    return tuple((channel + 255) // 2 for channel in color)


def _label_anchor(mask: np.ndarray) -> tuple[int, int] | None:
    """An (x, y) inside the mask, near the middle of its longest horizontal run; `None` if too small to label."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0 or mask.sum() < 16:
        return None
    # A few rows suffice to find a wide place, and keep the search cheap for large frames.
    candidates = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 9)).astype(int))]
    middle = rows[len(rows) // 2]
    best = (-1.0, 0, 0)
    for row in candidates:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[row].astype(np.int8), [0]])))
        lengths = edges[1::2] - edges[::2]
        longest = int(lengths.argmax())
        # Prefer the middle rows a little, so that labels do not stick to the border.
        value = float(lengths[longest]) - 0.5 * abs(int(row) - int(middle))
        if value > best[0]:
            best = (value, int(edges[2 * longest] + lengths[longest] // 2), int(row))
    if best[0] < 0:
        row = int(middle)
        columns = np.flatnonzero(mask[row])
        return int(columns[len(columns) // 2]), row
    return best[1], best[2]


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    anchor: tuple[int, int],
    caption: str,
    color: tuple[int, int, int],
    font: Any,
    size: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]] = (),
    centered: bool = True,
) -> tuple[int, int, int, int]:
    """Writes a caption in a box at `anchor`, or near by where boxes in `taken` are in the way; returns its box."""
    margin = 2
    caption = _shorten(draw, caption, font, size[0] - 2 * margin)
    left, top, right, bottom = draw.textbbox((0, 0), caption, font=font)
    text_width, text_height = right - left, bottom - top
    step = text_height + 2 * margin + 1
    x, y = anchor
    if centered:
        x, y = x - text_width // 2, y - text_height // 2
    x = max(margin, min(x, size[0] - text_width - margin))
    places = []
    for shift in (0, -step, step, -2 * step, 2 * step):
        place_y = max(margin, min(y + shift, size[1] - text_height - margin))
        places.append((x - margin, place_y - margin, x + text_width + margin, place_y + text_height + margin))
    box = next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])
    draw.rectangle(box, fill=color)
    # Rec. 601 luma decides between black and white text.
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 140
    ink = (255, 255, 255) if dark else (0, 0, 0)
    draw.text((box[0] + margin - left, box[1] + margin - top), caption, font=font, fill=ink)
    return box


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _shorten(draw: ImageDraw.ImageDraw, caption: str, font: Any, width: int) -> str:
    """The caption, cut with an ellipsis where it is wider than `width` pixels."""
    if draw.textlength(caption, font=font) <= width:
        return caption
    kept = len(caption)
    while kept > 1 and draw.textlength(caption[:kept].rstrip() + "…", font=font) > width:
        kept -= 1
    return caption[:kept].rstrip() + "…"
