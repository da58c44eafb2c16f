"""torch: eager, or through torch.compile in its default mode, compiled anew for each size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from workloads import STEPS

from peers import Peer

Tensor = torch.Tensor


def chain(x: Tensor) -> Tensor:
    return 1.5 * x * x + 0.5 * x + 2


def black_scholes(
    price: Tensor, strike: Tensor, years: Tensor, rate: float, sigma: float
) -> tuple[Tensor, Tensor]:
    deviation = sigma * torch.sqrt(years)
    d1 = (torch.log(price / strike) + (rate + 0.5 * sigma * sigma) * years) / deviation
    d2 = d1 - deviation
    n1 = 0.5 + 0.5 * torch.erf(d1 * math.sqrt(0.5))
    n2 = 0.5 + 0.5 * torch.erf(d2 * math.sqrt(0.5))
    discounted = strike * torch.exp(-rate * years)
    return price * n1 - discounted * n2, discounted * (1 - n2) - price * (1 - n1)


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def sixty_ops(x: Tensor) -> Tensor:
    for scale, shift, offset in STEPS:
        x = torch.abs(x * scale + shift) - offset
        x = torch.clamp(x, -1.75, 1.75)
    return x


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, shift, eps=1e-5)


def logsumexp(x: Tensor) -> Tensor:
    return torch.logsumexp(x, dim=-1)


def standardize(x: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(x, dim=0, correction=0)
    return (x - mean) / deviation


def nearest(a: Tensor, b: Tensor) -> Tensor:
    apart = a[:, None, :] - b[None, :, :]
    return torch.amin(torch.sum(apart * apart, dim=-1), dim=1)


def stencil(x: Tensor) -> Tensor:
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return 0.25 * around - x[1:-1, 1:-1]


def transpose_add(x: Tensor, y: Tensor) -> Tensor:
    return x.T + y


def mlp(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> Tensor:
    h = torch.relu(torch.addmm(b1, x, w1))
    h = torch.relu(torch.addmm(b2, h, w2))
    return torch.softmax(torch.addmm(b3, h, w3), dim=-1)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # the fused call takes four dims: a batch of one; its own scale is 1 / sqrt(64)
    return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    chain,
    black_scholes,
    gelu,
    sixty_ops,
    softmax,
    layer_norm,
    logsumexp,
    standardize,
    nearest,
    stencil,
    transpose_add,
    mlp,
    attention,
)


def peer(compiled: bool) -> Peer:
    """Tensors in and out, without gradients."""
    torch.set_grad_enabled(False)
    functions = {f.__name__: f for f in FUNCTIONS}
    if compiled:
        functions = {n: torch.compile(f, dynamic=False) for n, f in functions.items()}
    return Peer(functions, give=torch.from_numpy)
