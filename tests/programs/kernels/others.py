"""Graphs, physics, images and checksums, in plain NumPy."""

from __future__ import annotations

import numpy as np
from programs.kernels.kernel import Kernel

Array = np.ndarray
Rng = np.random.Generator


def floyd_warshall(path: Array) -> Array:
    """PolyBench floyd-warshall: all shortest paths of a directed graph, in place."""
    for k in range(path.shape[0]):
        path[:] = np.minimum(path, np.add.outer(path[:, k], path[k, :]))
    return path


def floyd_warshall_data(rng: Rng, size: int) -> tuple:
    path = rng.integers(1, 100, (size, size))
    path[rng.random((size, size)) < 0.6] = 9999  # no edge
    np.fill_diagonal(path, 0)
    return (path,)


def nussinov(sequence: Array) -> Array:
    """PolyBench nussinov: table of the most base pairs of an RNA strand, folded upon itself."""
    n = sequence.shape[0]
    table = np.zeros((n, n), dtype=np.int64)
    for i in range(n - 2, -1, -1):
        for j in range(i + 1, n):
            best = np.max(table[i, i:j] + table[i + 1 : j + 1, j])
            if j > i + 1 and sequence[i] + sequence[j] == 3:
                best = max(best, table[i + 1, j - 1] + 1)
            table[i, j] = best
    return table


def nussinov_data(rng: Rng, size: int) -> tuple:
    return (rng.integers(0, 4, size),)


def azimint_naive(data: Array, radius: Array, bins: int) -> Array:
    """NPBench azimint_naive: azimuthal integration, a mask for every ring of radii."""
    r_max = radius.max()
    result = np.zeros(bins)
    for i in range(bins):
        ring = (radius >= r_max * i / bins) & (radius < r_max * (i + 1) / bins)
        values = data[ring]
        if values.size > 0:
            result[i] = values.mean()
    return result


def azimint_naive_data(rng: Rng, size: int) -> tuple:
    return rng.random(size), rng.random(size), 40 if size > 1000 else 8


def azimint_hist(data: Array, radius: Array, bins: int) -> Array:
    """NPBench azimint_hist: azimuthal integration, a weighted histogram over a plain one."""
    counts, _ = np.histogram(radius, bins)
    sums, _ = np.histogram(radius, bins, weights=data)
    return sums / counts


def crc16(data: Array) -> int:
    """NPBench crc16: the CCITT cyclic redundancy check (X-25), bit by bit."""
    crc = 0xFFFF
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            if crc & 1:
                crc = (crc >> 1) ^ 0x8408
            else:
                crc >>= 1
    return crc ^ 0xFFFF


def crc16_data(rng: Rng, size: int) -> tuple:
    return (rng.integers(0, 256, size).astype(np.uint8),)


def go_fast(a: Array) -> Array:
    """Numba's first example: the sum of tanh over the diagonal, added to the matrix."""
    trace = 0.0
    for i in range(a.shape[0]):
        trace += np.tanh(a[i, i])
    return a + trace


def go_fast_data(rng: Rng, size: int) -> tuple:
    return (rng.random((size, size)),)


def compute(x: Array, y: Array, a: int, b: int, c: int) -> Array:
    """Cython's tutorial example: clip one array, and combine it with another."""
    return np.clip(x, 2, 10) * a + y * b + c


def compute_data(rng: Rng, size: int) -> tuple:
    shape = (size, size + size // 4)
    return rng.integers(0, 1000, shape), rng.integers(0, 1000, shape), 4, 3, 9


def arc_distance(theta_1: Array, phi_1: Array, theta_2: Array, phi_2: Array) -> Array:
    """Pythran's arc_distance: great-circle angles between pairs of points (haversine)."""
    half = (
        np.sin((theta_2 - theta_1) / 2) ** 2
        + np.cos(theta_1) * np.cos(theta_2) * np.sin((phi_2 - phi_1) / 2) ** 2
    )
    return 2 * np.arctan2(np.sqrt(half), np.sqrt(1 - half))


def arc_distance_data(rng: Rng, size: int) -> tuple:
    latitudes = rng.uniform(-1.5, 1.5, (2, size))
    longitudes = rng.uniform(-3.1, 3.1, (2, size))
    return latitudes[0], longitudes[0], latitudes[1], longitudes[1]


# ------------------------------------------------------------- mandelbrot


def mandelbrot_fixed(
    x_min: float, x_max: float, y_min: float, y_max: float, nx: int, ny: int, limit: int
) -> tuple[Array, Array]:
    """Mandelbrot set on a fixed grid: every point stepped, np.where keeps the escaped ones."""
    x = np.linspace(x_min, x_max, nx)
    y = np.linspace(y_min, y_max, ny)
    c = x + 1j * y[:, np.newaxis]
    z = np.zeros_like(c)
    counts = np.zeros(c.shape, dtype=np.int64)
    for _ in range(limit):
        inside = z.real * z.real + z.imag * z.imag <= 4.0
        counts += inside
        z = np.where(inside, z * z + c, z)
    return z, counts


def mandelbrot_masked(
    x_min: float, x_max: float, y_min: float, y_max: float, nx: int, ny: int, limit: int
) -> tuple[Array, Array]:
    """Mandelbrot set on a fixed grid, NPBench mandelbrot1: assignments under a mask."""
    x = np.linspace(x_min, x_max, nx)
    y = np.linspace(y_min, y_max, ny)
    c = x + 1j * y[:, np.newaxis]
    z = np.zeros_like(c)
    counts = np.zeros(c.shape, dtype=np.int64)
    for _ in range(limit):
        inside = np.abs(z) <= 2.0
        z[inside] = z[inside] ** 2 + c[inside]
        counts[inside] += 1
    return z, counts


def mandelbrot_shrinking(
    x_min: float, x_max: float, y_min: float, y_max: float, nx: int, ny: int, limit: int
) -> Array:
    """Mandelbrot set, NPBench mandelbrot2: the points still inside are packed at each step."""
    x = np.linspace(x_min, x_max, nx)
    y = np.linspace(y_min, y_max, ny)
    c = (x + 1j * y[:, np.newaxis]).ravel()
    z = np.zeros_like(c)
    where = np.arange(c.size)
    counts = np.full(c.size, limit)
    for step in range(1, limit):
        z = z * z + c
        inside = np.abs(z) <= 2.0
        counts[where[~inside]] = step
        where = where[inside]
        z = z[inside]
        c = c[inside]
        if where.size == 0:
            break
    return counts.reshape(ny, nx)


def mandelbrot_data(rng: Rng, size: int) -> tuple:
    shift = 0.1 * rng.random()
    limit = 60 if size > 50 else 20
    return -2.0 + shift, 0.6 + shift, -1.2, 1.3, size + size // 4, size, limit


# --------------------------------------------------------------- particles


def accelerations(position: Array, mass: Array, gravity: float, softening: float) -> Array:
    """Gravitational acceleration of every body, softened at short distances."""
    difference = position[np.newaxis, :, :] - position[:, np.newaxis, :]
    squares = np.sum(difference**2, axis=2) + softening**2
    weights = gravity * mass * squares**-1.5
    return np.sum(difference * weights[:, :, np.newaxis], axis=1)


def energies(
    position: Array, velocity: Array, mass: Array, gravity: float
) -> tuple[float, float]:
    """Kinetic and potential energy of the bodies."""
    kinetic = 0.5 * np.sum(mass[:, np.newaxis] * velocity**2)
    difference = position[np.newaxis, :, :] - position[:, np.newaxis, :]
    distance = np.sqrt(np.sum(difference**2, axis=2))
    np.fill_diagonal(distance, np.inf)
    potential = -0.5 * gravity * np.sum(np.outer(mass, mass) / distance)
    return kinetic, potential


def nbody(
    mass: Array,
    position: Array,
    velocity: Array,
    steps: int,
    dt: float,
    gravity: float,
    softening: float,
) -> tuple[Array, Array, Array, Array]:
    """NPBench nbody: gravitating bodies, leapfrog in kick-drift-kick form, with energies."""
    velocity -= np.sum(mass[:, np.newaxis] * velocity, axis=0) / np.sum(mass)
    kinetic = np.zeros(steps + 1)
    potential = np.zeros(steps + 1)
    kinetic[0], potential[0] = energies(position, velocity, mass, gravity)
    acceleration = accelerations(position, mass, gravity, softening)
    for step in range(steps):
        velocity += acceleration * dt / 2.0
        position += velocity * dt
        acceleration = accelerations(position, mass, gravity, softening)
        velocity += acceleration * dt / 2.0
        kinetic[step + 1], potential[step + 1] = energies(position, velocity, mass, gravity)
    return position, velocity, kinetic, potential


def nbody_data(rng: Rng, size: int) -> tuple:
    mass = 20.0 * rng.uniform(0.5, 1.5, size) / size
    position, velocity = rng.normal(size=(size, 3)), rng.normal(size=(size, 3))
    return mass, position, velocity, 10 if size > 50 else 4, 0.01, 1.0, 0.1


def lennard_jones(
    position: Array, box: float, cutoff: float, epsilon: float, sigma: float
) -> tuple[Array, float]:
    """Lennard-Jones forces and energy in a periodic box, all pairs by broadcasting."""
    difference = position[:, np.newaxis, :] - position[np.newaxis, :, :]
    difference -= box * np.round(difference / box)
    squares = np.sum(difference**2, axis=-1)
    np.fill_diagonal(squares, np.inf)
    inverse = np.where(squares < cutoff**2, sigma**2 / squares, 0.0) ** 3
    energy = 2.0 * epsilon * np.sum(inverse * (inverse - 1.0))
    scale = 24.0 * epsilon * inverse * (2.0 * inverse - 1.0) / squares
    return np.sum(scale[:, :, np.newaxis] * difference, axis=1), energy


def lennard_jones_rows(
    position: Array, box: float, cutoff: float, epsilon: float, sigma: float
) -> tuple[Array, float]:
    """Lennard-Jones forces and energy in a periodic box, one particle against those after."""
    n = position.shape[0]
    force = np.zeros_like(position)
    energy = 0.0
    for i in range(n - 1):
        difference = position[i] - position[i + 1 :]
        difference -= box * np.rint(difference / box)
        squares = np.sum(difference * difference, axis=1)
        inverse = np.where(squares < cutoff * cutoff, (sigma * sigma / squares) ** 3, 0.0)
        energy += 4.0 * epsilon * np.sum(inverse * inverse - inverse)
        scale = 24.0 * epsilon * (2.0 * inverse * inverse - inverse) / squares
        pair = scale[:, np.newaxis] * difference
        force[i] += np.sum(pair, axis=0)
        force[i + 1 :] -= pair
    return force, energy


def lennard_jones_data(rng: Rng, size: int) -> tuple:
    side = int(np.ceil(size ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:size]
    position = 1.2 * (lattice + 0.1 * rng.random((size, 3)))
    return position, 1.2 * side, 2.5 if side > 4 else 1.9, 1.0, 1.0


def scattering_self_energies(
    neighbours: Array, dH: Array, G: Array, D: Array, sigma: Array
) -> Array:
    """NPBench scattering_self_energies: electron-phonon self-energy of quantum transport."""
    momenta, energies_, atoms = G.shape[:3]
    q_points, frequencies = D.shape[:2]
    for k in range(momenta):
        for energy in range(energies_):
            for q in range(q_points):
                for w in range(min(frequencies, energy + 1)):
                    for i in range(dH.shape[2]):
                        for j in range(dH.shape[2]):
                            for a in range(atoms):
                                for b in range(neighbours.shape[1]):
                                    green = G[k - q, energy - w, neighbours[a, b]]
                                    phonon = dH[a, b, j] * D[q, w, a, b, i, j]
                                    sigma[k, energy, a] += green @ dH[a, b, i] @ phonon
    return sigma


def scattering_self_energies_data(rng: Rng, size: int) -> tuple:
    momenta, energies_, frequencies = 2, size, max(size // 2, 1)
    atoms, nearest, directions, orbitals = 3, 2, 2, max(size, 3)

    def draw(*shape: int) -> Array:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    return (
        rng.integers(0, atoms, (atoms, nearest)),
        draw(atoms, nearest, directions, orbitals, orbitals),
        draw(momenta, energies_, atoms, orbitals, orbitals),
        draw(momenta, frequencies, atoms, nearest, directions, directions),
        np.zeros((momenta, energies_, atoms, orbitals, orbitals), dtype=np.complex128),
    )


KERNELS = [
    Kernel("floyd_warshall", floyd_warshall, floyd_warshall_data, (200, 16), True),
    Kernel("nussinov", nussinov, nussinov_data, (130, 18), False),
    Kernel("azimint_naive", azimint_naive, azimint_naive_data, (100000, 200), False),
    Kernel("azimint_hist", azimint_hist, azimint_naive_data, (300000, 200), False),
    Kernel("crc16", crc16, crc16_data, (20000, 300), False),
    Kernel("go_fast", go_fast, go_fast_data, (2400, 20), False),
    Kernel("compute", compute, compute_data, (1500, 16), False),
    Kernel("arc_distance", arc_distance, arc_distance_data, (200000, 100), False),
    Kernel("mandelbrot_fixed", mandelbrot_fixed, mandelbrot_data, (160, 20), False),
    Kernel("mandelbrot_masked", mandelbrot_masked, mandelbrot_data, (160, 20), False),
    Kernel("mandelbrot_shrinking", mandelbrot_shrinking, mandelbrot_data, (200, 20), False),
    Kernel("nbody", nbody, nbody_data, (120, 8), True),
    Kernel("lennard_jones", lennard_jones, lennard_jones_data, (400, 27), False),
    Kernel("lennard_jones_rows", lennard_jones_rows, lennard_jones_data, (400, 27), False),
    Kernel(
        "scattering_self_energies",
        scattering_self_energies,
        scattering_self_energies_data,
        (8, 3),
        True,
    ),
]
