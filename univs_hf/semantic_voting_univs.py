# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Video semantic segmentation from the queries of a clip: each votes for its classes (specification B.3, VSS)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from .enlarged_counts_univs import count_enlarged
from .mask_resizing_univs import STRIDE_4_SHARES, bilinear_axis, block_elements, nearest_axis


def vote_for_classes(
    mask_logits: torch.Tensor,
    scores: torch.Tensor,
    original_size: tuple[int, int],
    resized_size: tuple[int, int],
    quality_high_logit: float,
    quality_low_logit: float,
    counted_size: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Class of every pixel of a clip.

    Args:
        mask_logits: (Q, T, h, w) at stride 4.
        scores: (Q, K), class scores in [0, 1].
        original_size, resized_size: (height, width).
        quality_high_logit, quality_low_logit: See [`UniVSImageProcessor.post_process_semantic_segmentation`].
        counted_size: Height and width of the upper left part by which a mask's quality is judged; by default all.

    Returns:
        int64 (T, H, W) class indices.
    """
    num_queries, num_frames, height, width = mask_logits.shape
    rows, row_of, row_counts = _nearest_counts(resized_size[0], original_size[0], mask_logits.device)
    columns, column_of, column_counts = _nearest_counts(resized_size[1], original_size[1], mask_logits.device)
    row_counts, column_counts = row_counts.float(), column_counts.float()
    if counted_size is not None:
        row_counts[rows >= counted_size[0]] = 0
        column_counts[columns >= counted_size[1]] = 0

    all_columns = len(columns) == int(columns[-1]) + 1
    # Strips of wanted rows; masks of Q queries and votes of K classes decide how high a strip may be.
    strip = max(block_elements(mask_logits) // (4 * len(columns) * (num_queries + scores.shape[1])), 1)

    def widen(piece: torch.Tensor) -> torch.Tensor:
        """Some rows of a frame at stride 4 (Q, rows, w) with the wanted columns of the padded map."""
        size = (piece.shape[1], 4 * width)
        piece = F.interpolate(piece.float()[None], size=size, mode="bilinear", align_corners=False)[0]
        return piece[..., : len(columns)] if all_columns else piece.index_select(2, columns)

    def strips_of_all_rows(frame: int) -> Iterator[tuple[slice, torch.Tensor]]:
        # Rows 4 i - 2 to 4 i + 1 lie between the same two rows at stride 4; beyond the border, the outermost repeats.
        share = torch.tensor(STRIDE_4_SHARES, device=mask_logits.device)[:, None]
        groups = (len(rows) + 5) // 4
        step = max(strip // 4, 1)
        for start in range(0, groups, step):
            stop = min(start + step, groups)
            top, bottom = max(start - 1, 0), min(stop + 1, height)
            piece = F.pad(
                widen(mask_logits[:, frame, top:bottom]), (0, 0, top - start + 1, stop + 1 - bottom), "replicate"
            )
            piece = torch.lerp(piece[:, :-1, None], piece[:, 1:, None], share).flatten(1, 2)
            first, last = max(4 * start - 2, 0), min(4 * stop - 2, len(rows))
            yield slice(first, last), piece[:, first - 4 * start + 2 : last - 4 * start + 2].contiguous()

    def strips_of_some_rows(frame: int) -> Iterator[tuple[slice, torch.Tensor]]:
        upper, lower, share = (line[rows] for line in bilinear_axis(height, 4 * height, mask_logits.device))
        first_row, last_row = upper.tolist(), lower.tolist()
        for start in range(0, len(rows), strip):
            covered = slice(start, start + strip)
            top, bottom = first_row[start], last_row[min(start + strip, len(rows)) - 1] + 1
            piece = widen(mask_logits[:, frame, top:bottom])
            above, below = (piece.index_select(1, index[covered] - top) for index in (upper, lower))
            yield covered, torch.lerp(above, below, share[covered, None])

    # Which of `rows` a strip covers, and the logits (Q, rows, columns) there.
    strips = strips_of_all_rows if len(rows) == int(rows[-1]) + 1 else strips_of_some_rows

    certain, possible = count_enlarged(
        mask_logits,
        (quality_high_logit, quality_low_logit),
        torch.zeros(4 * height, device=mask_logits.device).index_copy_(0, rows, row_counts),
        torch.zeros(4 * width, device=mask_logits.device).index_copy_(0, columns, column_counts),
    )
    quality = (certain / possible.clamp(min=1)).float()
    # A query without a certain pixel has no vote.
    voters = certain.nonzero().squeeze(1)
    if 0 < len(voters) < num_queries:
        mask_logits, scores, quality = mask_logits[voters], scores[voters], quality[voters]
    votes_per_query = (scores * quality[:, None]).transpose(0, 1).contiguous()

    labels = mask_logits.new_empty((num_frames, *original_size), dtype=torch.int64)
    for frame in range(num_frames):
        frame_labels = labels.new_empty((len(rows), len(columns)))
        for covered, piece in strips(frame):
            votes = votes_per_query @ piece.sigmoid_().flatten(1)
            # Much faster than argmax over a leading dimension.
            frame_labels[covered] = votes.max(dim=0).indices.view(-1, len(columns))
        labels[frame] = frame_labels[row_of][:, column_of]
    return labels


def _nearest_counts(source: int, target: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nearest neighbour of one axis as torch computes it: the source indices used (ascending), for each target pixel
    the position among them, and how often each is used."""
    return torch.unique(nearest_axis(source, target, device), return_inverse=True, return_counts=True)
