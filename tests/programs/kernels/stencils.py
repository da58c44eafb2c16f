"""Finite differences on grids: PolyBench stencils, weather and flow, in plain NumPy."""

from __future__ import annotations

import numpy as np
from programs.kernels.kernel import Kernel

Array = np.ndarray
Rng = np.random.Generator


def adi(steps: int, u: Array) -> Array:
    """PolyBench adi: alternating direction implicit solver of the 2-D heat equation."""
    n = u.shape[0]
    v = np.zeros_like(u)
    p = np.zeros_like(u)
    q = np.zeros_like(u)
    mul1 = 2.0 * n * n / steps
    mul2 = 1.0 * n * n / steps
    a, b = -0.5 * mul1, 1.0 + mul1
    d, e = -0.5 * mul2, 1.0 + mul2
    for _ in range(steps):
        # implicit along the columns: from u to v
        v[0, 1:-1] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = v[0, 1:-1]
        for j in range(1, n - 1):
            p[1:-1, j] = -a / (a * p[1:-1, j - 1] + b)
            q[1:-1, j] = (
                -d * u[j, :-2]
                + (1.0 + 2.0 * d) * u[j, 1:-1]
                - d * u[j, 2:]
                - a * q[1:-1, j - 1]
            ) / (a * p[1:-1, j - 1] + b)
        v[-1, 1:-1] = 1.0
        for j in range(n - 2, 0, -1):
            v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]
        # implicit along the rows: from v to u
        u[1:-1, 0] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = u[1:-1, 0]
        for j in range(1, n - 1):
            p[1:-1, j] = -d / (d * p[1:-1, j - 1] + e)
            q[1:-1, j] = (
                -a * v[:-2, j]
                + (1.0 + 2.0 * a) * v[1:-1, j]
                - a * v[2:, j]
                - d * q[1:-1, j - 1]
            ) / (d * p[1:-1, j - 1] + e)
        u[1:-1, -1] = 1.0
        for j in range(n - 2, 0, -1):
            u[1:-1, j] = p[1:-1, j] * u[1:-1, j + 1] + q[1:-1, j]
    return u


def adi_data(rng: Rng, size: int) -> tuple:
    return max(size // 10, 3), rng.random((size, size))


def fdtd_2d(ex: Array, ey: Array, hz: Array, source: Array) -> tuple[Array, Array, Array]:
    """PolyBench fdtd-2d: finite difference time domain (Yee) steps of Maxwell's equations."""
    for t in range(source.shape[0]):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return ex, ey, hz


def fdtd_2d_data(rng: Rng, size: int) -> tuple:
    shape = (size, size + size // 4)
    steps = max(size // 10, 4)
    return rng.random(shape), rng.random(shape), rng.random(shape), np.arange(steps) * 1.0


def heat_3d(steps: int, A: Array, B: Array) -> tuple[Array, Array]:
    """PolyBench heat-3d: explicit heat equation on a 3-D grid, two arrays in turn."""
    for _ in range(steps):
        B[1:-1, 1:-1, 1:-1] = (
            0.125 * (A[2:, 1:-1, 1:-1] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[:-2, 1:-1, 1:-1])
            + 0.125 * (A[1:-1, 2:, 1:-1] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[1:-1, :-2, 1:-1])
            + 0.125 * (A[1:-1, 1:-1, 2:] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[1:-1, 1:-1, :-2])
            + A[1:-1, 1:-1, 1:-1]
        )
        A[1:-1, 1:-1, 1:-1] = (
            0.125 * (B[2:, 1:-1, 1:-1] - 2.0 * B[1:-1, 1:-1, 1:-1] + B[:-2, 1:-1, 1:-1])
            + 0.125 * (B[1:-1, 2:, 1:-1] - 2.0 * B[1:-1, 1:-1, 1:-1] + B[1:-1, :-2, 1:-1])
            + 0.125 * (B[1:-1, 1:-1, 2:] - 2.0 * B[1:-1, 1:-1, 1:-1] + B[1:-1, 1:-1, :-2])
            + B[1:-1, 1:-1, 1:-1]
        )
    return A, B


def heat_3d_data(rng: Rng, size: int) -> tuple:
    A = rng.random((size, size + 1, size + 2))
    return max(size // 4, 3), A, A.copy()


def jacobi_1d(steps: int, A: Array, B: Array) -> tuple[Array, Array]:
    """PolyBench jacobi-1d: three-point mean in one dimension, two arrays in turn."""
    for _ in range(steps):
        B[1:-1] = (A[:-2] + A[1:-1] + A[2:]) / 3.0
        A[1:-1] = (B[:-2] + B[1:-1] + B[2:]) / 3.0
    return A, B


def jacobi_1d_data(rng: Rng, size: int) -> tuple:
    return max(size // 40, 3), rng.random(size), rng.random(size)


def jacobi_2d(steps: int, A: Array, B: Array) -> tuple[Array, Array]:
    """PolyBench jacobi-2d: five-point mean in two dimensions, two arrays in turn."""
    for _ in range(steps):
        B[1:-1, 1:-1] = 0.2 * (
            A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1]
        )
        A[1:-1, 1:-1] = 0.2 * (
            B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1]
        )
    return A, B


def jacobi_2d_data(rng: Rng, size: int) -> tuple:
    shape = (size, size + size // 4)
    return max(size // 10, 3), rng.random(shape), rng.random(shape)


def seidel_2d(steps: int, A: Array) -> Array:
    """PolyBench seidel-2d: nine-point Gauss-Seidel sweeps in place, in the order of memory."""
    for _ in range(steps):
        for i in range(1, A.shape[0] - 1):
            A[i, 1:-1] += (
                A[i - 1, :-2]
                + A[i - 1, 1:-1]
                + A[i - 1, 2:]
                + A[i, 2:]
                + A[i + 1, :-2]
                + A[i + 1, 1:-1]
                + A[i + 1, 2:]
            )
            for j in range(1, A.shape[1] - 1):
                A[i, j] = (A[i, j] + A[i, j - 1]) / 9.0
    return A


def seidel_2d_data(rng: Rng, size: int) -> tuple:
    return max(size // 20, 3), rng.random((size, size + size // 4))


def hdiff(field: Array, coefficients: Array) -> Array:
    """NPBench hdiff: flux-limited fourth-order horizontal diffusion of a weather model."""
    laplacian = 4.0 * field[1:-1, 1:-1] - (
        field[2:, 1:-1] + field[:-2, 1:-1] + field[1:-1, 2:] + field[1:-1, :-2]
    )
    flux_x = laplacian[1:, 1:-1] - laplacian[:-1, 1:-1]
    uphill = flux_x * (field[2:-1, 2:-2] - field[1:-2, 2:-2]) > 0.0
    flux_x = np.where(uphill, 0.0, flux_x)
    flux_y = laplacian[1:-1, 1:] - laplacian[1:-1, :-1]
    uphill = flux_y * (field[2:-2, 2:-1] - field[2:-2, 1:-2]) > 0.0
    flux_y = np.where(uphill, 0.0, flux_y)
    return field[2:-2, 2:-2] - coefficients * (
        flux_x[1:] - flux_x[:-1] + flux_y[:, 1:] - flux_y[:, :-1]
    )


def hdiff_data(rng: Rng, size: int) -> tuple:
    ni, nj, nk = size, size + size // 4, max(size // 3, 2)
    return rng.random((ni + 4, nj + 4, nk)), rng.random((ni, nj, nk))


def vadv(
    tendency_stage: Array,
    u_stage: Array,
    wcon: Array,
    u_pos: Array,
    tendency: Array,
    rate: float,
) -> Array:
    """NPBench vadv: implicit vertical advection, Thomas solver over the levels k."""
    levels = u_stage.shape[2]
    upper = np.empty_like(u_stage)
    right = np.empty_like(u_stage)
    for k in range(levels):
        right[:, :, k] = rate * u_pos[:, :, k] + tendency[:, :, k] + tendency_stage[:, :, k]
        diagonal = np.full(u_stage.shape[:2], rate)
        if k > 0:
            lower = -0.125 * (wcon[1:, :, k] + wcon[:-1, :, k])
            diagonal -= lower
            right[:, :, k] -= lower * (u_stage[:, :, k - 1] - u_stage[:, :, k])
        if k < levels - 1:
            upper[:, :, k] = 0.125 * (wcon[1:, :, k + 1] + wcon[:-1, :, k + 1])
            diagonal -= upper[:, :, k]
            right[:, :, k] -= upper[:, :, k] * (u_stage[:, :, k + 1] - u_stage[:, :, k])
        if k > 0:
            diagonal -= lower * upper[:, :, k - 1]
            right[:, :, k] -= lower * right[:, :, k - 1]
        if k < levels - 1:
            upper[:, :, k] /= diagonal
        right[:, :, k] /= diagonal
    solution = right[:, :, levels - 1]
    tendency_stage[:, :, levels - 1] = rate * (solution - u_pos[:, :, levels - 1])
    for k in range(levels - 2, -1, -1):
        solution = right[:, :, k] - upper[:, :, k] * solution
        tendency_stage[:, :, k] = rate * (solution - u_pos[:, :, k])
    return tendency_stage


def vadv_data(rng: Rng, size: int) -> tuple:
    ni, nj, nk = size, size + size // 4, max(size // 2, 4)
    shape = (ni, nj, nk)
    return (
        rng.random(shape),
        rng.random(shape),
        rng.uniform(-0.5, 0.5, (ni + 1, nj, nk)),
        rng.random(shape),
        rng.random(shape),
        1.5,
    )


# ------------------------------------------------------------------- flows


def cavity_source(b: Array, rho: float, dt: float, u: Array, v: Array, dx: float, dy: float):
    """Right side of the pressure equation: the divergence left over and the velocity terms."""
    u_x = (u[1:-1, 2:] - u[1:-1, :-2]) / (2.0 * dx)
    u_y = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2.0 * dy)
    v_x = (v[1:-1, 2:] - v[1:-1, :-2]) / (2.0 * dx)
    v_y = (v[2:, 1:-1] - v[:-2, 1:-1]) / (2.0 * dy)
    b[1:-1, 1:-1] = rho * ((u_x + v_y) / dt - u_x**2 - 2.0 * u_y * v_x - v_y**2)


def cavity_pressure(iterations: int, p: Array, dx: float, dy: float, b: Array):
    """Jacobi iterations of the pressure equation, in place on p."""
    for _ in range(iterations):
        old = p.copy()
        p[1:-1, 1:-1] = (
            (old[1:-1, 2:] + old[1:-1, :-2]) * dy**2
            + (old[2:, 1:-1] + old[:-2, 1:-1]) * dx**2
            - dx**2 * dy**2 * b[1:-1, 1:-1]
        ) / (2.0 * (dx**2 + dy**2))
        p[:, -1] = p[:, -2]
        p[0, :] = p[1, :]
        p[:, 0] = p[:, 1]
        p[-1, :] = 0.0


def cavity_flow(
    steps: int,
    iterations: int,
    u: Array,
    v: Array,
    p: Array,
    dt: float,
    dx: float,
    dy: float,
    rho: float,
    nu: float,
) -> tuple[Array, Array, Array]:
    """NPBench cavity_flow: incompressible Navier-Stokes in a box with a moving lid."""
    b = np.zeros_like(p)
    for _ in range(steps):
        cavity_source(b, rho, dt, u, v, dx, dy)
        cavity_pressure(iterations, p, dx, dy, b)
        un = u.copy()
        vn = v.copy()
        u[1:-1, 1:-1] = (
            un[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (un[1:-1, 1:-1] - un[1:-1, :-2])
            - vn[1:-1, 1:-1] * dt / dy * (un[1:-1, 1:-1] - un[:-2, 1:-1])
            - dt / (2.0 * rho * dx) * (p[1:-1, 2:] - p[1:-1, :-2])
            + nu * dt / dx**2 * (un[1:-1, 2:] - 2.0 * un[1:-1, 1:-1] + un[1:-1, :-2])
            + nu * dt / dy**2 * (un[2:, 1:-1] - 2.0 * un[1:-1, 1:-1] + un[:-2, 1:-1])
        )
        v[1:-1, 1:-1] = (
            vn[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (vn[1:-1, 1:-1] - vn[1:-1, :-2])
            - vn[1:-1, 1:-1] * dt / dy * (vn[1:-1, 1:-1] - vn[:-2, 1:-1])
            - dt / (2.0 * rho * dy) * (p[2:, 1:-1] - p[:-2, 1:-1])
            + nu * dt / dx**2 * (vn[1:-1, 2:] - 2.0 * vn[1:-1, 1:-1] + vn[1:-1, :-2])
            + nu * dt / dy**2 * (vn[2:, 1:-1] - 2.0 * vn[1:-1, 1:-1] + vn[:-2, 1:-1])
        )
        u[0, :] = 0.0
        u[:, 0] = 0.0
        u[:, -1] = 0.0
        u[-1, :] = 1.0
        v[0, :] = 0.0
        v[-1, :] = 0.0
        v[:, 0] = 0.0
        v[:, -1] = 0.0
    return u, v, p


def cavity_flow_data(rng: Rng, size: int) -> tuple:
    ny, nx = size, size + size // 4
    u, v, p = (0.1 * rng.random((ny, nx)) for _ in range(3))
    dx, dy = 2.0 / (nx - 1), 2.0 / (ny - 1)
    dt = 0.1 * min(dx, dy) ** 2
    return max(size // 3, 3), 10, u, v, p, dt, dx, dy, 1.0, 0.1


def _ahead(field: Array, dx: float) -> Array:
    """Central difference along the periodic direction, on the inner rows."""
    inner = field[1:-1]
    return (np.roll(inner, -1, axis=1) - np.roll(inner, 1, axis=1)) / (2.0 * dx)


def _advance(
    field: Array, u: Array, v: Array, dt: float, dx: float, dy: float, nu: float
) -> Array:
    """Upwind advection and diffusion of one velocity component, on the inner rows."""
    inner = field[1:-1]
    west, east = np.roll(inner, 1, axis=1), np.roll(inner, -1, axis=1)
    south, north = field[:-2], field[2:]
    return inner + dt * (
        -u[1:-1] * (inner - west) / dx
        - v[1:-1] * (inner - south) / dy
        + nu * ((east - 2.0 * inner + west) / dx**2 + (north - 2.0 * inner + south) / dy**2)
    )


def channel_flow(
    iterations: int,
    u: Array,
    v: Array,
    p: Array,
    dt: float,
    dx: float,
    dy: float,
    rho: float,
    nu: float,
    force: float,
    tolerance: float,
) -> tuple[Array, Array, Array, int]:
    """NPBench channel_flow: periodic Navier-Stokes channel, stepped until it is steady."""
    steps = 0
    change = 1.0
    while change > tolerance:
        u_x, v_x = _ahead(u, dx), _ahead(v, dx)
        u_y, v_y = (u[2:] - u[:-2]) / (2.0 * dy), (v[2:] - v[:-2]) / (2.0 * dy)
        b = rho * ((u_x + v_y) / dt - u_x**2 - 2.0 * u_y * v_x - v_y**2)
        for _ in range(iterations):
            inner = p[1:-1]
            p[1:-1] = (
                (np.roll(inner, -1, axis=1) + np.roll(inner, 1, axis=1)) * dy**2
                + (p[2:] + p[:-2]) * dx**2
                - b * dx**2 * dy**2
            ) / (2.0 * (dx**2 + dy**2))
            p[0] = p[1]
            p[-1] = p[-2]
        before = np.sum(u)
        u_next = _advance(u, u, v, dt, dx, dy, nu) - dt / rho * _ahead(p, dx) + force * dt
        v_next = _advance(v, u, v, dt, dx, dy, nu) - dt / rho * (p[2:] - p[:-2]) / (2.0 * dy)
        u[1:-1] = u_next
        v[1:-1] = v_next
        u[0] = u[-1] = 0.0
        v[0] = v[-1] = 0.0
        after = np.sum(u)
        change = abs(after - before) / abs(after)
        steps += 1
    return u, v, p, steps


def channel_flow_data(rng: Rng, size: int) -> tuple:
    ny, nx = size, size + size // 4
    v, p = (0.01 * rng.random((ny, nx)) for _ in range(2))
    dx, dy = 2.0 / nx, 2.0 / (ny - 1)
    dt = 0.2 * min(dx, dy) ** 2
    iterations, tolerance = (10, 0.025) if size > 20 else (5, 0.12)
    return iterations, np.zeros((ny, nx)), v, p, dt, dx, dy, 1.0, 0.1, 1.0, tolerance


KERNELS = [
    Kernel("adi", adi, adi_data, (100, 12), True),
    Kernel("fdtd_2d", fdtd_2d, fdtd_2d_data, (200, 12), True),
    Kernel("heat_3d", heat_3d, heat_3d_data, (40, 8), True),
    Kernel("jacobi_1d", jacobi_1d, jacobi_1d_data, (8000, 40), True),
    Kernel("jacobi_2d", jacobi_2d, jacobi_2d_data, (250, 12), True),
    Kernel("seidel_2d", seidel_2d, seidel_2d_data, (120, 14), True),
    Kernel("hdiff", hdiff, hdiff_data, (96, 8), False),
    Kernel("vadv", vadv, vadv_data, (80, 8), True),
    Kernel("cavity_flow", cavity_flow, cavity_flow_data, (80, 10), True),
    Kernel("channel_flow", channel_flow, channel_flow_data, (60, 10), True),
]
