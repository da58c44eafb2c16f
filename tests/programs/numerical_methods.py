"""Numerical methods of a first course: roots, quadrature, ODEs, linear algebra, minimising."""

from __future__ import annotations

import math

import numpy as np
from programs.program import Program

# Roots of equations.


def horner(coefficients: np.ndarray, x: float) -> tuple[float, float]:
    value = 0.0
    slope = 0.0
    for c in coefficients:
        slope = slope * x + value
        value = value * x + c
    return value, slope


def newton_polynomial(
    coefficients: np.ndarray, starts: np.ndarray, tolerance: float = 1e-10
) -> tuple[np.ndarray, np.ndarray]:
    """Roots of a polynomial that Newton's method reaches from several starting points."""
    roots = np.full(len(starts), np.nan)
    steps = np.zeros(len(starts), dtype=int)
    for k, start in enumerate(starts):
        x = start
        for i in range(60):
            value, slope = horner(coefficients, x)
            if abs(slope) < 1e-14:
                break
            dx = value / slope
            x -= dx
            if abs(dx) < tolerance * max(1.0, abs(x)):
                roots[k] = x
                steps[k] = i + 1
                break
        else:
            steps[k] = -1
    return roots, steps


def _newton_data(rng: np.random.Generator, size: int) -> tuple:
    coefficients = np.poly(rng.uniform(-3, 3, 5))
    if rng.random() < 0.5:
        coefficients[-1] += 1.0
    return coefficients, rng.uniform(-4, 4, size)


def bisect_lambert(
    targets: np.ndarray, low: float, high: float, tolerance: float
) -> tuple[np.ndarray, int]:
    """Solves x * exp(x) = target by bisection, for each of the targets."""

    def f(x: float, target: float) -> float:
        return x * np.exp(x) - target

    answers = []
    evaluations = 0
    for target in targets:
        a, b = low, high
        fa, fb = f(a, target), f(b, target)
        evaluations += 2
        if fa * fb > 0:
            raise ValueError("the root is not bracketed")
        while b - a > tolerance:
            middle = 0.5 * (a + b)
            fm = f(middle, target)
            evaluations += 1
            if fm == 0:
                a = b = middle
            elif fa * fm < 0:
                b = middle
            else:
                a, fa = middle, fm
        answers.append((a + b) / 2)
    return np.array(answers), evaluations


def _bisect_data(rng: np.random.Generator, size: int) -> tuple:
    targets = rng.uniform(0, 20, size)
    if targets[0] > 11:
        targets[rng.integers(size)] = 80.0
    return targets, 0.0, 3.0, 10.0 ** -rng.integers(5, 11)


def kepler_secant(mean_anomalies: np.ndarray, eccentricity: float) -> dict[str, np.ndarray]:
    """Eccentric anomalies of an orbit: Kepler's equation by the secant method."""
    n = len(mean_anomalies)
    anomalies = np.empty(n)
    counts = np.zeros(n, dtype=np.int64)
    for i in range(n):
        m = mean_anomalies[i]
        x0 = m
        x1 = m + eccentricity if m < np.pi else m - eccentricity
        f0 = x0 - eccentricity * np.sin(x0) - m
        f1 = x1 - eccentricity * np.sin(x1) - m
        while abs(f1) > 1e-12 and counts[i] < 50:
            if f1 == f0:
                break
            x0, x1 = x1, x1 - f1 * (x1 - x0) / (f1 - f0)
            f0, f1 = f1, x1 - eccentricity * np.sin(x1) - m
            counts[i] += 1
        anomalies[i] = x1
    half = np.sqrt((1 + eccentricity) / (1 - eccentricity)) * np.tan(anomalies / 2)
    return {"eccentric": anomalies, "true": 2 * np.arctan(half), "steps": counts}


def _kepler_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.uniform(0.05, 2 * np.pi - 0.05, size), float(rng.uniform(0.1, 0.9))


# Quadrature.


def adaptive_simpson(
    centres: np.ndarray, widths: np.ndarray, a: float, b: float, tolerance: float
) -> tuple[float, int]:
    """Integral of a sum of Lorentz peaks by adaptive Simpson, with the calls counted."""
    calls = 0

    def f(x: float) -> float:
        nonlocal calls
        calls += 1
        return np.sum(widths / ((x - centres) ** 2 + widths**2))

    def simpson(fa: float, fm: float, fb: float, h: float) -> float:
        return h / 6 * (fa + 4 * fm + fb)

    def refine(
        a: float,
        b: float,
        fa: float,
        fm: float,
        fb: float,
        whole: float,
        eps: float,
        depth: int,
    ) -> float:
        m = (a + b) / 2
        flm, frm = f((a + m) / 2), f((m + b) / 2)
        left = simpson(fa, flm, fm, m - a)
        right = simpson(fm, frm, fb, b - m)
        delta = left + right - whole
        if depth <= 0 or abs(delta) <= 15 * eps:
            return left + right + delta / 15
        return refine(a, m, fa, flm, fm, left, eps / 2, depth - 1) + refine(
            m, b, fm, frm, fb, right, eps / 2, depth - 1
        )

    fa, fm, fb = f(a), f((a + b) / 2), f(b)
    total = refine(a, b, fa, fm, fb, simpson(fa, fm, fb, b - a), tolerance, 20)
    return float(total), calls


def _simpson_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.uniform(-2, 2, size), rng.uniform(0.1, 1.0, size), -3.0, 3.0, 1e-6


def romberg(amplitudes: np.ndarray, a: float, b: float, tolerance: float) -> tuple[float, int]:
    """Romberg integration of a sine series times a decaying exponential."""

    def f(x: np.ndarray) -> np.ndarray:
        total = np.zeros_like(x)
        for k, amplitude in enumerate(amplitudes, start=1):
            total += amplitude * np.sin(k * x)
        return np.exp(-0.3 * x) * total

    levels = 14
    table = np.zeros((levels, levels))
    h = b - a
    table[0, 0] = h / 2 * np.sum(f(np.array([a, b])))
    for i in range(1, levels):
        h /= 2
        new_points = a + h * np.arange(1, 2**i, 2)
        table[i, 0] = table[i - 1, 0] / 2 + h * f(new_points).sum()
        for j in range(1, i + 1):
            gain = (table[i, j - 1] - table[i - 1, j - 1]) / (4**j - 1)
            table[i, j] = table[i, j - 1] + gain
        if i > 2 and abs(table[i, i] - table[i - 1, i - 1]) < tolerance:
            return table[i, i], i
    raise RuntimeError("Romberg did not converge")


def _romberg_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.normal(size=size), 0.0, float(rng.uniform(1, 12)), 10.0 ** -rng.integers(4, 11)


# Differential equations.


def rk4_lotka_volterra(
    prey: float, predators: float, rates: np.ndarray, dt: float, max_steps: int
) -> tuple[np.ndarray, int]:
    """Predators and prey by RK4, until the prey have peaked twice or one of them dies out."""
    alpha, beta, delta, gamma = rates

    def slope(y: np.ndarray) -> np.ndarray:
        x, p = y
        return np.array([alpha * x - beta * x * p, delta * x * p - gamma * p])

    state = np.array([prey, predators])
    path = [state]
    peaks = 0
    rising = slope(state)[0] > 0
    for _ in range(max_steps):
        k1 = slope(state)
        k2 = slope(state + dt / 2 * k1)
        k3 = slope(state + dt / 2 * k2)
        k4 = slope(state + dt * k3)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(state)
        if np.any(state < 1e-3):
            break
        now_rising = state[0] > path[-2][0]
        if rising and not now_rising:
            peaks += 1
            if peaks == 2:
                break
        rising = now_rising
    return np.array(path), peaks


def _lotka_data(rng: np.random.Generator, size: int) -> tuple:
    rates = np.array([1.1, 0.4, 0.1, 0.4]) * rng.uniform(0.7, 1.4, 4)
    return float(rng.uniform(4, 12)), float(rng.uniform(1, 8)), rates, 0.05, size


FEHLBERG = np.array(
    [
        [0, 0, 0, 0, 0],
        [1 / 4, 0, 0, 0, 0],
        [3 / 32, 9 / 32, 0, 0, 0],
        [1932 / 2197, -7200 / 2197, 7296 / 2197, 0, 0],
        [439 / 216, -8, 3680 / 513, -845 / 4104, 0],
        [-8 / 27, 2, -3544 / 2565, 1859 / 4104, -11 / 40],
    ]
)
FEHLBERG4 = np.array([25 / 216, 0, 1408 / 2565, 2197 / 4104, -1 / 5, 0])
FEHLBERG5 = np.array([16 / 135, 0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55])


def rk45_van_der_pol(
    y0: np.ndarray, mu: float, t_end: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Van der Pol's oscillator by Runge-Kutta-Fehlberg steps of adapted length."""

    def f(y: np.ndarray) -> np.ndarray:
        return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])

    t, h = 0.0, 0.1
    y = y0.copy()
    times, states = [t], [y]
    rejected = 0
    while t < t_end:
        if t + h > t_end:
            h = t_end - t
        k = np.zeros((6, len(y)))
        for stage in range(6):
            k[stage] = f(y + h * (FEHLBERG[stage, :stage] @ k[:stage]))
        error = np.linalg.norm(h * (FEHLBERG5 - FEHLBERG4) @ k)
        if error <= tolerance:
            t += h
            y = y + h * (FEHLBERG5 @ k)
            times.append(t)
            states.append(y)
        else:
            rejected += 1
        factor = 0.9 * (tolerance / error) ** 0.2 if error > 0 else 2.0
        h *= min(2.0, max(0.2, factor))
        if h < 1e-9 and t < t_end:
            raise RuntimeError("step size too small")
    return np.array(times), np.array(states), rejected


def _rk45_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.normal(size=2) * 1.5, float(rng.uniform(0.2, 4)), float(size), 1e-4


# Systems of linear equations.


def jacobi(
    a: np.ndarray, b: np.ndarray, tolerance: float = 1e-9, max_iterations: int = 500
) -> tuple[np.ndarray, int, bool]:
    """Solves a linear system by Jacobi's iteration."""
    d = np.diag(a)
    if (d == 0).any():
        raise ValueError("zero on the diagonal")
    r = a - np.diagflat(d)
    x = np.zeros_like(b)
    converged = False
    iteration = 0
    while not converged and iteration < max_iterations:
        x_new = (b - r @ x) / d
        converged = bool(np.max(np.abs(x_new - x)) < tolerance)
        x = x_new
        iteration += 1
    return x, iteration, converged


def _dominant(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    a = rng.normal(size=(n, n))
    a += np.diag(np.abs(a).sum(axis=1) * rng.uniform(1.05, 2.0))
    return a, rng.normal(size=n)


def _jacobi_data(rng: np.random.Generator, size: int) -> tuple:
    a, b = _dominant(rng, size)
    if rng.random() < 0.3:
        a[size // 2, size // 2] = 0.0
    return a, b


def gauss_seidel_sor(
    a: np.ndarray, b: np.ndarray, x: np.ndarray, omega: float, tolerance: float
) -> int:
    """Improves x in place by successive over-relaxation and counts the sweeps."""
    n = len(b)
    for sweep in range(1, 201):
        largest = 0.0
        for i in range(n):
            sigma = 0.0
            for j in range(n):
                if j != i:
                    sigma += a[i, j] * x[j]
            change = omega * ((b[i] - sigma) / a[i, i] - x[i])
            x[i] += change
            largest = max(largest, abs(change))
        if largest < tolerance:
            return sweep
    return -1


def _sor_data(rng: np.random.Generator, size: int) -> tuple:
    a, b = _dominant(rng, size)
    return a, b, np.zeros(size), float(rng.uniform(0.9, 1.15)), 1e-8


def conjugate_gradient(
    a: np.ndarray, b: np.ndarray, tolerance: float
) -> tuple[np.ndarray, list[float]]:
    """Solves a symmetric positive definite system, and lists the norms of the residuals."""
    x = np.zeros(len(b))
    r = b - a @ x
    p = r.copy()
    rs = r @ r
    history = [float(np.sqrt(rs))]
    while history[-1] > tolerance:
        ap = a @ p
        curvature = p @ ap
        if curvature <= 0:
            raise np.linalg.LinAlgError("matrix is not positive definite")
        alpha = rs / curvature
        x += alpha * p
        r -= alpha * ap
        rs_new = r @ r
        p = r + (rs_new / rs) * p
        rs = rs_new
        history.append(float(np.sqrt(rs)))
        if len(history) > 10 * len(b):
            break
    return x, history


def _cg_data(rng: np.random.Generator, size: int) -> tuple:
    m = rng.normal(size=(size, size))
    # well-conditioned, or the last residuals are rounding errors of the first ones
    shift = -0.5 if rng.random() < 0.45 else 10.0 ** rng.uniform(0, 1)
    return m @ m.T / size + shift * np.eye(size), rng.normal(size=size), 1e-8


def power_iteration_deflated(
    a: np.ndarray, start: np.ndarray, how_many: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Leading eigenpairs of a symmetric matrix by power iteration and deflation."""
    a = a.copy()
    values, vectors, counts = [], [], []
    for _ in range(how_many):
        v = start / np.linalg.norm(start)
        value = 0.0
        count = 0
        while True:
            w = a @ v
            norm = np.linalg.norm(w)
            if norm == 0:
                break
            w /= norm
            new_value = w @ a @ w
            count += 1
            done = abs(new_value - value) < tolerance * abs(new_value)
            v, value = w, new_value
            if done or count >= 1000:
                break
        values.append(value)
        vectors.append(v)
        counts.append(count)
        a -= value * np.outer(v, v)
    return np.array(values), np.array(vectors).T, counts


def _power_data(rng: np.random.Generator, size: int) -> tuple:
    m = rng.normal(size=(size, size))
    return m @ m.T, rng.uniform(0.5, 1.0, size), 3, 1e-12


def lanczos(
    a: np.ndarray, start: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lanczos tridiagonalisation with full reorthogonalisation; stops at an invariant space."""
    n = a.shape[0]
    q = np.zeros((n, steps))
    alpha = np.zeros(steps)
    beta = np.zeros(steps)
    v = start / np.linalg.norm(start)
    size = steps
    for j in range(steps):
        q[:, j] = v
        w = a @ v
        alpha[j] = w @ v
        w -= alpha[j] * v
        if j > 0:
            w -= beta[j - 1] * q[:, j - 1]
        for k in range(j + 1):
            w -= (w @ q[:, k]) * q[:, k]
        beta[j] = np.linalg.norm(w)
        if beta[j] < 1e-10:
            size = j + 1
            break
        v = w / beta[j]
    off = beta[: size - 1]
    t = np.diag(alpha[:size]) + np.diag(off, 1) + np.diag(off, -1)
    return alpha[:size], off, np.linalg.eigvalsh(t)


def _lanczos_data(rng: np.random.Generator, size: int) -> tuple:
    rank = int(rng.integers(3, size))
    m = rng.normal(size=(size, rank))
    return m @ m.T, rng.normal(size=size), size


def thomas(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Solves a tridiagonal system by Thomas' algorithm, in the memory of its arguments."""
    n = len(diagonal)
    for i in range(1, n):
        if diagonal[i - 1] == 0:
            raise ZeroDivisionError("zero pivot")
        w = lower[i - 1] / diagonal[i - 1]
        diagonal[i] -= w * upper[i - 1]
        right[i] -= w * right[i - 1]
    x = np.zeros(n)
    x[-1] = right[-1] / diagonal[-1]
    for i in range(n - 2, -1, -1):
        x[i] = (right[i] - upper[i] * x[i + 1]) / diagonal[i]
    return x


def _thomas_data(rng: np.random.Generator, size: int) -> tuple:
    diagonal = rng.uniform(2.5, 4, size)
    if rng.random() < 0.3:
        diagonal[0] = 0.0
    lower, upper = rng.uniform(-1, 1, (2, size - 1))
    return lower, diagonal, upper, rng.normal(size=size)


def lu_solve(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Solves a system by LU with partial pivoting; also the permutation and determinant."""
    lu = np.array(a, dtype=float)
    n = lu.shape[0]
    if lu.shape != (n, n):
        raise ValueError("matrix must be square")
    order = np.arange(n)
    sign = 1.0
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(lu[k:, k])))
        if abs(lu[pivot, k]) < 1e-12:
            raise np.linalg.LinAlgError(f"singular matrix at column {k}")
        if pivot != k:
            lu[[k, pivot]] = lu[[pivot, k]]
            order[[k, pivot]] = order[[pivot, k]]
            sign = -sign
        for i in range(k + 1, n):
            lu[i, k] /= lu[k, k]
            lu[i, k + 1 :] -= lu[i, k] * lu[k, k + 1 :]
    y = b[order].astype(float)
    for i in range(n):
        y[i] -= lu[i, :i] @ y[:i]
    for i in reversed(range(n)):
        y[i] = (y[i] - lu[i, i + 1 :] @ y[i + 1 :]) / lu[i, i]
    return y, order, sign * float(np.prod(np.diag(lu)))


def _lu_data(rng: np.random.Generator, size: int) -> tuple:
    a = rng.integers(-5, 6, (size, size))
    if rng.random() < 0.35:
        a[size // 2] = 2 * a[0] - a[1]
    return a, rng.integers(-9, 10, size)


def cholesky_with_jitter(a: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Cholesky factor of a matrix, with more and more added to its diagonal until it works."""

    def factor(m: np.ndarray) -> np.ndarray:
        n = len(m)
        lower = np.zeros((n, n))
        for i in range(n):
            for j in range(i + 1):
                s = sum(lower[i, k] * lower[j, k] for k in range(j))
                if i == j:
                    if m[i, i] - s <= 0:
                        raise np.linalg.LinAlgError("not positive definite")
                    lower[i, i] = math.sqrt(m[i, i] - s)
                else:
                    lower[i, j] = (m[i, j] - s) / lower[j, j]
        return lower

    jitter = 0.0
    attempts = 0
    while True:
        attempts += 1
        try:
            lower = factor(a + jitter * np.eye(len(a)))
        except np.linalg.LinAlgError:
            jitter = 1e-3 if jitter == 0.0 else 10 * jitter
            if attempts > 12:
                raise
            continue
        return lower, jitter, attempts


def _cholesky_data(rng: np.random.Generator, size: int) -> tuple:
    m = rng.normal(size=(size, size))
    return (m @ m.T / size - rng.uniform(-0.1, 0.6) * np.eye(size),)


def householder_least_squares(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Least squares by Householder QR: solution, norm of the residual, and the rank."""
    r = a.astype(float).copy()
    y = b.astype(float).copy()
    m, n = r.shape
    assert m >= n, "more unknowns than equations"
    rank = 0
    for k in range(n):
        x = r[k:, k]
        norm = np.sqrt(np.sum(x**2))
        if norm < 1e-9:
            continue
        v = x.copy()
        v[0] += norm if x[0] >= 0 else -norm
        v /= np.linalg.norm(v)
        r[k:, k:] -= 2 * np.outer(v, v @ r[k:, k:])
        y[k:] -= 2 * v * (v @ y[k:])
        rank += 1
    solution = np.zeros(n)
    for i in range(n - 1, -1, -1):
        if abs(r[i, i]) < 1e-9:
            continue
        total = y[i]
        for j in range(i + 1, n):
            total -= r[i, j] * solution[j]
        solution[i] = total / r[i, i]
    return solution, float(np.linalg.norm(y[n:])), rank


def _householder_data(rng: np.random.Generator, size: int) -> tuple:
    a = rng.normal(size=(3 * size, size))
    if rng.random() < 0.5:
        a[:, -1] = 0.0
    return a, rng.normal(size=3 * size)


def jacobi_eigenvalues(a: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Eigenvalues of a symmetric matrix by cyclic Jacobi rotations."""
    a = a.copy()
    n = a.shape[0]
    rotations = 0
    for _sweep in range(30):
        off = np.sqrt(2 * np.sum(np.tril(a, -1) ** 2))
        if off < tolerance:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                if abs(a[p, q]) < tolerance / n**2:
                    continue
                theta = (a[q, q] - a[p, p]) / (2 * a[p, q])
                t = np.sign(theta) / (abs(theta) + np.sqrt(theta**2 + 1)) if theta else 1.0
                c = 1 / np.sqrt(t * t + 1)
                s = t * c
                row_p, row_q = a[p].copy(), a[q].copy()
                a[p], a[q] = c * row_p - s * row_q, s * row_p + c * row_q
                col_p, col_q = a[:, p].copy(), a[:, q].copy()
                a[:, p], a[:, q] = c * col_p - s * col_q, s * col_p + c * col_q
                rotations += 1
    else:
        raise RuntimeError("too many sweeps")
    return np.sort(np.diag(a)), rotations


def _jacobi_eigen_data(rng: np.random.Generator, size: int) -> tuple:
    m = rng.normal(size=(size, size))
    m[np.abs(m) < rng.uniform(0, 1.2)] = 0.0
    return m + m.T, 1e-6


# Minimising.


def nelder_mead(
    start: np.ndarray, a: float, b: float, tolerance: float
) -> tuple[np.ndarray, float, dict[str, int]]:
    """Minimum of Rosenbrock's function by Nelder and Mead's simplex, with its moves counted."""

    def f(p: np.ndarray) -> float:
        return float(np.sum(b * (p[1:] - p[:-1] ** 2) ** 2 + (a - p[:-1]) ** 2))

    n = len(start)
    simplex = [start.copy()]
    for i in range(n):
        corner = start.copy()
        corner[i] += 0.5
        simplex.append(corner)
    values = [f(p) for p in simplex]
    moves = {"reflect": 0, "expand": 0, "contract": 0, "shrink": 0}
    for _ in range(400):
        order = np.argsort(values)
        simplex = [simplex[i] for i in order]
        values = [values[i] for i in order]
        if values[-1] - values[0] < tolerance:
            break
        centre = sum(simplex[:-1]) / n
        reflected = centre + (centre - simplex[-1])
        fr = f(reflected)
        if values[0] <= fr < values[-2]:
            simplex[-1], values[-1] = reflected, fr
            moves["reflect"] += 1
        elif fr < values[0]:
            expanded = centre + 2 * (centre - simplex[-1])
            fe = f(expanded)
            if fe < fr:
                simplex[-1], values[-1] = expanded, fe
            else:
                simplex[-1], values[-1] = reflected, fr
            moves["expand"] += 1
        else:
            contracted = centre + 0.5 * (simplex[-1] - centre)
            fc = f(contracted)
            if fc < values[-1]:
                simplex[-1], values[-1] = contracted, fc
                moves["contract"] += 1
            else:
                for i in range(1, n + 1):
                    simplex[i] = simplex[0] + 0.5 * (simplex[i] - simplex[0])
                    values[i] = f(simplex[i])
                moves["shrink"] += 1
    best = int(np.argmin(values))
    return simplex[best], values[best], moves


def _nelder_mead_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.uniform(-2, 2, size), 1.0, float(rng.uniform(5, 50)), 1e-8


def newton_line_search(
    x: np.ndarray, max_steps: int = 50
) -> tuple[np.ndarray, np.ndarray, str]:
    """Broyden's tridiagonal equations by Newton steps with halving of the step."""

    def residual(x: np.ndarray) -> np.ndarray:
        padded = np.concatenate(([0.0], x, [0.0]))
        return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1

    def jacobian(x: np.ndarray) -> np.ndarray:
        n = x.size
        return np.diag(3 - 4 * x) - np.eye(n, k=-1) - 2 * np.eye(n, k=1)

    r = residual(x)
    lengths = []
    for _ in range(max_steps):
        norm = np.linalg.norm(r)
        if norm < 1e-10:
            return x, np.array(lengths), "converged"
        step = np.linalg.solve(jacobian(x), -r)
        length = 1.0
        while np.linalg.norm(residual(x + length * step)) > (1 - 1e-4 * length) * norm:
            length /= 2
            if length < 1e-6:
                return x, np.array(lengths), "stuck"
        x = x + length * step
        r = residual(x)
        lengths.append(length)
    return x, np.array(lengths), "too many steps"


PROGRAMS = [
    Program(newton_polynomial, _newton_data, sizes=(100, 57)),
    Program(bisect_lambert, _bisect_data, sizes=(160, 90), raises=True),
    Program(kepler_secant, _kepler_data, sizes=(400, 170)),
    Program(adaptive_simpson, _simpson_data, sizes=(4, 7)),
    Program(romberg, _romberg_data, sizes=(30, 50)),
    Program(rk4_lotka_volterra, _lotka_data, sizes=(600, 200)),
    Program(rk45_van_der_pol, _rk45_data, sizes=(20, 11)),
    Program(jacobi, _jacobi_data, sizes=(300, 180), raises=True),
    Program(gauss_seidel_sor, _sor_data, mutates=True, sizes=(24, 15)),
    Program(conjugate_gradient, _cg_data, sizes=(400, 250), raises=True),
    Program(power_iteration_deflated, _power_data, sizes=(20, 13)),
    Program(lanczos, _lanczos_data, sizes=(40, 21)),
    Program(thomas, _thomas_data, mutates=True, sizes=(1500, 700), raises=True),
    Program(lu_solve, _lu_data, sizes=(32, 19), raises=True),
    Program(cholesky_with_jitter, _cholesky_data, sizes=(22, 15)),
    Program(householder_least_squares, _householder_data, sizes=(50, 30)),
    Program(jacobi_eigenvalues, _jacobi_eigen_data, sizes=(10, 7)),
    Program(nelder_mead, _nelder_mead_data, sizes=(3, 2)),
    Program(newton_line_search, lambda rng, size: (rng.uniform(-4, 4, size),), sizes=(20, 12)),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
