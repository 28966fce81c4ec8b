# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""PyTorch UniVS model: unified video segmentation with prompts as queries (UniVS, CVPR 2024).

Reading order: frames -> `encode_frames` (once per frame) -> prompts -> `decode_clip` (per clip) -> masks per frame.

Shape legend: B videos, T frames of a clip, Q queries (Q_l learnable, then N prompts), C channels (256), D text width
(640), R pixels per visual prompt, L tokens per prompt, K categories, (H, W) padded frame, (h, w) a feature map.
Levels are numbered 0, 1, 2 for strides 32, 16, 8.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from transformers import AutoBackbone, CLIPTextModelWithProjection, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.integrations import use_kernel_forward_from_hub
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput, logging
from transformers.utils.generic import can_return_tuple

from .configuration_univs import TASK_PRESETS, UniVSConfig
from .packaged_checkpoints import PackagedCheckpointMixin

if TYPE_CHECKING:
    from .feature_extraction_univs import UniVSVideoFeatures
    from .image_processing_univs import UniVSImageProcessor
    from .inference_univs import UniVSInferenceSession
    from .processing_univs import UniVSProcessor

logger = logging.get_logger(__name__)

# On a CPU, large frames are encoded a few at a time: a batch of them lies in memory that the system has to hand out
# anew for every layer, which takes longer than the batch saves.
_CPU_PIXELS_PER_PASS = 2**18

# ---------------------------------------------------------------------------------------------------------------------
# What the model passes on and gives back
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class UniVSFrameFeatures(ModelOutput):
    """Everything the decoder reads of a set of frames; a function of each frame alone, so it is computed once.

    Args:
        mask_features (`torch.Tensor` of shape `(B, T, C, H / 4, W / 4)`):
            Per-pixel embeddings whose product with a query embedding is a mask logit.
        multi_scale_features (`tuple` of 3 `torch.Tensor` of shape `(B, T, C, h, w)`):
            Maps at strides 32, 16, 8.
        attention_mask_features (`tuple` of 3 `torch.Tensor` of shape `(B, T, C, h, w)`):
            `mask_features` resized to strides 32, 16, 8: resizing and the product with a query commute, so attention
            masks of intermediate layers are predicted at these sizes directly.
        attention_keys, attention_values (`tuple` of `torch.Tensor` of shape `(B, T, h * w, C)`, *optional*):
            Projections of the maps for each decoder layer's image cross-attention. They depend on the frame alone, so
            clips that overlap share them (specification C.3).
    """

    mask_features: Tensor | None = None
    multi_scale_features: tuple[Tensor, ...] | None = None
    attention_mask_features: tuple[Tensor, ...] | None = None
    attention_keys: tuple[Tensor, ...] | None = None
    attention_values: tuple[Tensor, ...] | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return self.mask_features.shape[1]

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the (padded) frames in pixels."""
        height, width = self.mask_features.shape[-2:]
        return 4 * height, 4 * width

    def map_tensors(self, function: Callable[..., Tensor], *others: "UniVSFrameFeatures") -> "UniVSFrameFeatures":
        """Applies `function` to each tensor of these features (and the same one of `others`), with channels last.

        Channels lie last in memory; a function that works on that layout leaves it to the decoder without a copy.
        """

        def apply(name: str, *tensors: Tensor) -> Tensor:
            if name.startswith("attention_") and not name.endswith("features"):
                return function(*tensors)
            return function(*(tensor.movedim(2, -1) for tensor in tensors)).movedim(-1, 2)

        mapped = {}
        for name, value in self.items():
            same = [other[name] for other in others]
            if isinstance(value, tuple):
                mapped[name] = tuple(apply(name, *tensors) for tensors in zip(value, *same, strict=True))
            else:
                mapped[name] = apply(name, value, *same)
        return UniVSFrameFeatures(**mapped)

    def frames(self, start: int, stop: int) -> "UniVSFrameFeatures":
        """Features of frames `start` to `stop - 1`; views, nothing is copied."""
        return self.map_tensors(lambda tensor: tensor[:, start:stop])

    @classmethod
    def cat(cls, parts: "Sequence[UniVSFrameFeatures]") -> "UniVSFrameFeatures":
        """Joins the frames of several sets of the same video along T."""
        first, *rest = parts
        return first.map_tensors(lambda *tensors: torch.cat(tensors, dim=1), *rest)


@dataclass
class UniVSVisualTokens(ModelOutput):
    """Sampled pixels of visual prompts, each on one key frame (specification A.3.1 to A.3.3).

    Args:
        features (`torch.Tensor` of shape `(B, N, R, C)`): Token features; all zero for an absent object.
        positions (`torch.Tensor` of shape `(B, N, R, C)`): Their position embeddings.
        points (`torch.Tensor` of shape `(B, N, 2)`): Central point, x and y normalised by the padded size.
    """

    features: Tensor | None = None
    positions: Tensor | None = None
    points: Tensor | None = None


@dataclass
class UniVSPrompts(ModelOutput):
    """Prompts as the decoder takes them.

    Args:
        queries (`torch.Tensor` of shape `(B, T, N, C)`): Query content per frame.
        query_positions (`torch.Tensor` of shape `(B, T, N, C)`): Query position per frame.
        tokens (`torch.Tensor` of shape `(B, N, 1 or T, L, C)`): What the prompt cross-attention reads, per frame or
            the same for all frames.
        token_positions (`torch.Tensor` of the same shape, *optional*): Positions of the tokens; text has none.
        attention_mask (`torch.Tensor` of shape `(B, N)`, *optional*): 1 for a prompt, 0 for padding of the batch.
        sentence_features (`torch.Tensor` of shape `(B, N, D)`, *optional*): Set for expressions, which makes the
            clip a grounding call: masks are averaged with the closest learnable query and prompts only see themselves.
    """

    queries: Tensor | None = None
    query_positions: Tensor | None = None
    tokens: Tensor | None = None
    token_positions: Tensor | None = None
    attention_mask: Tensor | None = None
    sentence_features: Tensor | None = None


@dataclass
class UniVSDecoderOutput(ModelOutput):
    """Output of the unified video mask decoder.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(B, T, Q, C)`): Queries after the last layer, before the norm.
        query_embeddings (`torch.Tensor` of shape `(B, Q, T, C)`): Normalised queries (ReID embedding).
        masks_queries_logits (`torch.Tensor` of shape `(B, Q, T, H / 4, W / 4)`): Mask logits.
        prompt_similarity (`torch.Tensor` of shape `(B, Q, N)`, *optional*): Cosine of queries and expressions,
            averaged over the frames; only for expressions.
        auxiliary_outputs (`tuple[UniVSDecoderOutput]`, *optional*): The same before the first layer and after each
            layer but the last.
        hidden_states (`tuple(torch.Tensor)` of shape `(B, T, Q, C)`, *optional*): Queries before the first layer and
            after each layer.
        attentions (`tuple(torch.Tensor)` of shape `(B * T, heads, Q, h * w)`, *optional*): Masked image
            cross-attention of each layer; eager attention only.
    """

    last_hidden_state: Tensor | None = None
    query_embeddings: Tensor | None = None
    masks_queries_logits: Tensor | None = None
    prompt_similarity: Tensor | None = None
    auxiliary_outputs: tuple["UniVSDecoderOutput", ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class UniVSModelOutput(UniVSDecoderOutput):
    """Output of [`UniVSModel`]: the decoder's, with the features it read.

    Args:
        mask_features (`torch.Tensor` of shape `(B, T, C, H / 4, W / 4)`, *optional*): See [`UniVSFrameFeatures`].
        multi_scale_features (`tuple(torch.Tensor)` of shape `(B, T, C, h, w)`, *optional*): Strides 32, 16, 8.
        sentence_features (`torch.Tensor` of shape `(B, N, D)`, *optional*): Text features of the expressions.
    """

    mask_features: Tensor | None = None
    multi_scale_features: tuple[Tensor, ...] | None = None
    sentence_features: Tensor | None = None


@dataclass
class UniVSForVideoSegmentationOutput(ModelOutput):
    """Output of [`UniVSForVideoSegmentation`]. Learnable queries come first, prompt queries after them.

    Args:
        loss (`torch.Tensor`, *optional*): Weighted sum of the terms; with `mask_labels`.
        loss_dict (`dict[str, torch.Tensor]`, *optional*): The terms by name, without their weights; see
            [`UniVSLosses`].
        class_queries_logits (`torch.Tensor` of shape `(B, Q, K)`, *optional*): Logits (sigmoid) of the categories;
            for expressions, of the expressions.
        masks_queries_logits (`torch.Tensor` of shape `(B, Q, T, H / 4, W / 4)`): Mask logits.
        query_embeddings (`torch.Tensor` of shape `(B, Q, T, C)`): ReID embedding of every query in every frame.
        prompt_similarity (`torch.Tensor` of shape `(B, Q, N)`, *optional*): See [`UniVSDecoderOutput`].
        auxiliary_logits (`list[dict[str, torch.Tensor]]`, *optional*): `class_queries_logits`,
            `masks_queries_logits`, `query_embeddings` (and `prompt_similarity`) before the first and after each
            layer but the last.
        last_hidden_state (`torch.Tensor` of shape `(B, T, Q, C)`): Object tokens before the last norm.
        hidden_states, attentions: See [`UniVSDecoderOutput`].
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    class_queries_logits: Tensor | None = None
    masks_queries_logits: Tensor | None = None
    query_embeddings: Tensor | None = None
    prompt_similarity: Tensor | None = None
    auxiliary_logits: list[dict[str, Tensor]] | None = None
    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


# ---------------------------------------------------------------------------------------------------------------------
# Positions
# ---------------------------------------------------------------------------------------------------------------------


def _sine(angle: Tensor, channels: int, temperature: float) -> Tensor:
    """Interleaved sine and cosine of `angle (...)` at `channels` frequencies -> `(..., channels)`, float32."""
    index = torch.arange(channels, dtype=torch.float32, device=angle.device)
    frequency = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)
    angle = angle.unsqueeze(-1) / frequency
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


class UniVSSinePositionEmbedding(nn.Module):
    """Sine position of a pixel in a frame plus sine position of the frame in the video (specification A.2).

    The sum is separable: a table of the map's size, which does not depend on the frame, plus one vector per frame.
    """

    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.channels = config.hidden_dim
        self.temperature = float(config.position_temperature)
        self.temporal_position_type = config.temporal_position_type
        self.max_position_frames = config.max_position_frames

    def spatial(self, height: int, width: int, device: torch.device) -> Tensor:
        """Table of a map, y in the first half of the channels -> `(height * width, C)`, float32."""
        half = self.channels // 2
        y = torch.arange(1, height + 1, dtype=torch.float32, device=device) / (height + 1e-6) * (2 * math.pi)
        x = torch.arange(1, width + 1, dtype=torch.float32, device=device) / (width + 1e-6) * (2 * math.pi)
        y = _sine(y, half, self.temperature)[:, None].expand(height, width, half)
        x = _sine(x, half, self.temperature)[None].expand(height, width, half)
        return torch.cat((y, x), dim=-1).flatten(0, 1)

    def temporal(self, frame_idx: Tensor) -> Tensor:
        """Vectors of the frames of a clip, `frame_idx (B, T)` -> `(B, T, C)`, float32."""
        if self.temporal_position_type == "absolute":
            angle = frame_idx.to(torch.float32) / self.max_position_frames * (2 * math.pi)
        else:
            num_frames = frame_idx.shape[1]
            angle = torch.arange(1, num_frames + 1, dtype=torch.float32, device=frame_idx.device)
            angle = (angle / (num_frames + 1e-6) * (2 * math.pi)).expand(frame_idx.shape)
        return _sine(angle, self.channels, self.temperature)

    def points(self, points: Tensor) -> Tensor:
        """Positions of points, `(..., 2)` x and y in [0, 1] -> `(..., C)`, float32; no half-pixel shift is added."""
        half = self.channels // 2
        angle = points.to(torch.float32) * (2 * math.pi)
        return torch.cat(
            (_sine(angle[..., 1], half, self.temperature), _sine(angle[..., 0], half, self.temperature)), dim=-1
        )


# ---------------------------------------------------------------------------------------------------------------------
# Image encoder
# ---------------------------------------------------------------------------------------------------------------------


class UniVSFrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics and affine parameters, kept as buffers, in training as in inference."""

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.batch_norm(
            hidden_states, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def _make_activations_in_place(module: nn.Module) -> None:
    """Spares a map per activation; what comes before (a norm or a sum) does not need its output for gradients."""
    for child in module.modules():
        if isinstance(child, nn.ReLU):
            child.inplace = True


def _freeze_batch_norms(module: nn.Module) -> None:
    """Replaces every `nn.BatchNorm2d` below `module` by [`UniVSFrozenBatchNorm2d`] with the same values."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            with torch.device(child.weight.device):
                frozen = UniVSFrozenBatchNorm2d(child.num_features, child.eps)
            if child.weight.device.type != "meta":
                frozen.load_state_dict(
                    {key: value for key, value in child.state_dict().items() if key != "num_batches_tracked"}
                )
            setattr(module, name, frozen)
        else:
            _freeze_batch_norms(child)


@use_kernel_forward_from_hub("MultiScaleDeformableAttention")
class _TableGradient(torch.autograd.Function):
    """Gives the table its gradient of a weighted sum of its rows, which is else taken as it is.

    That is a product with a sparse matrix, which SciPy computes about ten times as fast as `embedding_bag` does.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """`output` (N, C) is the sum of the rows `rows` (N, K) of `table` (R, C) with `weights` (N, K)."""
        ctx.save_for_backward(rows, weights)
        ctx.num_rows = len(table)
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        starts = np.arange(0, rows.numel() + 1, rows.shape[1], dtype=np.int32)
        matrix = csr_matrix(
            (weights.flatten().numpy(), rows.flatten().numpy(), starts), shape=(len(rows), ctx.num_rows)
        )
        return gradient, torch.from_numpy(matrix.T @ gradient.numpy()), None, None


class MultiScaleDeformableAttention(nn.Module):
    """Weighted sum of bilinear samples of several maps; no parameters.

    The signature is the one of the hub kernel of the same name, which replaces `forward` with `use_kernels=True`.
    """

    def forward(
        self,
        value: Tensor,
        value_spatial_shapes: Tensor,
        value_spatial_shapes_list: list[tuple[int, int]],
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """Samples outside a map are zero; pixel centres lie at (j + 0.5) / w.

        Args:
            value: `(B, S, heads, C / heads)`, the maps' pixels one after the other.
            value_spatial_shapes: `(levels, 2)` int64, read by the hub kernel only.
            value_spatial_shapes_list: Height and width of each map.
            level_start_index: `(levels,)` int64, read by the hub kernel only.
            sampling_locations: `(B, S_q, heads, levels, points, 2)`, x and y in [0, 1].
            attention_weights: `(B, S_q, heads, levels, points)`.
            im2col_step: Read by the hub kernel only.

        Returns:
            `(B, S_q, C)`.
        """
        if value.device.type == "cpu":
            return self.sample_rows(value, value_spatial_shapes_list, sampling_locations, attention_weights)
        return self.sample_grid(value, value_spatial_shapes_list, sampling_locations, attention_weights)

    @staticmethod
    def sample_grid(
        value: Tensor, shapes: list[tuple[int, int]], sampling_locations: Tensor, attention_weights: Tensor
    ) -> Tensor:
        """The sum as one `grid_sample` per level."""
        batch_size, _, num_heads, head_dim = value.shape
        num_queries, num_levels, num_points = sampling_locations.shape[1], *sampling_locations.shape[3:5]
        grids = (2 * sampling_locations - 1).to(value.dtype).transpose(1, 2).flatten(0, 1)
        maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([height * width for height, width in shapes], dim=-1)
        samples = [
            F.grid_sample(level.unflatten(-1, shape), grids[:, :, index], padding_mode="zeros", align_corners=False)
            for index, (level, shape) in enumerate(zip(maps, shapes, strict=True))
        ]
        weights = attention_weights.transpose(1, 2).reshape(
            batch_size * num_heads, 1, num_queries, num_levels * num_points
        )
        output = (torch.cat(samples, dim=-1) * weights).sum(-1)
        return output.view(batch_size, num_heads * head_dim, num_queries).transpose(1, 2)

    @staticmethod
    def sample_rows(
        value: Tensor, shapes: list[tuple[int, int]], sampling_locations: Tensor, attention_weights: Tensor
    ) -> Tensor:
        """The sum as a weighted sum of table rows, which is about ten times faster on a CPU.

        A sample is four rows of the table of all pixels with weights attention x bilinear coefficient, so a query and
        head sum levels x points x 4 rows: one `embedding_bag`. Every map gets a border of zero rows (one before, two
        after), which replaces all inside tests by a clamp. Everything else is arithmetic on (queries, samples), with
        what depends on the head, level or point as one row of constants, so that it runs along contiguous memory.
        """
        batch_size, _, num_heads, head_dim = value.shape
        num_queries, num_levels, num_points = sampling_locations.shape[1], *sampling_locations.shape[3:5]
        device = value.device
        samples = num_heads * num_levels * num_points

        table, starts, num_rows = [], [], 0
        for level, (height, width) in zip(
            value.split([height * width for height, width in shapes], dim=1), shapes, strict=True
        ):
            level = level.reshape(batch_size, height, width, num_heads * head_dim)
            table.append(F.pad(level, (0, 0, 1, 2, 1, 2)).flatten(1, 2))
            starts.append(num_rows * num_heads)
            num_rows += (height + 3) * (width + 3)
        table = torch.cat(table, dim=1).reshape(batch_size * num_rows * num_heads, head_dim).float()

        def per_sample(per_level: list[int]) -> Tensor:
            row = torch.tensor(per_level, dtype=torch.float32, device=device)
            return row[None, :, None].expand(num_heads, num_levels, num_points).reshape(samples)

        widths, heights = per_sample([width for _, width in shapes]), per_sample([height for height, _ in shapes])
        line = per_sample([(width + 3) * num_heads for _, width in shapes])
        head = torch.arange(num_heads, device=device).repeat_interleave(num_levels * num_points)
        first = per_sample(starts) + head

        # Pixel coordinates in the bordered maps: -1 .. size become 0 .. size + 1.
        locations = sampling_locations.float().reshape(batch_size * num_queries, samples, 2)
        half = torch.tensor(0.5, device=device)
        x = torch.minimum(torch.addcmul(half, locations[..., 0], widths).clamp_min(0), widths + 1)
        y = torch.minimum(torch.addcmul(half, locations[..., 1], heights).clamp_min(0), heights + 1)
        left, top = x.detach().floor(), y.detach().floor()
        x, y = x - left, y - top

        # Rows of one frame are counted in float32, which is exact up to 2^24; the frame's offset is added as integer.
        upper_left = torch.addcmul(first, top, line).add(left, alpha=num_heads).to(torch.int32)
        if batch_size > 1:
            frame = torch.arange(batch_size, dtype=torch.int32, device=device) * (num_rows * num_heads)
            upper_left = upper_left + frame.repeat_interleave(num_queries)[:, None]
        line = line.to(torch.int32)
        corners = (upper_left, upper_left + num_heads, upper_left + line, upper_left + (line + num_heads))

        weights = attention_weights.float().reshape(batch_size * num_queries, samples)
        lower = weights * y
        upper = weights - lower
        upper_right, lower_right = upper * x, lower * x
        weights = (upper - upper_right, upper_right, lower - lower_right, lower_right)

        def bags(parts: tuple[Tensor, ...]) -> Tensor:
            return torch.stack([part.view(-1, num_levels * num_points) for part in parts], dim=1).flatten(1)

        rows, weights = bags(corners), bags(weights)
        if not table.requires_grad or torch.compiler.is_compiling():
            output = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        else:
            output = F.embedding_bag(rows, table.detach(), per_sample_weights=weights, mode="sum")
            output = _TableGradient.apply(output, table, rows, weights.detach())
        return output.to(value.dtype).view(batch_size, num_queries, num_heads * head_dim)


class UniVSDeformableAttention(nn.Module):
    """Deformable self-attention over the three maps of a frame."""

    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.num_levels = config.num_feature_levels
        self.num_points = config.encoder_num_points
        samples = self.num_heads * self.num_levels * self.num_points
        self.sampling_offsets = nn.Linear(config.feature_size, 2 * samples)
        self.attention_weights = nn.Linear(config.feature_size, samples)
        self.value_proj = nn.Linear(config.feature_size, config.feature_size)
        self.output_proj = nn.Linear(config.feature_size, config.feature_size)
        self.attn = MultiScaleDeformableAttention()

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        level_start_index: Tensor,
    ) -> Tensor:
        batch_size, sequence_length, channels = hidden_states.shape
        value = self.value_proj(hidden_states).view(batch_size, sequence_length, self.num_heads, -1)
        query = hidden_states + position_embeddings
        shape = (batch_size, sequence_length, self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).view(*shape, 2)
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        # Pixels of offset become shares of the sampled map's width and height.
        share = 1 / spatial_shapes.flip(-1).to(offsets.dtype)[:, None]
        locations = torch.addcmul(reference_points[:, None, None, None], offsets, share)
        output = self.attn(
            value, spatial_shapes, spatial_shapes_list, level_start_index, locations, weights, im2col_step=64
        )
        return self.output_proj(output)


class UniVSPixelDecoderEncoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.self_attn = UniVSDeformableAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.feature_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.feature_size, config.encoder_feedforward_dim)
        self.fc2 = nn.Linear(config.encoder_feedforward_dim, config.feature_size)
        self.final_layer_norm = nn.LayerNorm(config.feature_size, eps=config.layer_norm_eps)
        self.activation_fn = ACT2FN[config.activation_function]
        self.dropout = config.dropout

    def forward(self, hidden_states: Tensor, **geometry: Tensor | list[tuple[int, int]]) -> Tensor:
        attended = F.dropout(self.self_attn(hidden_states, **geometry), self.dropout, self.training)
        hidden_states = self.self_attn_layer_norm(hidden_states + attended)
        update = self.fc2(F.dropout(self.activation_fn(self.fc1(hidden_states)), self.dropout, self.training))
        return self.final_layer_norm(hidden_states + F.dropout(update, self.dropout, self.training))


class UniVSPixelDecoderEncoder(nn.Module):
    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.layers = nn.ModuleList([UniVSPixelDecoderEncoderLayer(config) for _ in range(config.encoder_layers)])

    def forward(self, hidden_states: Tensor, **geometry: Tensor | list[tuple[int, int]]) -> Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states, **geometry)
        return hidden_states


class UniVSPixelDecoder(nn.Module):
    """Multi-scale deformable pixel decoder of Mask2Former; every frame on its own."""

    def __init__(self, config: UniVSConfig, feature_channels: list[int]):
        super().__init__()
        channels, groups = config.feature_size, config.num_norm_groups
        self.input_projections = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size=1), nn.GroupNorm(groups, channels))
                for in_channels in feature_channels[:0:-1]
            ]
        )
        self.level_embed = nn.Parameter(torch.empty(config.num_feature_levels, channels))
        self.encoder = UniVSPixelDecoderEncoder(config)
        self.adapter_1 = nn.Sequential(
            nn.Conv2d(feature_channels[0], channels, kernel_size=1, bias=False), nn.GroupNorm(groups, channels)
        )
        self.layer_1 = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
        )
        self.mask_projection = nn.Conv2d(channels, config.mask_feature_size, kernel_size=1)
        self.position_embedding = UniVSSinePositionEmbedding(config)

    def forward(self, feature_maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            feature_maps: Four maps `(N, channels, h, w)` of the backbone, strides 4, 8, 16, 32.

        Returns:
            Mask features `(N, C, H / 4, W / 4)` and the refined maps `(N, C, h, w)` of strides 32, 16, 8.
        """
        # Mixed precision keeps this module in float32, as the original does; the maps may come in another dtype.
        dtype = self.level_embed.dtype
        feature_maps = [feature_map.to(dtype) for feature_map in feature_maps]
        device = feature_maps[0].device
        projected = [
            projection(feature_map)
            for projection, feature_map in zip(self.input_projections, feature_maps[:0:-1], strict=True)
        ]
        shapes = [(feature_map.shape[-2], feature_map.shape[-1]) for feature_map in projected]
        lengths = [height * width for height, width in shapes]

        hidden_states = torch.cat([level.flatten(2).transpose(1, 2) for level in projected], dim=1)
        positions = torch.cat(
            [
                self.position_embedding.spatial(height, width, device).to(dtype) + self.level_embed[level]
                for level, (height, width) in enumerate(shapes)
            ]
        )
        starts = [sum(lengths[:level]) for level in range(len(lengths))]
        hidden_states = self.encoder(
            hidden_states,
            position_embeddings=positions,
            reference_points=self.reference_points(shapes, device, dtype),
            spatial_shapes=torch.tensor(shapes, dtype=torch.int64, device=device),
            spatial_shapes_list=shapes,
            level_start_index=torch.tensor(starts, dtype=torch.int64, device=device),
        )
        levels = [
            level.transpose(1, 2).unflatten(-1, shape)
            for level, shape in zip(hidden_states.split(lengths, dim=1), shapes, strict=True)
        ]

        lateral = self.adapter_1(feature_maps[0])
        upsampled = F.interpolate(levels[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_projection(self.layer_1(lateral + upsampled)), levels

    @staticmethod
    def reference_points(shapes: list[tuple[int, int]], device: torch.device, dtype: torch.dtype) -> Tensor:
        """Centre of every pixel of every map as x and y in [0, 1] -> `(S, 2)`."""
        points = []
        for height, width in shapes:
            y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
            x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
            y, x = torch.meshgrid(y, x, indexing="ij")
            points.append(torch.stack((x, y), dim=-1).flatten(0, 1))
        return torch.cat(points).to(dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Attention
# ---------------------------------------------------------------------------------------------------------------------


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Attention written out. `attention_mask` is boolean, True where a query may look."""
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights.masked_fill(~attention_mask, torch.finfo(weights.dtype).min)
    weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = torch.matmul(F.dropout(weights, dropout, module.training), value)
    return output.transpose(1, 2), weights


class UniVSAttention(nn.Module):
    """Multi-head attention whose keys and values may be projected apart from the queries."""

    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_dim // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = config.dropout
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.k_proj = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.v_proj = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.out_proj = nn.Linear(config.hidden_dim, config.hidden_dim)

    def split_heads(self, states: Tensor) -> Tensor:
        """`(N, L, C)` -> `(N, heads, L, C / heads)`."""
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of projected `query (N, L_q, C)`, `key` and `value (N, L_k, C)`, without the output projection.

        Args:
            attention_mask: Boolean, broadcastable to `(N, heads, L_q, L_k)`, True where a query may look.

        Returns:
            `(N, L_q, C)` and, with eager attention, the weights `(N, heads, L_q, L_k)`.
        """
        interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = interface(
            self,
            self.split_heads(query),
            self.split_heads(key),
            self.split_heads(value),
            attention_mask,
            scaling=self.scaling,
            dropout=self.dropout if self.training else 0.0,
        )
        return output.flatten(2), weights


# ---------------------------------------------------------------------------------------------------------------------
# Prompt encoder
# ---------------------------------------------------------------------------------------------------------------------


def _select_by_rank(candidates: Tensor, ranks: Tensor) -> Tensor:
    """Indices of the candidates with the given ranks.

    Args:
        candidates: `(..., P)` boolean, the pixels to choose from.
        ranks: `(..., R)` int64, 0 for the first candidate in raster order.

    Returns:
        `(..., R)` int64 in 0..P-1; the last pixel where there is no such candidate.
    """
    counts = candidates.cumsum(-1, dtype=torch.int64)
    index = torch.searchsorted(counts, (ranks + 1).contiguous())
    return index.clamp(max=candidates.shape[-1] - 1)


def _spread_ranks(count: Tensor, num_ranks: int) -> Tensor:
    """`num_ranks` ranks spread evenly over `count (...)` candidates, cyclic if there are fewer -> `(..., num_ranks)`.

    The deterministic counterpart of the original's random subset.
    """
    position = torch.arange(num_ranks, device=count.device)
    count = count.unsqueeze(-1)
    spread = torch.div((2 * position + 1) * count, 2 * num_ranks, rounding_mode="floor")
    return torch.where(count >= num_ranks, spread, position % count.clamp(min=1))


def _random_ranks(count: Tensor, num_ranks: int, max_count: int, generator: torch.Generator) -> Tensor:
    """A random subset of `num_ranks` of `count (...)` candidates, cyclic if there are fewer -> `(..., num_ranks)`."""
    keys = torch.rand(*count.shape, max(max_count, num_ranks), generator=generator, device=generator.device)
    keys = keys.to(count.device)
    keys = keys.masked_fill(torch.arange(keys.shape[-1], device=count.device) >= count.unsqueeze(-1), 2.0)
    drawn = keys.argsort(-1)[..., :num_ranks]
    cyclic = torch.arange(num_ranks, device=count.device) % count.unsqueeze(-1).clamp(min=1)
    return torch.where(count.unsqueeze(-1) >= num_ranks, drawn, cyclic)


def mask_boxes(masks: Tensor, last: int = 0) -> Tensor:
    """Boxes of binary masks (section B.1).

    Args:
        masks (`Tensor` of shape (..., H, W), bool): Masks.
        last (`int`, *optional*, defaults to 0): Added to the index of the last row and column: 1 for the box of the
            pixels' outer edges, 0 for that of their indices.

    Returns:
        `Tensor` of shape (..., 4): x1, y1, x2, y2 divided by width and height; zeros for an empty mask.
    """
    sides = []
    for lines in (masks.any(dim=-2), masks.any(dim=-1)):
        size = lines.shape[-1]
        index = torch.arange(size, device=masks.device)
        low = torch.where(lines, index, size).amin(dim=-1)
        high = torch.where(lines, index + last, 0).amax(dim=-1)
        sides.append((torch.where(low == size, 0, low) / size, high / size))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=-1)


class UniVSPromptEncoder(nn.Module):
    """Turns masks, boxes, points, expressions and category names into queries and tokens (specification A.3)."""

    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.config = config
        width = config.text_config.projection_dim
        self.text_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.text_projection = nn.Linear(width, config.hidden_dim)
        if config.text_image_attention:
            self.text_image_attention = UniVSAttention(config)
            self.text_image_layer_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.category_embed = nn.Embedding(1, config.hidden_dim)
        self.visual_embed = nn.Embedding(1, config.hidden_dim)
        self.expression_embed = nn.Embedding(1, config.hidden_dim)
        self.position_embedding = UniVSSinePositionEmbedding(config)

    # Visual prompts ------------------------------------------------------------------------------------------------

    def encode_masks(
        self,
        source: Tensor,
        temporal: Tensor,
        masks: Tensor,
        prompt_frame_idx: Tensor,
        num_pixels: int,
        generator: torch.Generator | None = None,
        boxes: Tensor | None = None,
        point_ranks: Tensor | None = None,
        pixel_ranks: Tensor | None = None,
    ) -> UniVSVisualTokens:
        """Mask prompts (specification A.3.1).

        Args:
            source: `(B, T, C, h, w)`, stride-8 maps with the decoder's level embedding.
            temporal: `(B, T, C)`, temporal positions.
            masks: `(B, N, H, W)` in [0, 1], H = 8 h and W = 8 w; an empty mask is an absent object.
            prompt_frame_idx: `(B, N)` int64, position in the clip of each mask's frame.
            num_pixels: R.
            generator: Draws the pixels at random, as the original does; without it they are spread evenly.
            boxes: `(B, N, 4)`, boxes of the masks if known (xyxy, normalised by the padded size).
            point_ranks: `(B, N)` int64, recorded choice of the central point among its candidates.
            pixel_ranks: `(B, N, R)` int64, recorded choice of pixels; a row of -1 where none was recorded.
        """
        masks = masks.float()
        height, width = masks.shape[-2:]
        mask_max = masks.flatten(2).amax(-1)
        valid = mask_max > 0.5

        # Nearest resize to stride 8 picks pixel (8 i, 8 j). The threshold looks at all objects of the frame: if none
        # of them has a pixel left there, it drops to 0 and the whole frame is sampled.
        small = masks[..., ::8, ::8].flatten(2)
        same_frame = prompt_frame_idx.unsqueeze(1) == prompt_frame_idx.unsqueeze(2)
        frame_max = torch.where(same_frame, small.amax(-1).unsqueeze(1), 0.0).amax(-1)
        threshold = frame_max.clamp(max=self.config.prompt_mask_threshold)
        pixels = small >= threshold.unsqueeze(-1)

        if boxes is None:
            boxes = mask_boxes(masks > self.config.prompt_mask_threshold)
        points = self._central_points(masks, mask_max, boxes, generator, point_ranks)
        fallback = torch.zeros(*masks.shape[:2], source.shape[2], dtype=source.dtype, device=source.device)
        return self.sample_tokens(
            source, temporal, pixels, valid, points, fallback, prompt_frame_idx, num_pixels, generator, pixel_ranks
        )

    def encode_boxes(
        self,
        source: Tensor,
        temporal: Tensor,
        boxes: Tensor,
        prompt_frame_idx: Tensor,
        num_pixels: int,
        generator: torch.Generator | None = None,
        point_offsets: Tensor | None = None,
        pixel_ranks: Tensor | None = None,
    ) -> UniVSVisualTokens:
        """Box prompts (specification A.3.2); arguments as in [`UniVSPromptEncoder.encode_masks`].

        Args:
            boxes: `(B, N, 4)` xyxy, normalised by the padded size; without area it is an absent object.
            point_offsets: `(B, N, 2)` in [-1, 1], recorded position of the point, in quarters of the box.
        """
        boxes = boxes.float()
        height, width = source.shape[-2:]
        low, high = boxes[..., :2], boxes[..., 2:]
        extent = high - low
        valid = (extent > 0).all(-1)
        if point_offsets is None:
            point_offsets = torch.zeros_like(low)
            if generator is not None:
                draw = torch.rand(low.shape, generator=generator, device=generator.device)
                point_offsets = draw.to(low.device) * 2 - 1
        points = (low + high) / 2 + point_offsets * 0.25 * extent

        pixels = self.box_pixels(boxes, height, width).flatten(2)
        fallback = self.sample_points(source, points, prompt_frame_idx)
        return self.sample_tokens(
            source, temporal, pixels, valid, points, fallback, prompt_frame_idx, num_pixels, generator, pixel_ranks
        )

    @staticmethod
    def box_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
        """Pixels of a map that lie in normalised boxes, `(B, N, 4)` -> `(B, N, height, width)` boolean.

        Strict on the low side as in the original, so that the first row and column of a box are left out.
        """
        low, high = boxes[..., :2], boxes[..., 2:]
        x = torch.arange(width, device=boxes.device)
        y = torch.arange(height, device=boxes.device)
        x1, y1 = (low[..., 0] * width).floor(), (low[..., 1] * height).floor()
        x2, y2 = (high[..., 0] * width).ceil(), (high[..., 1] * height).ceil()
        columns = (x > x1.unsqueeze(-1)) & (x <= x2.unsqueeze(-1))
        rows = (y > y1.unsqueeze(-1)) & (y <= y2.unsqueeze(-1))
        return rows.unsqueeze(-1) & columns.unsqueeze(-2)

    def encode_points(
        self, source: Tensor, temporal: Tensor, points: Tensor, prompt_frame_idx: Tensor, num_pixels: int
    ) -> UniVSVisualTokens:
        """Point prompts (specification A.3.3).

        Args:
            points: `(B, N, 2)` x and y, normalised by the padded size; outside [0, 1] it is an absent object.
        """
        points = points.float()
        valid = ((points >= 0) & (points <= 1)).all(-1)
        points = points * valid.unsqueeze(-1)
        features = self.sample_points(source, points, prompt_frame_idx)
        positions = self._point_positions(points, temporal, prompt_frame_idx).to(source.dtype)
        keep = valid[..., None, None].to(source.dtype)
        shape = (-1, -1, num_pixels, -1)
        return UniVSVisualTokens(
            features=features.unsqueeze(2).expand(shape) * keep,
            positions=positions.unsqueeze(2).expand(shape) * keep,
            points=points,
        )

    def _central_points(
        self,
        masks: Tensor,
        mask_max: Tensor,
        boxes: Tensor,
        generator: torch.Generator | None,
        ranks: Tensor | None,
    ) -> Tensor:
        """A point in the middle of each mask, `(B, N, 2)`; it stands in for objects that vanish at stride 8."""
        height, width = masks.shape[-2:]
        x = (torch.arange(width, device=masks.device) + 0.5) / width
        y = (torch.arange(height, device=masks.device) + 0.5) / height
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        reach = self.config.prompt_point_box_ratio * (boxes[..., 2:] - boxes[..., :2])
        columns = (x - centre[..., :1]).abs() < reach[..., :1]
        rows = (y - centre[..., 1:]).abs() < reach[..., 1:]
        high = mask_max.clamp(max=self.config.prompt_point_threshold)[..., None]
        low = mask_max.clamp(max=self.config.prompt_point_fallback_threshold)[..., None]
        # Candidates per row of pixels; the one row that holds the choice is looked at afterwards.
        per_row = ((masks >= high.unsqueeze(-1)) & columns.unsqueeze(-2)).sum(-1, dtype=torch.int32) * rows
        central = per_row.any(-1, keepdim=True)
        per_row = torch.where(central, per_row, (masks >= low.unsqueeze(-1)).sum(-1, dtype=torch.int32))
        ends = per_row.cumsum(-1, dtype=torch.int64)
        if ranks is None:
            count = ends[..., -1]
            if generator is None:
                ranks = torch.div(count, 2, rounding_mode="floor")
            else:
                draw = torch.rand(count.shape, generator=generator, device=generator.device).to(count.device)
                ranks = (draw * count).long().clamp(max=(count - 1).clamp(min=0))
        row = torch.searchsorted(ends, (ranks + 1).unsqueeze(-1)).clamp(max=height - 1)
        line = masks.gather(2, row.unsqueeze(-1).expand(-1, -1, -1, width)).squeeze(2)
        line = torch.where(central, (line >= high) & columns, line >= low)
        before = ends.gather(2, row) - per_row.gather(2, row)
        column = _select_by_rank(line, ranks.unsqueeze(-1) - before)
        return torch.cat(((column + 0.5) / width, (row + 0.5) / height), dim=-1)

    def sample_tokens(
        self,
        source: Tensor,
        temporal: Tensor,
        pixels: Tensor,
        valid: Tensor,
        points: Tensor,
        fallback: Tensor,
        prompt_frame_idx: Tensor,
        num_pixels: int,
        generator: torch.Generator | None = None,
        ranks: Tensor | None = None,
    ) -> UniVSVisualTokens:
        """R features and positions of `pixels (B, N, h * w)`, or of the point where there is no pixel.

        Args:
            source, temporal, prompt_frame_idx, generator: As in [`UniVSPromptEncoder.encode_masks`].
            pixels: `(B, N, h * w)` boolean, candidates.
            valid: `(B, N)` boolean; other prompts get zeros.
            points: `(B, N, 2)`, x and y in [0, 1].
            fallback: `(B, N, C)`, feature of a prompt without candidates.
            ranks: `(B, N, R)` int64, chosen candidates; a row of -1 for an even spread.
        """
        height, width = source.shape[-2:]
        count = pixels.sum(-1)
        spread = _spread_ranks(count, num_pixels)
        if ranks is not None:
            ranks = torch.where(ranks < 0, spread, ranks)
        elif generator is not None:
            ranks = _random_ranks(count, num_pixels, pixels.shape[-1], generator)
        else:
            ranks = spread
        index = _select_by_rank(pixels, ranks)

        batch = torch.arange(source.shape[0], device=source.device)[:, None, None]
        frame = prompt_frame_idx.unsqueeze(-1)
        # Channels lie last in memory, so this gathers whole rows.
        features = source.flatten(3).movedim(2, -1)[batch, frame, index]
        table = self.position_embedding.spatial(height, width, source.device)
        positions = table[index] + temporal[batch, frame]

        vanished = (count == 0)[..., None, None]
        features = torch.where(vanished, fallback.unsqueeze(2), features)
        positions = torch.where(
            vanished, self._point_positions(points, temporal, prompt_frame_idx).unsqueeze(2), positions
        )
        keep = valid[..., None, None]
        return UniVSVisualTokens(
            features=torch.where(keep, features, 0.0),
            positions=torch.where(keep, positions, 0.0).to(source.dtype),
            points=points,
        )

    def _point_positions(self, points: Tensor, temporal: Tensor, prompt_frame_idx: Tensor) -> Tensor:
        batch = torch.arange(points.shape[0], device=points.device)[:, None]
        return self.position_embedding.points(points) + temporal[batch, prompt_frame_idx]

    @staticmethod
    def sample_points(source: Tensor, points: Tensor, prompt_frame_idx: Tensor) -> Tensor:
        """Bilinear samples of `source (B, T, C, h, w)` at `points (B, N, 2)`, each in its frame -> `(B, N, C)`."""
        num_frames = source.shape[1]
        grid = (points * 2 - 1).to(source.dtype)[:, None].expand(-1, num_frames, -1, -1)
        samples = F.grid_sample(
            source.flatten(0, 1), grid.flatten(0, 1).unsqueeze(1), padding_mode="zeros", align_corners=False
        )
        samples = samples.squeeze(2).unflatten(0, (-1, num_frames)).movedim(2, -1)
        batch = torch.arange(points.shape[0], device=points.device)[:, None]
        prompt = torch.arange(points.shape[1], device=points.device)[None]
        return samples[batch, prompt_frame_idx, prompt]

    def compose_visual(
        self,
        clip_features: Tensor,
        clip_positions: Tensor,
        memory_features: Tensor,
        memory_positions: Tensor,
        content_positions: Tensor | None = None,
    ) -> UniVSPrompts:
        """Queries from the clip's own tokens, tokens from the memory (specification A.3.4 and A.3.7).

        Args:
            clip_features, clip_positions: `(B, N, T, R, C)`, the slots of the clip's frames.
            memory_features, memory_positions: `(B, N, L, C)`, the slots of the first appearance and of the last
                frames. All-zero tokens take part, as in the original.
            content_positions: `(B,)` boolean, videos whose query positions are the mean content instead of the mean
                position, as half of the videos have in training.
        """

        def mean(tokens: Tensor) -> Tensor:
            count = (tokens != 0).any(-1).sum(-1, keepdim=True).clamp(min=1)
            return (tokens.sum(-2) / count).transpose(1, 2)

        contents, positions = mean(clip_features), mean(clip_positions)
        if content_positions is not None:
            positions = torch.where(content_positions[:, None, None, None], contents, positions)
        return UniVSPrompts(
            queries=contents + self.visual_embed.weight[0],
            query_positions=positions,
            tokens=memory_features.unsqueeze(2),
            token_positions=memory_positions.unsqueeze(2),
        )

    # Text prompts --------------------------------------------------------------------------------------------------

    def _to_visual(self, text: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Text features `(B, M, D)` in visual space, per frame: `(B, T, M, C)`."""
        batch_size, num_frames = sources[0].shape[:2]
        states = self.text_projection(self.text_layer_norm(text.to(self.text_layer_norm.weight.dtype)))
        states = states.unsqueeze(1).expand(-1, num_frames, -1, -1)
        if not self.config.text_image_attention:
            return states
        pixels = torch.cat([source.flatten(3).movedim(2, -1) for source in sources], dim=2).flatten(0, 1)
        attention = self.text_image_attention
        query = attention.q_proj(states[:, 0]).unsqueeze(1).expand_as(states).flatten(0, 1)
        attended, _ = attention.attend(query, attention.k_proj(pixels), attention.v_proj(pixels))
        attended = attention.out_proj(attended).unflatten(0, (batch_size, num_frames))
        return self.text_image_layer_norm(states + attended)

    def encode_expressions(
        self, sources: Sequence[Tensor], word_features: Tensor, sentence_features: Tensor
    ) -> UniVSPrompts:
        """Expressions (specification A.3.5).

        Args:
            sources: Three maps `(B, T, C, h, w)` with the decoder's level embedding.
            word_features: `(B, N, words, D)`, of the bare expression, padding included.
            sentence_features: `(B, N, D)`, mean over the templates.
        """
        text = torch.cat((sentence_features.unsqueeze(2), word_features), dim=2)
        num_prompts, num_tokens = text.shape[1:3]
        tokens = self._to_visual(text.flatten(1, 2), sources).unflatten(2, (num_prompts, num_tokens))
        sentence = tokens[:, :, :, 0]
        return UniVSPrompts(
            queries=sentence + self.expression_embed.weight[0],
            query_positions=sentence,
            tokens=tokens.transpose(1, 2),
            sentence_features=sentence_features,
        )

    def encode_categories(self, sources: Sequence[Tensor], category_embeddings: Tensor) -> UniVSPrompts:
        """Category names as prompts (specification A.3.6).

        Args:
            sources: Three maps `(B, T, C, h, w)` with the decoder's level embedding.
            category_embeddings: `(B, N, D)`.
        """
        tokens = self._to_visual(category_embeddings, sources)
        return UniVSPrompts(
            queries=tokens + self.category_embed.weight[0],
            query_positions=tokens,
            tokens=tokens.transpose(1, 2).unsqueeze(3),
        )


# ---------------------------------------------------------------------------------------------------------------------
# Unified video mask decoder
# ---------------------------------------------------------------------------------------------------------------------


class UniVSMaskEmbedder(nn.Module):
    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Linear(config.hidden_dim, config.hidden_dim),
                nn.Linear(config.hidden_dim, config.hidden_dim),
                nn.Linear(config.hidden_dim, config.mask_feature_size),
            ]
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            hidden_states = F.relu(layer(hidden_states))
        return self.layers[-1](hidden_states)


class UniVSDecoderLayer(GradientCheckpointingLayer):
    """Prompt cross-attention, masked image cross-attention, separated self-attention, feed-forward; post-norm."""

    def __init__(self, config: UniVSConfig):
        super().__init__()
        channels, eps = config.hidden_dim, config.layer_norm_eps
        self.prompt_attn = UniVSAttention(config)
        self.prompt_attn_layer_norm = nn.LayerNorm(channels, eps=eps)
        self.cross_attn = UniVSAttention(config)
        self.cross_attn_layer_norm = nn.LayerNorm(channels, eps=eps)
        self.self_attn = UniVSAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(channels, eps=eps)
        self.fc1 = nn.Linear(channels, config.dim_feedforward)
        self.fc2 = nn.Linear(config.dim_feedforward, channels)
        self.final_layer_norm = nn.LayerNorm(channels, eps=eps)
        self.activation_fn = ACT2FN[config.activation_function]
        self.dropout = config.dropout

    def forward(
        self,
        hidden_states: Tensor,
        positions: Tensor,
        source: Tensor | None,
        source_positions: Tensor | None,
        cross_attention_mask: Tensor,
        num_learnable: int,
        self_attention_type: str,
        tokens: Tensor | None = None,
        token_positions: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        keys_values: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            hidden_states, positions: `(B, T, Q, C)`.
            source: `(B, T, h * w, C)`, the level's map with its level embedding; not read with `keys_values`.
            source_positions: `(B, T, h * w, C)`; not read with `keys_values`.
            cross_attention_mask: `(B, T, Q, h * w)` boolean, True where a query may look.
            num_learnable: Q_l.
            self_attention_type: See [`UniVSConfig`].
            tokens, token_positions: Prompt tokens, if this layer reads them; see [`UniVSPrompts`].
            prompt_mask: `(B, N)` boolean, False for padding of the batch.
            keys_values: What [`UniVSDecoderLayer.project_source`] gives, if it is known already.

        Returns:
            `(B, T, Q, C)` and the image cross-attention weights `(B * T, heads, Q, h * w)` or None.
        """
        if tokens is not None:
            learnable, prompts = hidden_states.split([num_learnable, hidden_states.shape[2] - num_learnable], dim=2)
            prompts = self.attend_prompts(prompts, positions[:, :, num_learnable:], tokens, token_positions)
            hidden_states = torch.cat((learnable, prompts), dim=2)

        batch_size = hidden_states.shape[0]
        attention = self.cross_attn
        query = attention.q_proj(hidden_states + positions).flatten(0, 1)
        key, value = self.project_source(source, source_positions) if keys_values is None else keys_values
        attended, weights = attention.attend(
            query, key.flatten(0, 1), value.flatten(0, 1), cross_attention_mask.flatten(0, 1).unsqueeze(1)
        )
        attended = self._drop(attention.out_proj(attended).unflatten(0, (batch_size, -1)))
        hidden_states = self.cross_attn_layer_norm(hidden_states + attended)

        attended = self._self_attention(hidden_states, positions, num_learnable, self_attention_type, prompt_mask)
        hidden_states = self.self_attn_layer_norm(hidden_states + self._drop(attended))

        update = self.fc2(self._drop(self.activation_fn(self.fc1(hidden_states))))
        return self.final_layer_norm(hidden_states + self._drop(update)), weights

    def project_source(self, source: Tensor, source_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `(B, T, h * w, C)` of the image cross-attention."""
        return self.cross_attn.k_proj(source + source_positions), self.cross_attn.v_proj(source)

    def _drop(self, states: Tensor) -> Tensor:
        return F.dropout(states, self.dropout, self.training)

    def attend_prompts(
        self, prompts: Tensor, positions: Tensor, tokens: Tensor, token_positions: Tensor | None
    ) -> Tensor:
        """Prompt cross-attention: each prompt query reads itself and its tokens, in each frame on its own.

        Args:
            prompts, positions: `(B, T, N, C)`; positions are used only if the tokens have some.
            tokens, token_positions: See [`UniVSPrompts`]. Tokens that are the same for all frames are projected once.

        Returns:
            `(B, T, N, C)`.
        """
        attention = self.prompt_attn
        batch_size, num_frames, num_prompts = prompts.shape[:3]
        sets, length = tokens.shape[2:4]
        group = num_frames // sets  # frames that share a set of tokens
        own = prompts.transpose(1, 2)
        own_query = own if token_positions is None else own + positions.transpose(1, 2)
        token_keys = tokens if token_positions is None else tokens + token_positions

        def grouped(states: Tensor) -> Tensor:
            return states.reshape(batch_size * num_prompts * sets, -1, states.shape[-1])

        query = grouped(attention.q_proj(own_query))
        key = torch.cat((grouped(attention.k_proj(token_keys)), grouped(attention.k_proj(own_query))), dim=1)
        value = torch.cat((grouped(attention.v_proj(tokens)), grouped(attention.v_proj(own))), dim=1)
        mask = None
        if group > 1:
            # Frame t sees the shared tokens and, of the prompt's own queries, only the one of frame t.
            mask = torch.cat(
                (
                    torch.ones(group, length, dtype=torch.bool, device=prompts.device),
                    torch.eye(group, dtype=torch.bool, device=prompts.device),
                ),
                dim=1,
            )[None, None]
        attended, _ = attention.attend(query, key, value, mask)
        attended = attention.out_proj(attended).reshape(batch_size, num_prompts, num_frames, -1).transpose(1, 2)
        return self.prompt_attn_layer_norm(prompts + self._drop(attended))

    def _self_attention(
        self,
        hidden_states: Tensor,
        positions: Tensor,
        num_learnable: int,
        self_attention_type: str,
        prompt_mask: Tensor | None,
    ) -> Tensor:
        """Self-attention over (query, frame) pairs in separate blocks: a mask of -inf would do the same work twice."""
        attention = self.self_attn
        batch_size, num_frames, num_queries, channels = hidden_states.shape
        num_prompts = num_queries - num_learnable
        queries = hidden_states + positions
        query, key, value = attention.q_proj(queries), attention.k_proj(queries), attention.v_proj(hidden_states)

        def attend(rows: slice, columns: slice, mask: Tensor | None = None) -> Tensor:
            output, _ = attention.attend(
                query[:, :, rows].flatten(1, 2),
                key[:, :, columns].flatten(1, 2),
                value[:, :, columns].flatten(1, 2),
                mask,
            )
            return output.unflatten(1, (num_frames, -1))

        def padding(num_before: int) -> Tensor | None:
            """Keeps padding prompts out of sight of everyone but themselves."""
            if prompt_mask is None:
                return None
            seen = F.pad(prompt_mask, (num_before, 0), value=True)
            seen = seen[:, None].expand(-1, num_frames, -1).flatten(1)
            itself = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
            return (seen[:, None] | itself)[:, None]

        learnable, prompts, everything = slice(0, num_learnable), slice(num_learnable, None), slice(None)
        if num_prompts == 0:
            output = attend(everything, everything)
        elif self_attention_type in ("none", "all"):
            output = attend(everything, everything, padding(num_learnable))
        else:
            parts = [attend(learnable, learnable)] if num_learnable else []
            if self_attention_type == "sep":
                parts.append(attend(prompts, prompts, padding(0)))
            elif self_attention_type == "sep-l2p":
                mask = padding(num_learnable)
                if mask is not None:
                    mask = mask.unflatten(2, (num_frames, num_queries))[:, :, :, num_learnable:].flatten(2, 3)
                parts.append(attend(prompts, everything, mask))
            else:
                states = [s[:, :, prompts].transpose(1, 2).flatten(0, 1) for s in (query, key, value)]
                blocked, _ = attention.attend(*states)
                parts.append(blocked.unflatten(0, (batch_size, num_prompts)).transpose(1, 2))
            output = torch.cat(parts, dim=2)
        return attention.out_proj(output)


class UniVSDecoder(nn.Module):
    """Unified video mask decoder (specification A.4)."""

    def __init__(self, config: UniVSConfig):
        super().__init__()
        self.config = config
        self.queries_features = nn.Embedding(config.num_queries, config.hidden_dim)
        self.queries_embedder = nn.Embedding(config.num_queries, config.hidden_dim)
        self.level_embed = nn.Embedding(config.num_feature_levels, config.hidden_dim)
        self.layers = nn.ModuleList([UniVSDecoderLayer(config) for _ in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_dim, eps=config.layer_norm_eps)
        self.mask_embedder = UniVSMaskEmbedder(config)
        self.position_embedding = UniVSSinePositionEmbedding(config)

    def add_level_embed(self, feature_map: Tensor, level: int) -> Tensor:
        """`(B, T, C, h, w)` plus the level's embedding."""
        return feature_map + self.level_embed.weight[level].view(-1, 1, 1)

    def forward(
        self,
        features: UniVSFrameFeatures,
        frame_idx: Tensor,
        prompts: UniVSPrompts | None = None,
        use_learnable_queries: bool = True,
        self_attention_type: str | None = None,
        output_auxiliary_logits: bool = False,
        output_hidden_states: bool | list[int] = False,
        output_attentions: bool = False,
        frame_permutations: Tensor | None = None,
    ) -> UniVSDecoderOutput:
        """See [`UniVSModel.decode_clip`]."""
        config = self.config
        batch_size, num_frames = features.mask_features.shape[:2]
        num_learnable = config.num_queries if use_learnable_queries else 0
        grounding = prompts is not None and prompts.sentence_features is not None
        blocks = config.self_attention_type if self_attention_type is None else self_attention_type
        if grounding and blocks not in ("none", "all"):
            blocks = "sep-blocked"

        cached = features.attention_keys is not None
        num_levels = len(features.multi_scale_features)
        sources = source_positions = [None] * num_levels
        if not cached:
            sources, source_positions = self.attention_sources(features, frame_idx)

        hidden_states, positions = [], []
        if use_learnable_queries:
            shape = (batch_size, num_frames, -1, -1)
            hidden_states.append(self.queries_features.weight.expand(shape))
            positions.append(self.queries_embedder.weight.expand(shape))
        tokens = token_positions = prompt_mask = None
        if prompts is not None:
            tokens, token_positions = prompts.tokens, prompts.token_positions
            if prompts.attention_mask is not None:
                prompt_mask = prompts.attention_mask.bool()
            states = self.layers[0].attend_prompts(prompts.queries, prompts.query_positions, tokens, token_positions)
            hidden_states.append(states)
            # From here on a prompt's position is what it read from its tokens.
            positions.append(states)
        hidden_states = torch.cat(hidden_states, dim=2)
        positions = torch.cat(positions, dim=2)

        total = len(self.layers) + 1
        permutations = [None] * total if frame_permutations is None else frame_permutations
        chosen = range(total) if isinstance(output_hidden_states, bool) else output_hidden_states
        kept_states = {index % total for index in ([chosen] if isinstance(chosen, int) else chosen)}
        all_states, all_attentions, auxiliary = [], [], []
        for index, layer in enumerate(self.layers):
            all_states.append(hidden_states if index in kept_states else None)
            level = index % num_levels
            mask_embeddings, query_embeddings, similarity = self.embed_masks(
                hidden_states, num_learnable, grounding, permutations[index]
            )
            if output_auxiliary_logits:
                masks = self.predict_masks(mask_embeddings, features.mask_features)
                auxiliary.append(
                    UniVSDecoderOutput(
                        query_embeddings=query_embeddings.transpose(1, 2),
                        masks_queries_logits=masks,
                        prompt_similarity=similarity,
                    )
                )
                logits = F.interpolate(
                    masks.detach().transpose(1, 2).flatten(0, 1),
                    size=features.multi_scale_features[level].shape[-2:],
                    mode="bilinear",
                    align_corners=False,
                )
                logits = logits.flatten(2).unflatten(0, (batch_size, num_frames))
            else:
                logits = torch.matmul(
                    mask_embeddings.detach(), features.attention_mask_features[level].detach().flatten(3)
                )
            visible = logits >= 0
            # A query that sees nothing looks everywhere.
            visible = visible | ~visible.any(-1, keepdim=True)

            hidden_states, weights = layer(
                hidden_states,
                positions,
                sources[level],
                source_positions[level],
                visible,
                num_learnable,
                blocks,
                tokens if index > 0 else None,
                token_positions if index > 0 else None,
                prompt_mask,
                (features.attention_keys[index], features.attention_values[index]) if cached else None,
            )
            if output_attentions and weights is not None:
                all_attentions.append(weights)
        all_states.append(hidden_states if len(self.layers) in kept_states else None)

        mask_embeddings, query_embeddings, similarity = self.embed_masks(
            hidden_states, num_learnable, grounding, permutations[-1]
        )
        return UniVSDecoderOutput(
            last_hidden_state=hidden_states,
            query_embeddings=query_embeddings.transpose(1, 2),
            masks_queries_logits=self.predict_masks(mask_embeddings, features.mask_features),
            prompt_similarity=similarity,
            auxiliary_outputs=tuple(auxiliary) if output_auxiliary_logits else None,
            hidden_states=None if output_hidden_states is False else tuple(all_states),
            attentions=tuple(all_attentions) if all_attentions else None,
        )

    def attention_sources(self, features: UniVSFrameFeatures, frame_idx: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the image cross-attention reads of each level, and its positions, both `(B, T, h * w, C)`."""
        dtype = self.layer_norm.weight.dtype
        temporal = self.position_embedding.temporal(frame_idx).unsqueeze(2)
        sources, positions = [], []
        for level, feature_map in enumerate(features.multi_scale_features):
            sources.append(feature_map.flatten(3).movedim(2, -1) + self.level_embed.weight[level])
            table = self.position_embedding.spatial(*feature_map.shape[-2:], feature_map.device)
            positions.append((table + temporal).to(dtype))
        return sources, positions

    def cache_attention(self, features: UniVSFrameFeatures, frame_idx: Tensor) -> UniVSFrameFeatures:
        """Adds the keys and values of every layer's image cross-attention to the features."""
        sources, positions = self.attention_sources(features, frame_idx)
        projected = [
            layer.project_source(sources[index % len(sources)], positions[index % len(sources)])
            for index, layer in enumerate(self.layers)
        ]
        keys, values = zip(*projected, strict=True)
        return UniVSFrameFeatures(**{**features, "attention_keys": keys, "attention_values": values})

    def embed_masks(
        self, hidden_states: Tensor, num_learnable: int, grounding: bool, frame_permutation: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Embeddings whose products with the mask features are mask logits.

        The masks of an expression are averaged with those of the learnable query most similar to it; masks are linear
        in these embeddings, so the embeddings are averaged. In training (`frame_permutation (B, T)`), the embeddings
        of a query change places among the frames instead, so that any of them must fit any frame.

        Returns:
            Mask embeddings `(B, T, Q, C)`, normalised queries `(B, T, Q, C)`, and for expressions the cosine of every
            query and expression, `(B, Q, N)`.
        """
        query_embeddings = self.layer_norm(hidden_states)
        mask_embeddings = self.mask_embedder(query_embeddings)
        if frame_permutation is not None:
            batch = torch.arange(len(frame_permutation), device=frame_permutation.device)[:, None]
            return mask_embeddings[batch, frame_permutation], query_embeddings, None
        if not grounding:
            return mask_embeddings, query_embeddings, None
        normalised = F.normalize(query_embeddings, dim=-1)
        similarity = torch.matmul(normalised, normalised[:, :, num_learnable:].transpose(-1, -2)).mean(1)
        if num_learnable:
            partner = similarity[:, :num_learnable].argmax(1)
            batch = torch.arange(partner.shape[0], device=partner.device)[:, None]
            partners = mask_embeddings.transpose(1, 2)[batch, partner].transpose(1, 2)
            prompts = (mask_embeddings[:, :, num_learnable:] + partners) / 2
            mask_embeddings = torch.cat((mask_embeddings[:, :, :num_learnable], prompts), dim=2)
        return mask_embeddings, query_embeddings, similarity

    @staticmethod
    def predict_masks(mask_embeddings: Tensor, mask_features: Tensor) -> Tensor:
        """`(B, T, Q, C)` and `(B, T, C, h, w)` -> mask logits `(B, Q, T, h, w)`."""
        logits = torch.matmul(mask_embeddings, mask_features.flatten(3))
        return logits.unflatten(-1, mask_features.shape[-2:]).transpose(1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


def _backbone_attn_implementation(config: UniVSConfig, attn_implementation: str) -> str:
    """What a backbone is asked for when the whole model is asked for `attn_implementation`."""
    backbone_class = AutoBackbone._model_mapping[type(config.backbone_config)]
    return attn_implementation if backbone_class._supports_attention_backend else "eager"


class UniVSPreTrainedModel(PackagedCheckpointMixin, PreTrainedModel):
    """Weight initialisation and loading of the UniVS models."""

    config: UniVSConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values_videos"
    input_modalities = ("video", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["UniVSPixelDecoderEncoderLayer", "UniVSDecoderLayer", "UniVSPromptEncoder"]
    # Sampling locations need more than 16 bits, and the original runs this module in float32 under autocast.
    _keep_in_fp32_modules_strict = ["pixel_decoder"]

    @classmethod
    def is_custom_code(cls) -> bool:
        """Custom code is taken to initialise weights in place, and then modules whose weights all lie in children are
        skipped; this model initialises through `transformers.initialization` as the library's own do.
        """
        return False

    def set_attn_implementation(self, attn_implementation: str | dict, **kwargs: bool) -> None:
        """As in transformers; a backbone that has no such attention (a convolutional one) keeps eager."""
        if isinstance(attn_implementation, str):
            attn_implementation = {
                "": attn_implementation,
                "backbone_config": _backbone_attn_implementation(self.config, attn_implementation),
                "text_config": attn_implementation,
            }
        super().set_attn_implementation(attn_implementation, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.init_std
        if isinstance(module, UniVSModel):
            # Batch norms of the backbone lie inside another model, which does not know this class.
            for norm in module.backbone.modules():
                if isinstance(norm, UniVSFrozenBatchNorm2d):
                    init.ones_(norm.weight)
                    init.zeros_(norm.bias)
                    init.zeros_(norm.running_mean)
                    init.ones_(norm.running_var)
        elif isinstance(module, UniVSPixelDecoder):
            init.normal_(module.level_embed, std=1.0)
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    init.kaiming_uniform_(conv.weight, a=1)
                    if conv.bias is not None:
                        init.zeros_(conv.bias)
        elif isinstance(module, UniVSDeformableAttention):
            init.zeros_(module.sampling_offsets.weight)
            angle = torch.arange(module.num_heads, dtype=torch.float32) * (2 * math.pi / module.num_heads)
            direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
            direction = direction / direction.abs().amax(-1, keepdim=True)
            reach = torch.arange(1, module.num_points + 1, dtype=torch.float32)
            offsets = direction[:, None, None] * reach[:, None]
            init.copy_(module.sampling_offsets.bias, offsets.expand(-1, module.num_levels, -1, -1).flatten())
            init.zeros_(module.attention_weights.weight)
            init.zeros_(module.attention_weights.bias)
            for linear in (module.value_proj, module.output_proj):
                init.xavier_uniform_(linear.weight)
                init.zeros_(linear.bias)
        elif isinstance(module, UniVSPixelDecoderEncoderLayer):
            for linear in (module.fc1, module.fc2):
                init.xavier_uniform_(linear.weight)
                init.zeros_(linear.bias)
        elif isinstance(module, UniVSAttention):
            for linear in (module.q_proj, module.k_proj, module.v_proj):
                init.xavier_uniform_(linear.weight, gain=self.config.init_xavier_std)
                init.zeros_(linear.bias)
            init.trunc_normal_(module.out_proj.weight, std=std)
            init.zeros_(module.out_proj.bias)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=1.0)
        elif isinstance(module, UniVSForVideoSegmentation):
            init.constant_(module.class_logit_scale, self.config.logit_scale_init_value)
            init.constant_(module.reid_logit_scale, self.config.logit_scale_init_value)
            if module.category_embeddings is not None:
                init.zeros_(module.category_embeddings)


class UniVSModel(UniVSPreTrainedModel):
    """Image encoder, prompt encoder and unified video mask decoder, without the classifier."""

    def __init__(self, config: UniVSConfig):
        super().__init__(config)
        implementation = config.backbone_config._attn_implementation
        if implementation is not None:
            config.backbone_config._attn_implementation = _backbone_attn_implementation(config, implementation)
        self.backbone = AutoBackbone.from_config(config=config.backbone_config)
        if config.freeze_backbone_batch_norm:
            _freeze_batch_norms(self.backbone)
        _make_activations_in_place(self.backbone)
        self.pixel_decoder = UniVSPixelDecoder(config, self.backbone.channels)
        self.text_encoder = CLIPTextModelWithProjection._from_config(config.text_config)
        self.prompt_encoder = UniVSPromptEncoder(config)
        self.decoder = UniVSDecoder(config)
        if config.freeze_text_encoder:
            self.text_encoder.requires_grad_(False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    # Frames --------------------------------------------------------------------------------------------------------

    def encode_frames(
        self, pixel_values_videos: Tensor, frame_idx: Tensor | None = None, cache_attention: bool = False
    ) -> UniVSFrameFeatures:
        """Backbone and pixel decoder: what the decoder needs of each frame, once per frame (specification A.1).

        Args:
            pixel_values_videos: `(B, T, 3, H, W)`, normalised; H and W divisible by 32.
            frame_idx: `(B, T)` int64, frame numbers in the video; 0..T-1 by default. Read with `cache_attention` only.
            cache_attention: Also project the keys and values of the decoder's image cross-attention, which pays where
                a frame is decoded in several clips. Not for `temporal_position_type="clip"`.

        Raises:
            ValueError: If the shape is not as said.
        """
        if pixel_values_videos.ndim != 5 or pixel_values_videos.shape[2] != 3:
            raise ValueError(
                "`pixel_values_videos` must be of shape (videos, frames, 3, height, width), got "
                f"{tuple(pixel_values_videos.shape)}."
            )
        batch_size, num_frames, _, height, width = pixel_values_videos.shape
        stride = self.config.feature_strides[-1]
        if height % stride or width % stride or not num_frames:
            raise ValueError(
                f"`pixel_values_videos` must hold frames whose height and width are divisible by {stride} "
                f"(pad at the bottom and right), got {num_frames} frame(s) of {height}x{width}."
            )
        if pixel_values_videos.device.type == "cpu" and not self.training and not torch.compiler.is_compiling():
            step = max(_CPU_PIXELS_PER_PASS // (batch_size * height * width), 1)
        else:
            step = num_frames
        parts = [self._encode_frames(part) for part in pixel_values_videos.split(step, dim=1)]
        features = UniVSFrameFeatures.cat(parts) if len(parts) > 1 else parts[0]
        if not cache_attention:
            return features
        if self.config.temporal_position_type != "absolute":
            raise ValueError("`cache_attention` needs `temporal_position_type='absolute'`: else keys change by clip.")
        return self.decoder.cache_attention(features, self._frame_idx(features, frame_idx))

    def _encode_frames(self, pixel_values_videos: Tensor) -> UniVSFrameFeatures:
        """Frames in one pass."""
        batch_size, num_frames = pixel_values_videos.shape[:2]
        dtype = self.decoder.layer_norm.weight.dtype
        pixels = pixel_values_videos.flatten(0, 1).to(dtype)
        mask_features, levels = self.pixel_decoder(self.backbone(pixels).feature_maps)

        def per_video(feature_map: Tensor) -> Tensor:
            return feature_map.to(dtype).unflatten(0, (batch_size, num_frames))

        return UniVSFrameFeatures(
            mask_features=per_video(mask_features),
            multi_scale_features=tuple(per_video(level) for level in levels),
            attention_mask_features=tuple(
                per_video(F.interpolate(mask_features, size=level.shape[-2:], mode="bilinear", align_corners=False))
                for level in levels
            ),
        )

    # Prompts -------------------------------------------------------------------------------------------------------

    def encode_text(self, input_ids: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """Text tower: word features of the first template, sentence feature averaged over the templates.

        Args:
            input_ids: `(N, templates, length)` int64.
            batch_size: Sentences that go through the tower at a time.

        Returns:
            Word features `(N, length, D)`, padding positions included, and sentence features `(N, D)`; neither is
            normalised (specification A.3.5).
        """
        if input_ids.ndim != 3:
            raise ValueError(f"`input_ids` must be of shape (texts, templates, length), got {tuple(input_ids.shape)}.")
        words = self.text_encoder.text_model(input_ids[:, 0]).last_hidden_state
        words = self.text_encoder.text_projection(words)
        # Attention is causal, so tokens behind the last end token cannot change a sentence feature.
        is_end = input_ids == self.config.text_config.eos_token_id
        position = torch.arange(1, input_ids.shape[-1] + 1, device=input_ids.device)
        length = int(torch.where(is_end, position, 1).amax()) if input_ids.numel() else 1
        flat = input_ids[..., :length].flatten(0, 1)
        sentences = [self.text_encoder(chunk).text_embeds for chunk in flat.split(batch_size)]
        return words, torch.cat(sentences).unflatten(0, input_ids.shape[:2]).mean(1)

    def encode_visual_prompts(
        self,
        features: UniVSFrameFeatures,
        frame_idx: Tensor | None = None,
        prompt_masks: Tensor | None = None,
        prompt_boxes: Tensor | None = None,
        prompt_points: Tensor | None = None,
        prompt_frame_idx: Tensor | None = None,
        num_prompt_pixels: int | None = None,
        generator: torch.Generator | None = None,
        mask_boxes: Tensor | None = None,
        point_ranks: Tensor | None = None,
        point_offsets: Tensor | None = None,
        pixel_ranks: Tensor | None = None,
    ) -> UniVSVisualTokens:
        """Samples the pixels of visual prompts, each on its key frame; deterministic without a `generator`.

        Args:
            features: Features of T frames.
            frame_idx: `(B, T)` int64, frame numbers in the video; 0..T-1 by default.
            prompt_masks: `(B, N_m, H, W)`, 0 or 1, in the padded size.
            prompt_boxes: `(B, N_b, 4)` xyxy, normalised by the padded size.
            prompt_points: `(B, N_p, 2)` xy, normalised by the padded size.
            prompt_frame_idx: `(B, N)` int64, position in 0..T-1 of each prompt's frame, in the order masks, boxes,
                points; 0 by default.
            num_prompt_pixels: R; the configuration's by default.
            generator: Draws the pixels at random, as the original does.
            mask_boxes, point_ranks, point_offsets, pixel_ranks: Recorded draws, see [`UniVSPromptEncoder`].

        Returns:
            Tokens `(B, N, R, C)` in the order masks, boxes, points.
        """
        given = [prompt for prompt in (prompt_masks, prompt_boxes, prompt_points) if prompt is not None]
        if not given:
            raise ValueError("One of `prompt_masks`, `prompt_boxes` or `prompt_points` must be given.")
        frame_idx = self._frame_idx(features, frame_idx)
        counts = [prompt.shape[1] for prompt in given]
        if prompt_frame_idx is None:
            prompt_frame_idx = frame_idx.new_zeros(frame_idx.shape[0], sum(counts))
        self._check_visual_prompts(features, prompt_masks, prompt_boxes, prompt_points, prompt_frame_idx, sum(counts))
        source = self.decoder.add_level_embed(
            features.multi_scale_features[-1], len(features.multi_scale_features) - 1
        )
        temporal = self.prompt_encoder.position_embedding.temporal(frame_idx)
        num_pixels = self.config.num_prompt_pixels if num_prompt_pixels is None else num_prompt_pixels

        frames = iter(prompt_frame_idx.split(counts, dim=1))
        ranks = iter([None] * len(counts) if pixel_ranks is None else pixel_ranks.split(counts, dim=1))
        encoder, parts = self.prompt_encoder, []
        if prompt_masks is not None:
            parts.append(
                encoder.encode_masks(
                    source,
                    temporal,
                    prompt_masks,
                    next(frames),
                    num_pixels,
                    generator,
                    mask_boxes,
                    point_ranks,
                    next(ranks),
                )
            )
        if prompt_boxes is not None:
            parts.append(
                encoder.encode_boxes(
                    source, temporal, prompt_boxes, next(frames), num_pixels, generator, point_offsets, next(ranks)
                )
            )
        if prompt_points is not None:
            parts.append(encoder.encode_points(source, temporal, prompt_points, next(frames), num_pixels))
        return UniVSVisualTokens(
            features=torch.cat([part.features for part in parts], dim=1),
            positions=torch.cat([part.positions for part in parts], dim=1),
            points=torch.cat([part.points for part in parts], dim=1),
        )

    def compose_visual_prompts(
        self,
        clip_features: Tensor,
        clip_positions: Tensor,
        memory_features: Tensor,
        memory_positions: Tensor,
        attention_mask: Tensor | None = None,
        content_positions: Tensor | None = None,
    ) -> UniVSPrompts:
        """Visual prompts from the memory; see [`UniVSPromptEncoder.compose_visual`]."""
        prompts = self.prompt_encoder.compose_visual(
            clip_features, clip_positions, memory_features, memory_positions, content_positions
        )
        prompts.attention_mask = attention_mask
        return prompts

    def compose_first_clip_prompts(
        self, tokens: UniVSVisualTokens, num_frames: int, attention_mask: Tensor | None = None
    ) -> UniVSPrompts:
        """Prompts of the first clip of a video: all its frames and the whole memory hold the tokens of the key frame.

        Args:
            tokens: Visual tokens of the prompts, one key frame each.
            num_frames: Frames of the clip.
            attention_mask: See [`UniVSPrompts`].
        """

        def repeat(states: Tensor, times: int) -> Tensor:
            return states.unsqueeze(2).expand(-1, -1, times, -1, -1)

        return self.compose_visual_prompts(
            repeat(tokens.features, num_frames),
            repeat(tokens.positions, num_frames),
            repeat(tokens.features, num_frames + 1).flatten(2, 3),
            repeat(tokens.positions, num_frames + 1).flatten(2, 3),
            attention_mask=attention_mask,
        )

    def encode_expressions(
        self,
        features: UniVSFrameFeatures,
        input_ids: Tensor | None = None,
        word_features: Tensor | None = None,
        sentence_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> UniVSPrompts:
        """Expression prompts of a clip, from token ids or from features of [`UniVSModel.encode_text`].

        Args:
            features: Features of the clip's frames.
            input_ids: `(B, N, templates, length)` int64.
            word_features: `(B, N, length, D)`.
            sentence_features: `(B, N, D)`.
            attention_mask: `(B, N)`, 0 for padding of the batch.
        """
        if input_ids is not None:
            words, sentences = self.encode_text(input_ids.flatten(0, 1))
            word_features = words.unflatten(0, input_ids.shape[:2])
            sentence_features = sentences.unflatten(0, input_ids.shape[:2])
        if word_features is None or sentence_features is None:
            raise ValueError("Give `input_ids`, or both `word_features` and `sentence_features`.")
        prompts = self.prompt_encoder.encode_expressions(self._sources(features), word_features, sentence_features)
        prompts.attention_mask = attention_mask
        return prompts

    def encode_categories(self, features: UniVSFrameFeatures, category_embeddings: Tensor) -> UniVSPrompts:
        """Category names as prompts of a clip, `category_embeddings (B, N, D)`.

        They have no influence on the learnable queries, so semantic segmentation does not need them.
        """
        return self.prompt_encoder.encode_categories(self._sources(features), category_embeddings)

    def _sources(self, features: UniVSFrameFeatures) -> list[Tensor]:
        """What prompts are encoded from: the three maps with the decoder's level embedding."""
        return [self.decoder.add_level_embed(level, i) for i, level in enumerate(features.multi_scale_features)]

    @staticmethod
    def _frame_idx(features: UniVSFrameFeatures, frame_idx: Tensor | None) -> Tensor:
        batch_size, num_frames = features.mask_features.shape[:2]
        if frame_idx is None:
            return torch.arange(num_frames, device=features.mask_features.device).expand(batch_size, -1)
        if tuple(frame_idx.shape) != (batch_size, num_frames):
            raise ValueError(
                f"`frame_idx` must be of shape {(batch_size, num_frames)} (videos, frames), got "
                f"{tuple(frame_idx.shape)}."
            )
        return frame_idx

    @staticmethod
    def _check_visual_prompts(
        features: UniVSFrameFeatures,
        prompt_masks: Tensor | None,
        prompt_boxes: Tensor | None,
        prompt_points: Tensor | None,
        prompt_frame_idx: Tensor,
        num_prompts: int,
    ) -> None:
        batch_size = features.mask_features.shape[0]
        height, width = features.frame_size
        for name, prompt, shape in (
            ("prompt_masks", prompt_masks, (batch_size, None, height, width)),
            ("prompt_boxes", prompt_boxes, (batch_size, None, 4)),
            ("prompt_points", prompt_points, (batch_size, None, 2)),
            ("prompt_frame_idx", prompt_frame_idx, (batch_size, num_prompts)),
        ):
            if prompt is not None and (
                prompt.ndim != len(shape)
                or any(size not in (None, given) for size, given in zip(shape, prompt.shape, strict=True))
            ):
                expected = ", ".join("prompts" if size is None else str(size) for size in shape)
                raise ValueError(f"`{name}` must be of shape ({expected}), got {tuple(prompt.shape)}.")

    # Clips ---------------------------------------------------------------------------------------------------------

    def decode_clip(
        self,
        features: UniVSFrameFeatures,
        frame_idx: Tensor | None = None,
        prompts: UniVSPrompts | None = None,
        use_learnable_queries: bool = True,
        self_attention_type: str | None = None,
        output_auxiliary_logits: bool = False,
        output_hidden_states: bool | list[int] = False,
        output_attentions: bool = False,
        frame_permutations: Tensor | None = None,
    ) -> UniVSDecoderOutput:
        """Decodes one clip. Without auxiliary outputs, only the last layer predicts masks at stride 4.

        Args:
            features: Features of the clip's T frames.
            frame_idx: `(B, T)` int64, frame numbers in the video; 0..T-1 by default.
            prompts: Prompt queries to decode beside the learnable ones.
            use_learnable_queries: Leave them out where nothing reads them (prompted tasks without expressions).
            self_attention_type: Overrides the configuration's.
            output_auxiliary_logits: Also predict before the first and after each layer.
            output_hidden_states, output_attentions: As in transformers.
            frame_permutations: `(layers + 1, B, T)` int64, training only: for each prediction, the frame whose query
                embedding predicts the mask of each frame.
        """
        if prompts is None and not use_learnable_queries:
            raise ValueError("`prompts` must be given when `use_learnable_queries` is False: there is no query.")
        return self.decoder(
            features,
            self._frame_idx(features, frame_idx),
            prompts=prompts,
            use_learnable_queries=use_learnable_queries,
            self_attention_type=self_attention_type,
            output_auxiliary_logits=output_auxiliary_logits,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            frame_permutations=frame_permutations,
        )

    def encode_prompts(
        self,
        features: UniVSFrameFeatures,
        frame_idx: Tensor | None = None,
        prompt_masks: Tensor | None = None,
        prompt_boxes: Tensor | None = None,
        prompt_points: Tensor | None = None,
        prompt_frame_idx: Tensor | None = None,
        prompt_obj_ids: Tensor | None = None,
        input_ids: Tensor | None = None,
        expression_attention_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> UniVSPrompts | None:
        """Prompts of a clip on its own, as the first clip of a video has them: every frame of the clip holds the
        prompts of their key frame, and so does the memory, once for the first appearance and once for each frame.
        """
        visual = any(prompt is not None for prompt in (prompt_masks, prompt_boxes, prompt_points))
        if visual and input_ids is not None:
            raise ValueError(
                "`input_ids` (expressions) and visual prompts are decoded in different ways and can't be given in one "
                "call; call the model once for each."
            )
        if input_ids is not None:
            return self.encode_expressions(features, input_ids=input_ids, attention_mask=expression_attention_mask)
        if not visual:
            return None
        tokens = self.encode_visual_prompts(
            features, frame_idx, prompt_masks, prompt_boxes, prompt_points, prompt_frame_idx, generator=generator
        )
        attention_mask = None if prompt_obj_ids is None else prompt_obj_ids > 0
        return self.compose_first_clip_prompts(tokens, features.num_frames, attention_mask)

    @can_return_tuple
    def forward(
        self,
        pixel_values_videos: Tensor,
        pixel_mask: Tensor | None = None,
        task: str | None = None,
        frame_idx: Tensor | None = None,
        prompt_masks: Tensor | None = None,
        prompt_boxes: Tensor | None = None,
        prompt_points: Tensor | None = None,
        prompt_frame_idx: Tensor | None = None,
        prompt_obj_ids: Tensor | None = None,
        input_ids: Tensor | None = None,
        expression_attention_mask: Tensor | None = None,
        original_sizes: Tensor | None = None,
        resized_sizes: Tensor | None = None,
        generator: torch.Generator | None = None,
        use_learnable_queries: bool = True,
        self_attention_type: str | None = None,
        output_auxiliary_logits: bool | None = None,
        output_hidden_states: bool | list[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> UniVSModelOutput:
        """Encodes the frames of a clip and decodes it with its prompts; see [`UniVSForVideoSegmentation.forward`]."""
        config = self.config
        if output_attentions is None:
            output_attentions = config.output_attentions
        if output_attentions and config._attn_implementation != "eager":
            logger.warning_once(
                "`output_attentions=True` gives no attentions with `attn_implementation="
                f"{config._attn_implementation!r}`: load the model with 'eager' or call "
                "`set_attn_implementation('eager')`."
            )
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        if output_auxiliary_logits is None:
            output_auxiliary_logits = config.output_auxiliary_logits or self.training
        if task is not None:
            if task not in TASK_PRESETS:
                raise ValueError(f"`task` must be None or one of {list(TASK_PRESETS)}, got {task!r}.")
            if self_attention_type is None:
                self_attention_type = TASK_PRESETS[task].get("self_attention_type")

        features = self.encode_frames(pixel_values_videos)
        prompts = self.encode_prompts(
            features,
            frame_idx,
            prompt_masks=prompt_masks,
            prompt_boxes=prompt_boxes,
            prompt_points=prompt_points,
            prompt_frame_idx=prompt_frame_idx,
            prompt_obj_ids=prompt_obj_ids,
            input_ids=input_ids,
            expression_attention_mask=expression_attention_mask,
            generator=generator,
        )
        decoded = self.decode_clip(
            features,
            frame_idx,
            prompts=prompts,
            use_learnable_queries=use_learnable_queries,
            self_attention_type=self_attention_type,
            output_auxiliary_logits=output_auxiliary_logits,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        return UniVSModelOutput(
            **decoded,
            mask_features=features.mask_features,
            multi_scale_features=features.multi_scale_features,
            sentence_features=None if prompts is None else prompts.sentence_features,
        )


class UniVSForVideoSegmentation(UniVSPreTrainedModel):
    """UniVS with its similarity classifier: masks, classes and embeddings of every query of a clip."""

    def __init__(self, config: UniVSConfig):
        super().__init__(config)
        self.model = UniVSModel(config)
        width = config.text_config.projection_dim
        self.visual_to_text_projection = nn.Linear(config.hidden_dim, width)
        self.class_logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.reid_logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        table = torch.zeros(config.num_category_embeddings, width) if config.num_category_embeddings else None
        self.register_buffer("category_embeddings", table)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def encode_frames(
        self, pixel_values_videos: Tensor, frame_idx: Tensor | None = None, cache_attention: bool = False
    ) -> UniVSFrameFeatures:
        """See [`UniVSModel.encode_frames`]."""
        return self.model.encode_frames(pixel_values_videos, frame_idx, cache_attention)

    def encode_text(self, input_ids: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """See [`UniVSModel.encode_text`]."""
        return self.model.encode_text(input_ids, batch_size)

    def encode_visual_prompts(
        self, features: UniVSFrameFeatures, *args: object, **kwargs: object
    ) -> UniVSVisualTokens:
        """See [`UniVSModel.encode_visual_prompts`]."""
        return self.model.encode_visual_prompts(features, *args, **kwargs)

    def compose_visual_prompts(self, *args: Tensor, **kwargs: Tensor) -> UniVSPrompts:
        """See [`UniVSModel.compose_visual_prompts`]."""
        return self.model.compose_visual_prompts(*args, **kwargs)

    def compose_first_clip_prompts(self, *args: Any, **kwargs: Any) -> UniVSPrompts:
        """See [`UniVSModel.compose_first_clip_prompts`]."""
        return self.model.compose_first_clip_prompts(*args, **kwargs)

    def encode_expressions(self, features: UniVSFrameFeatures, *args: Tensor, **kwargs: Tensor) -> UniVSPrompts:
        """See [`UniVSModel.encode_expressions`]."""
        return self.model.encode_expressions(features, *args, **kwargs)

    def encode_categories(self, features: UniVSFrameFeatures, category_embeddings: Tensor) -> UniVSPrompts:
        """See [`UniVSModel.encode_categories`]."""
        return self.model.encode_categories(features, category_embeddings)

    def classify(
        self,
        query_embeddings: Tensor,
        category_embeddings: Tensor | None = None,
        sentence_features: Tensor | None = None,
    ) -> Tensor | None:
        """Similarity classifier (specification A.4, heads).

        Args:
            query_embeddings: `(B, Q, T, C)`.
            category_embeddings: `(K, D)`; the checkpoint's table by default.
            sentence_features: `(B, N, D)`, of expressions; they are then classified instead of categories.

        Returns:
            Logits for a sigmoid, `(B, Q, K)`: cosine averaged over the frames, times the learned temperature; for
            expressions `(B, Q, N)`, products without a norm. None without categories.
        """
        if sentence_features is not None:
            states = self.visual_to_text_projection(query_embeddings).mean(2)
            return torch.matmul(states, sentence_features.to(states.dtype).transpose(1, 2))
        if category_embeddings is None:
            category_embeddings = self.category_embeddings
        if category_embeddings is None:
            return None
        states = F.normalize(self.visual_to_text_projection(query_embeddings), dim=-1).mean(2)
        categories = F.normalize(category_embeddings.to(states.dtype), dim=-1)
        return torch.matmul(states, categories.transpose(0, 1)) * self.class_logit_scale.exp()

    def decode_clip(
        self,
        features: UniVSFrameFeatures,
        frame_idx: Tensor | None = None,
        prompts: UniVSPrompts | None = None,
        category_embeddings: Tensor | None = None,
        use_learnable_queries: bool = True,
        self_attention_type: str | None = None,
        output_auxiliary_logits: bool = False,
        output_hidden_states: bool | list[int] = False,
        output_attentions: bool = False,
        frame_permutations: Tensor | None = None,
    ) -> UniVSForVideoSegmentationOutput:
        """Decodes one clip and classifies its queries; see [`UniVSModel.decode_clip`].

        Args:
            category_embeddings: `(K, D)`, the categories wanted; the checkpoint's whole table by default.
        """
        decoded = self.model.decode_clip(
            features,
            frame_idx,
            prompts=prompts,
            use_learnable_queries=use_learnable_queries,
            self_attention_type=self_attention_type,
            output_auxiliary_logits=output_auxiliary_logits,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            frame_permutations=frame_permutations,
        )
        sentences = None if prompts is None else prompts.sentence_features
        return self._predict(decoded, category_embeddings, sentences)

    def _predict(
        self, decoded: UniVSDecoderOutput, category_embeddings: Tensor | None, sentence_features: Tensor | None
    ) -> UniVSForVideoSegmentationOutput:
        def predictions(stage: UniVSDecoderOutput) -> dict[str, Tensor]:
            named = {
                "class_queries_logits": self.classify(stage.query_embeddings, category_embeddings, sentence_features),
                "masks_queries_logits": stage.masks_queries_logits,
                "query_embeddings": stage.query_embeddings,
                "prompt_similarity": stage.prompt_similarity,
            }
            return {name: value for name, value in named.items() if value is not None}

        auxiliary = decoded.auxiliary_outputs
        return UniVSForVideoSegmentationOutput(
            **predictions(decoded),
            auxiliary_logits=None if auxiliary is None else [predictions(stage) for stage in auxiliary],
            last_hidden_state=decoded.last_hidden_state,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
        )

    def propagate_in_video_iterator(
        self,
        inference_session: "UniVSInferenceSession",
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[dict[str, object]]:
        """Segments the video of a session, clip by clip, and yields the result of each frame once it is final.

        The video is read as results are asked for, no further ahead than a clip, and memory does not grow with its
        length. Prompts may be added while it runs, for frames whose results have not been given yet.

        Args:
            inference_session: A session with a video.
            start_frame_idx: First frame to visit; by default the first, or the last if `reverse`.
            max_frame_num_to_track: Frames to visit; by default all.
            reverse: Go back to the first frame instead of on to the last.

        Yields:
            `{"frame_idx": int, "segmentation": int32 tensor (H, W)}`, or `"masks": bool tensor (N, H, W)` for the
            tasks whose masks may overlap, with `"segments_info": [{"id", "label_id", "label", "score"}]`. Ids are
            stable over the video.

        Raises:
            ValueError: If the session is a live stream, lacks prompts or has none on the frames visited.
        """
        return inference_session.propagate(self, start_frame_idx, max_frame_num_to_track, reverse)

    def extract_features(
        self,
        video: object,
        processor: "UniVSProcessor | UniVSImageProcessor",
        compression_ratio: int = 32,
        temporal_compression: int = 1,
        num_frames: int | None = None,
    ) -> "Iterator[UniVSVideoFeatures]":
        """Object tokens and dense features of a whole video, for other models (specification B.9).

        The video is read as results are asked for and passes through in clips that lie side by side; memory does not
        grow with its length.

        Args:
            video: A path, a frame or list of frames, an array (T, H, W, C), or any iterable of frames.
            processor: Prepares the frames.
            compression_ratio: Pixels of the original frame per pixel of `mask_features`, along each side.
            temporal_compression: Features of every so many-th frame are given, from frame 0.
            num_frames: Frames of a clip, which see each other; the configuration's by default.

        Yields:
            [`UniVSVideoFeatures`] of the frames of one clip: `frame_idx (T,)`, `object_tokens (T, C, Q)`,
            `mask_features (T, C, H // ratio, W // ratio)` and `feature_map (T, C, Hp / 32, Wp / 32)`.

        Raises:
            ValueError: If the video holds no frame, its frames differ in size or are smaller than the ratio, or an
                argument is not positive.
        """
        # Reading files takes more than the network needs.
        from .feature_extraction_univs import extract_features

        image_processor = getattr(processor, "image_processor", processor)
        return extract_features(self, video, image_processor, compression_ratio, temporal_compression, num_frames)

    @can_return_tuple
    def forward(
        self,
        pixel_values_videos: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        task: str | None = None,
        frame_idx: Tensor | None = None,
        prompt_masks: Tensor | None = None,
        prompt_boxes: Tensor | None = None,
        prompt_points: Tensor | None = None,
        prompt_frame_idx: Tensor | None = None,
        prompt_obj_ids: Tensor | None = None,
        input_ids: Tensor | None = None,
        expression_attention_mask: Tensor | None = None,
        category_input_ids: Tensor | None = None,
        category_embeddings: Tensor | None = None,
        original_sizes: Tensor | None = None,
        resized_sizes: Tensor | None = None,
        mask_labels: Sequence[Tensor] | None = None,
        class_labels: Sequence[Tensor] | None = None,
        obj_ids: Sequence[Tensor] | None = None,
        prompt_kind: str | None = None,
        window_frames: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        use_learnable_queries: bool = True,
        self_attention_type: str | None = None,
        output_auxiliary_logits: bool | None = None,
        output_hidden_states: bool | list[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        inference_session: "UniVSInferenceSession | None" = None,
        frame: object = None,
    ) -> UniVSForVideoSegmentationOutput | list[dict[str, object]]:
        """Segments one clip of each video of the batch, or takes the next frame of a live stream.

        Args:
            pixel_values_videos: `(B, T, 3, H, W)`, normalised, padded at the bottom and right to multiples of 32.
            pixel_mask: `(B, H, W)`, 0 on padding. Not read: the published network attends to padding.
            task: One of the six tasks; sets the task's self-attention separation.
            frame_idx: `(B, T)` int64, frame numbers in the video; 0..T-1 by default.
            prompt_masks: `(B, N, H, W)`, object masks, 0 or 1.
            prompt_boxes: `(B, N, 4)` xyxy, normalised by the padded size.
            prompt_points: `(B, N, 2)` xy, normalised by the padded size.
            prompt_frame_idx: `(B, N)` int64, position in the clip of each visual prompt's frame.
            prompt_obj_ids: `(B, N)` int64, ids of the visual prompts; 0 for padding of the batch.
            input_ids: `(B, N, templates, length)` int64, tokens of expressions.
            expression_attention_mask: `(B, N)`, 0 for padding of the batch.
            category_input_ids: `(K, templates, length)` int64, tokens of the category names to classify.
            category_embeddings: `(K, D)`, their embeddings, if known; the checkpoint's table by default.
            original_sizes, resized_sizes: `(B, 2)`, for post-processing; not read.
            mask_labels: Per video `(N, T, H', W')` masks of its objects, not larger than the padded frames; the
                output then has a `loss`. Prompts are drawn from the labels, so no visual prompts may be given. With
                expressions (`input_ids`), row i is what expression i of the video describes.
            class_labels: Per video `(N,)` int64, index of the category among those classified, -1 if unknown.
            obj_ids: Per video `(N,)` int64, identity of each row; rows with the same number are the same object.
            prompt_kind: `"visual"` or `"category"`, what a batch with `class_labels` is prompted with; drawn by
                default with `config.visual_prompt_probability`.
            window_frames: Train on overlapping windows of so many frames of a longer video, where later windows
                remember prompts of earlier ones (stage 3); on the whole clip by default.
            generator: Draws the pixels of visual prompts at random, as the original does; deterministic without.
                With `mask_labels` every random choice comes from it; a sequence has one generator per video. By
                default they come from torch's own in training, and are always the same in evaluation mode.
            use_learnable_queries: Leave the learnable queries out if only prompts matter.
            self_attention_type: Overrides the configuration's and the task's.
            output_auxiliary_logits: Give every layer's predictions; always in training.
            output_hidden_states, output_attentions, return_dict: As in transformers.
            inference_session: A session of [`UniVSProcessor.init_video_session`]; nothing else but `frame` is read.
            frame: The next frame of the session's stream, an image of any kind that the processor takes.

        Returns:
            [`UniVSForVideoSegmentationOutput`]; for a session, the list of results that became final with this frame
            (dictionaries with `frame_idx`, `segmentation` or `masks`, and `segments_info`), often of an earlier frame.

        Example:
            ```python
            >>> inputs = processor(videos=frames, categories=["person", "ice"], return_tensors="pt")
            >>> outputs = model(**inputs)
            >>> outputs.masks_queries_logits.shape  # (videos, queries, frames, height / 4, width / 4)
            ```
        """
        if inference_session is not None:
            if frame is None:
                raise ValueError("`frame` must be given with `inference_session`.")
            return inference_session.step(self, frame)
        if pixel_values_videos is None:
            raise ValueError("`pixel_values_videos` must be given, or `inference_session` and `frame`.")
        if mask_labels is not None:
            if any(given is not None for given in (prompt_masks, prompt_boxes, prompt_points)):
                raise ValueError("With `mask_labels`, prompts are drawn from them, so visual prompts can't be given.")
            # The matching needs scipy, which the network alone does not.
            from .training_forward_univs import training_forward

            return training_forward(
                self,
                pixel_values_videos,
                mask_labels,
                class_labels,
                obj_ids,
                task=task,
                frame_idx=frame_idx,
                input_ids=input_ids,
                expression_attention_mask=expression_attention_mask,
                category_input_ids=category_input_ids,
                category_embeddings=category_embeddings,
                prompt_kind=prompt_kind,
                window_frames=window_frames,
                generator=generator,
            )
        if category_input_ids is not None:
            category_embeddings = self.encode_text(category_input_ids)[1]
        decoded = self.model(
            pixel_values_videos,
            task=task,
            frame_idx=frame_idx,
            prompt_masks=prompt_masks,
            prompt_boxes=prompt_boxes,
            prompt_points=prompt_points,
            prompt_frame_idx=prompt_frame_idx,
            prompt_obj_ids=prompt_obj_ids,
            input_ids=input_ids,
            expression_attention_mask=expression_attention_mask,
            generator=generator,
            use_learnable_queries=use_learnable_queries,
            self_attention_type=self_attention_type,
            output_auxiliary_logits=output_auxiliary_logits,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        return self._predict(decoded, category_embeddings, decoded.sentence_features)


__all__ = ["UniVSForVideoSegmentation", "UniVSModel", "UniVSPreTrainedModel"]
