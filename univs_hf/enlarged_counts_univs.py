# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Counts of pixels of enlarged masks above thresholds, without enlarging them where nothing changes."""

import torch
import torch.nn.functional as F

from .mask_resizing_univs import STRIDE_4_SHARES, block_elements


def count_enlarged(
    mask_logits: torch.Tensor, thresholds: tuple[float, ...], row_weights: torch.Tensor, column_weights: torch.Tensor
) -> torch.Tensor:
    """Weighted numbers of pixels above thresholds of masks that are enlarged four times.

    Enlarging is bilinear with half-pixel centres. A cell is the 4 x 4 pixels between four neighbours at stride 4.
    Interpolation stays between its neighbours' values, so a cell of which all four are above a threshold, or none,
    need not be enlarged; only outlines are.

    Args:
        mask_logits: (Q, T, h, w).
        thresholds: N of them.
        row_weights: (4 h,) float, how often a row counts.
        column_weights: (4 w,) float, how often a column counts.

    Returns:
        (N, Q) float64, sums over frames.
    """
    num_queries, num_frames, height, width = mask_logits.shape
    device = mask_logits.device
    # The outermost cells reach beyond the border, where the outermost value repeats.
    rows = F.pad(row_weights.float(), (2, 2)).view(height + 1, 4)
    columns = F.pad(column_weights.float(), (2, 2)).view(width + 1, 4)
    cell_rows, cell_columns = rows.sum(1).double(), columns.sum(1)
    share = torch.tensor(STRIDE_4_SHARES, device=device)
    counts = torch.zeros(len(thresholds), num_queries, dtype=torch.float64, device=device)
    per_part = max(block_elements(mask_logits) // 512, 1)
    for frame in range(num_frames):
        logits = F.pad(mask_logits[:, frame].float(), (1, 1, 1, 1), "replicate")
        highest, lowest = (
            extreme(extreme(logits[:, :-1, :-1], logits[:, :-1, 1:]), extreme(logits[:, 1:, :-1], logits[:, 1:, 1:]))
            for extreme in (torch.maximum, torch.minimum)
        )
        is_mixed = torch.zeros_like(highest, dtype=torch.bool)
        for total, threshold in zip(counts, thresholds, strict=True):
            is_above = lowest > threshold
            is_mixed |= (highest > threshold) ^ is_above
            total += (is_above.float() @ cell_columns).double() @ cell_rows
        line = width + 2
        for cells in is_mixed.flatten().nonzero().squeeze(1).split(per_part):
            query, cell = cells // is_mixed[0].numel(), cells % is_mixed[0].numel()
            row, column = cell // (width + 1), cell % (width + 1)
            corner = query * logits[0].numel() + row * line + column
            upper, lower = (
                torch.lerp(logits.take(left)[:, None], logits.take(left + 1)[:, None], share)
                for left in (corner, corner + line)
            )
            pixels = torch.lerp(upper[:, None], lower[:, None], share[:, None])
            weights = rows.index_select(0, row)[:, :, None] * columns.index_select(0, column)[:, None]
            lowest_of_cell = lowest.take(cells)
            for total, threshold in zip(counts, thresholds, strict=True):
                found = ((pixels > threshold) * weights).flatten(1).sum(1)
                # Cells that are above as a whole have been counted.
                total.index_add_(0, query, (found * (lowest_of_cell <= threshold)).double())
    return counts
