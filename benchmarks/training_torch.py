"""The steps of training.py as users of torch write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
Loss = Callable[..., Tensor]


def mlp(p: Any, x: Tensor, y: Tensor) -> Tensor:
    for w, b in ((p[0], p[1]), (p[2], p[3])):
        x = F.relu(torch.addmm(b, x, w))
    return F.cross_entropy(torch.addmm(p[5], x, p[4]), y)


def cnn(p: Any, x: Tensor, y: Tensor) -> Tensor:
    for w, b in ((p[0], p[1]), (p[2], p[3])):
        x = F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2)
    flat = x.permute(0, 2, 3, 1).reshape(32, 7 * 7 * 32)
    return F.cross_entropy(torch.addmm(p[5], flat, p[4]), y)


def residual(p: Any, x: Tensor, y: Tensor) -> Tensor:
    start = x
    for w, scale, shift in ((p[0], p[1], p[2]), (p[3], p[4], p[5])):
        x = F.conv2d(x, w, padding=1)
        x = F.relu(F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5))
    return F.cross_entropy((start + x).mean((2, 3)) @ p[6], y)


def lstm(p: Any, x: Tensor, y: Tensor) -> Tensor:
    inner, outer, bias, last = p
    # torch's order of gates is i, f, g, o, too, its weights are transposed
    zeros = x.new_zeros(1, 32, 128)
    weights = [inner.T, outer.T, bias, torch.zeros_like(bias)]
    _, h, _ = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, False)
    return F.cross_entropy(h[0] @ last, y)


def transformer(p: Any, x: Tensor, y: Tensor) -> Tensor:
    qkv, out, first, first_b, second, second_b, s1, b1, s2, b2, last = p
    h = F.layer_norm(x, (256,), s1, b1, eps=1e-5) @ qkv
    q, k, v = h.reshape(8, 128, 3, 4, 64).permute(2, 0, 3, 1, 4)
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(8, 128, 256)
    x = x + h @ out
    h = F.layer_norm(x, (256,), s2, b2, eps=1e-5)
    h = F.gelu(h @ first + first_b, approximate="tanh")
    x = x + h @ second + second_b
    return F.cross_entropy((x @ last).reshape(-1, 50), y.reshape(-1, 50))


def logistic(p: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x @ p[0] + p[1], y)


def gaussian_process(p: Any, x: Tensor, y: Tensor) -> Tensor:
    scaled = x * torch.exp(p[0])
    squares = (scaled * scaled).sum(1)
    apart = squares[:, None] + squares - 2 * (scaled @ scaled.T)
    kernel = torch.exp(p[1]) * torch.exp(-0.5 * torch.clamp(apart, min=0))
    kernel = kernel + torch.exp(p[2]) * torch.eye(len(x))
    lower = torch.linalg.cholesky(kernel)
    whitened = torch.cholesky_solve(y[:, None], lower)[:, 0]
    return (0.5 * (y @ whitened) + torch.log(torch.diagonal(lower)).sum()) / len(x)


def _same(x: Tensor) -> Tensor:
    return x


def _channels_first(x: Tensor) -> Tensor:
    """Images [n, h, w, c] and filters [h, w, c, o] as torch has them; memory stays."""
    if x.ndim != 4:
        return x
    if x.shape[0] == 3:
        return x.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(2, 3, 1, 0) if x.ndim == 4 else x


def losses() -> dict[str, tuple[Loss, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """By name: the loss, what makes arguments of arrays, and what makes arrays of results."""
    plain = (mlp, lstm, transformer, logistic, gaussian_process)
    found: Any = {f.__name__: (f, _same, _same) for f in plain}
    return found | {f.__name__: (f, _channels_first, _channels_last) for f in (cnn, residual)}
