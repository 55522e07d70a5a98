"""A GPT in the form of GPT-2: learned positions, pre-normalisation, tied embeddings, no biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class GPT(nn.Module):
    """Decoder-only transformer.

    Args:
        vocabulary: number of tokens.
        width: of the residual stream.
        num_layers: blocks.
        num_heads: attention heads; divides width.
        context: longest input.
    """

    def __init__(self, *, vocabulary: int, width: int, num_layers: int, num_heads: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:  # the residual stream keeps its scale with depth, as in GPT-2
            assert isinstance(block, _Block)
            nn.init.normal_(block.attend.weight, std=0.02 / (2 * num_layers) ** 0.5)
            nn.init.normal_(block.contract.weight, std=0.02 / (2 * num_layers) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores float [..., T, vocabulary] of the next token for tokens int64 [..., T]."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[-1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attend = nn.Linear(width, width, bias=False)
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.num_heads, -1)).movedim(-3, 0)
        q, k, v = heads.transpose(-2, -3)  # each [..., heads, T, width / heads]
        future = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.transpose(-2, -1)).mul(q.shape[-1] ** -0.5).masked_fill(future, -torch.inf)
        mixed = scores.softmax(-1) @ v  # written out: fused attention has no rule for vmap
        x = x + self.attend(mixed.transpose(-2, -3).flatten(-2))
        return x + self.contract(gelu(self.expand(self.norm_mlp(x))))
