"""A GPT in the form of GPT-2: learned positions, pre-normalisation, tied embeddings, no biases.

Dropout masks are a function of a seed that comes with the batch, not draws from a generator: training repeats to the bit,
goes on bit for bit after an interruption, and devices may be batched or come one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class Size(NamedTuple):
    """Shape of a transformer: tokens, width of the residual stream, blocks, attention heads, longest input."""

    vocabulary: int
    width: int
    num_layers: int
    num_heads: int
    context: int


GPT2_SMALL = Size(vocabulary=50304, width=768, num_layers=12, num_heads=12, context=512)
"""GPT-2 small as in the paper: the vocabulary of 50,257 filled up, half of GPT-2's context; 123,980,544 parameters."""


class GPT(nn.Module):
    """Decoder-only transformer.

    Args:
        vocabulary: number of tokens.
        width: of the residual stream.
        num_layers: blocks.
        num_heads: attention heads; divides width.
        context: longest input.
        dropout: share of embeddings, attention weights and entries of the residual branches that training sets to zero.
    """

    def __init__(
        self, *, vocabulary: int, width: int, num_layers: int, num_heads: int, context: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.dropout = dropout
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, num_heads, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:  # the residual stream keeps its scale with depth, as in GPT-2
            assert isinstance(block, _Block)
            nn.init.normal_(block.attend.weight, std=0.02 / (2 * num_layers) ** 0.5)
            nn.init.normal_(block.contract.weight, std=0.02 / (2 * num_layers) ** 0.5)

    def forward(self, tokens: Tensor, seed: Tensor | None = None) -> Tensor:
        """Return scores float [..., T, vocabulary] of the next token.

        Args:
            tokens: int64 [..., T].
            seed: int64 [], fixes the dropout masks; needed in training with dropout > 0, unused otherwise.

        Raises:
            ValueError: training with dropout and no seed.
        """
        masks = None
        if self.training and self.dropout > 0:
            if seed is None:
                raise ValueError(f"seed must be given in training with dropout {self.dropout}; or call model.eval()")
            masks = _Masks(seed)
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[-1], device=tokens.device))
        x = _dropped(x, self.dropout, masks)
        for block in self.blocks:
            x = block(x, masks)
        return self.norm(x) @ self.tokens.weight.T


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attend = nn.Linear(width, width, bias=False)
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, masks: _Masks | None) -> Tensor:
        heads = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.num_heads, -1)).movedim(-3, 0)
        q, k, v = heads.transpose(-2, -3)  # each [..., heads, T, width / heads]
        future = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.transpose(-2, -1)).mul(q.shape[-1] ** -0.5).masked_fill(future, -torch.inf)
        mixed = _dropped(scores.softmax(-1), self.dropout, masks) @ v  # written out: fused attention has no rule for vmap
        x = x + _dropped(self.attend(mixed.transpose(-2, -3).flatten(-2)), self.dropout, masks)
        return x + _dropped(self.contract(gelu(self.expand(self.norm_mlp(x)))), self.dropout, masks)


def _dropped(x: Tensor, dropout: float, masks: _Masks | None) -> Tensor:
    """Zero a fraction of the entries and scale the others, so that the mean stays."""
    return x if masks is None else x * masks.kept(x, dropout) / (1 - dropout)


class _Masks:
    """The dropout masks of one forward pass, one after another.

    Entry i of mask number m is kept or not by the 32-bit finaliser of MurmurHash3 of i, m and the seed. Nothing is drawn
    and nothing is read back, and vmap over seeds gives each device the mask that it would get alone.
    """

    def __init__(self, seed: Tensor) -> None:
        self._seed, self._used = seed, 0

    def kept(self, x: Tensor, dropout: float) -> Tensor:
        """Return bool like x, true with probability 1 - dropout."""
        self._used += 1
        key = _mixed((self._seed + self._used * _GOLDEN).to(torch.int32))  # int64 wraps around
        index = torch.arange(x.numel(), dtype=torch.int32, device=x.device).mul_(_GOLDEN)
        uniform = _mixed(index ^ key)  # integers over [-2^31, 2^31)
        return (uniform <= round((1 - dropout) * 2**32) - 2**31 - 1).view(x.shape)


_GOLDEN = 0x1E3779B1  # odd, so that multiplication is a bijection of the 32-bit integers


def _mixed(value: Tensor) -> Tensor:
    """Permute the 32-bit integers, stored as int32, so that neighbours map to unrelated values."""
    value = (value ^ (value >> 16 & 0xFFFF)) * (0x85EBCA6B - 2**32)
    value = (value ^ (value >> 13 & 0x7FFFF)) * (0xC2B2AE35 - 2**32)
    return value ^ (value >> 16 & 0xFFFF)
