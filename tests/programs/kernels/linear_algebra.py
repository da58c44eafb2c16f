"""Dense and sparse linear algebra, statistics and transforms, in plain NumPy."""

from __future__ import annotations

import numpy as np
from programs.kernels.kernel import Kernel

Array = np.ndarray
Rng = np.random.Generator


# ---------------------------------------------------------------- products


def gemm(alpha: float, beta: float, C: Array, A: Array, B: Array) -> Array:
    """PolyBench gemm: general matrix product C = alpha A B + beta C, in place on C."""
    C[:] = alpha * A @ B + beta * C
    return C


def gemm_data(rng: Rng, size: int) -> tuple:
    ni, nj, nk = size, size + size // 5, size + size // 3
    return 1.5, 1.2, rng.random((ni, nj)), rng.random((ni, nk)), rng.random((nk, nj))


def gesummv(alpha: float, beta: float, A: Array, B: Array, x: Array) -> Array:
    """PolyBench gesummv: summed matrix-vector products, alpha A x + beta B x."""
    return alpha * A @ x + beta * B @ x


def gesummv_data(rng: Rng, size: int) -> tuple:
    A, B = rng.random((size, size)), rng.random((size, size))
    return 1.5, 1.2, A, B, rng.random(size)


def atax(A: Array, x: Array) -> Array:
    """PolyBench atax: the transposed matrix times the matrix-vector product, A^T (A x)."""
    return (A @ x) @ A


def atax_data(rng: Rng, size: int) -> tuple:
    return rng.random((size, size + size // 4)), rng.random(size + size // 4)


def bicg(A: Array, p: Array, r: Array) -> tuple[Array, Array]:
    """PolyBench bicg: the two products of the BiCG method, A^T r and A p."""
    return r @ A, A @ p


def bicg_data(rng: Rng, size: int) -> tuple:
    rows = size + size // 4
    return rng.random((rows, size)), rng.random(size), rng.random(rows)


def mvt(x1: Array, x2: Array, y1: Array, y2: Array, A: Array) -> tuple[Array, Array]:
    """PolyBench mvt: x1 += A y1 and x2 += A^T y2, in place on both vectors."""
    x1 += A @ y1
    x2 += y2 @ A
    return x1, x2


def mvt_data(rng: Rng, size: int) -> tuple:
    vectors = [rng.random(size) for _ in range(4)]
    return *vectors, rng.random((size, size))


def symm(alpha: float, beta: float, C: Array, A: Array, B: Array) -> Array:
    """PolyBench symm: C = alpha A B + beta C, A symmetric and stored in its lower triangle."""
    for i in range(C.shape[0]):
        C[i] *= beta
        C[:i] += alpha * np.outer(A[i, :i], B[i])
        C[i] += alpha * (A[i, i] * B[i] + A[i, :i] @ B[:i])
    return C


def symm_data(rng: Rng, size: int) -> tuple:
    m, n = size, size + size // 4
    A = np.tril(rng.random((m, m)))
    A[np.triu_indices(m, 1)] = -999.0  # never to be read
    return 1.5, 1.2, rng.random((m, n)), A, rng.random((m, n))


def syrk(alpha: float, beta: float, C: Array, A: Array) -> Array:
    """PolyBench syrk: rank-k update C = alpha A A^T + beta C of the lower triangle."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        C[i, : i + 1] += alpha * (A[: i + 1] @ A[i])
    return C


def syrk_data(rng: Rng, size: int) -> tuple:
    return 1.5, 1.2, rng.random((size, size)), rng.random((size, size - size // 5))


def syr2k(alpha: float, beta: float, C: Array, A: Array, B: Array) -> Array:
    """PolyBench syr2k: rank-2k update C = alpha (A B^T + B A^T) + beta C, lower triangle."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * (A[: i + 1, k] * B[i, k] + B[: i + 1, k] * A[i, k])
    return C


def syr2k_data(rng: Rng, size: int) -> tuple:
    shape = (size, size - size // 5)
    return 1.5, 1.2, rng.random((size, size)), rng.random(shape), rng.random(shape)


def trmm(alpha: float, A: Array, B: Array) -> Array:
    """PolyBench trmm: B = alpha A^T B in place, A unit lower triangular."""
    for i in range(B.shape[0]):
        B[i] += A[i + 1 :, i] @ B[i + 1 :]
    B *= alpha
    return B


def trmm_data(rng: Rng, size: int) -> tuple:
    return 1.5, rng.random((size, size)), rng.random((size, size + size // 4))


def doitgen(A: Array, C4: Array) -> Array:
    """PolyBench doitgen: multiresolution analysis, A[r, q, p] = sum_s A[r, q, s] C4[s, p]."""
    for r in range(A.shape[0]):
        for q in range(A.shape[1]):
            A[r, q, :] = A[r, q, :] @ C4
    return A


def doitgen_data(rng: Rng, size: int) -> tuple:
    n_p = size + size // 3
    return rng.random((size, size - size // 4, n_p)), rng.random((n_p, n_p))


def spmv(rows: Array, columns: Array, values: Array, x: Array) -> Array:
    """Sparse matrix-vector product, the matrix in compressed sparse rows."""
    y = np.empty(rows.size - 1, dtype=values.dtype)
    for i in range(rows.size - 1):
        start, stop = rows[i], rows[i + 1]
        y[i] = values[start:stop] @ x[columns[start:stop]]
    return y


def spmv_data(rng: Rng, size: int) -> tuple:
    n_columns = size + size // 2
    counts = rng.integers(0, min(20, n_columns), size)  # some rows are empty
    rows = np.zeros(size + 1, dtype=np.int64)
    rows[1:] = np.cumsum(counts)
    columns = np.concatenate(
        [np.sort(rng.choice(n_columns, count, replace=False)) for count in counts]
    ).astype(np.int64)
    return rows, columns, rng.random(columns.size), rng.random(n_columns)


# ---------------------------------------------------- factorisations and solvers


def _dominant(rng: Rng, size: int) -> Array:
    return rng.random((size, size)) + size * np.eye(size)


def _positive_definite(rng: Rng, size: int) -> Array:
    B = rng.random((size, size))
    return B @ B.T + size * np.eye(size)


def cholesky(A: Array) -> Array:
    """PolyBench cholesky: A = L L^T, L in place in the lower triangle, row by row."""
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] -= np.dot(A[i, :j], A[j, :j])
            A[i, j] /= A[j, j]
        A[i, i] = np.sqrt(A[i, i] - np.dot(A[i, :i], A[i, :i]))
    return A


def cholesky_data(rng: Rng, size: int) -> tuple:
    return (_positive_definite(rng, size),)


def cholesky2(A: Array) -> Array:
    """NPBench cholesky2: the library's Cholesky factor, the upper triangle left as it was."""
    A[:] = np.linalg.cholesky(A) + np.triu(A, k=1)
    return A


def lu(A: Array) -> Array:
    """PolyBench lu: LU decomposition without pivoting, both factors in place of A."""
    n = A.shape[0]
    for i in range(n):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
        A[i, i:] -= A[i, :i] @ A[:i, i:]
    return A


def lu_data(rng: Rng, size: int) -> tuple:
    return (_dominant(rng, size),)


def ludcmp(A: Array, b: Array) -> tuple[Array, Array, Array]:
    """PolyBench ludcmp: solve A x = b by LU decomposition, forward and back substitution."""
    n = A.shape[0]
    for k in range(n - 1):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    y = np.zeros_like(b)
    for i in range(n):
        y[i] = b[i] - A[i, :i] @ y[:i]
    x = np.zeros_like(b)
    for i in range(n - 1, -1, -1):
        x[i] = (y[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return A, x, y


def ludcmp_data(rng: Rng, size: int) -> tuple:
    return _dominant(rng, size), rng.random(size)


def trisolv(L: Array, x: Array, b: Array) -> Array:
    """PolyBench trisolv: forward substitution for L x = b, x written in place."""
    for i in range(x.shape[0]):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x


def trisolv_data(rng: Rng, size: int) -> tuple:
    return _dominant(rng, size), np.zeros(size), rng.random(size)


def gramschmidt(A: Array) -> tuple[Array, Array]:
    """PolyBench gramschmidt: QR decomposition, modified Gram-Schmidt, A is overwritten."""
    Q = np.zeros_like(A)
    R = np.zeros((A.shape[1], A.shape[1]), dtype=A.dtype)
    for k in range(A.shape[1]):
        R[k, k] = np.sqrt(np.dot(A[:, k], A[:, k]))
        Q[:, k] = A[:, k] / R[k, k]
        for j in range(k + 1, A.shape[1]):
            R[k, j] = np.dot(Q[:, k], A[:, j])
            A[:, j] -= Q[:, k] * R[k, j]
    return Q, R


def gramschmidt_data(rng: Rng, size: int) -> tuple:
    A = rng.random((size + size // 4, size))
    A[:size] += np.eye(size)
    return (A,)


def durbin(r: Array) -> Array:
    """PolyBench durbin: Levinson-Durbin recursion for the Yule-Walker system T y = -r."""
    y = np.empty_like(r)
    y[0] = alpha = -r[0]
    beta = 1.0
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


def durbin_data(rng: Rng, size: int) -> tuple:
    return (0.7 * rng.uniform(-1.0, 1.0, size) / (np.arange(size) + 2.0) ** 2,)


def contour_integral(
    hamiltonian: Array, points: Array, Y: Array, slab_per_bc: int
) -> tuple[Array, Array]:
    """NPBench contour_integral: moments of the resolvent of a polynomial eigenproblem."""
    P0 = np.zeros(Y.shape, dtype=np.complex128)
    P1 = np.zeros(Y.shape, dtype=np.complex128)
    for z in points:
        T = np.zeros(hamiltonian.shape[1:], dtype=np.complex128)
        for n in range(slab_per_bc + 1):
            T += z ** (slab_per_bc / 2 - n) * hamiltonian[n]
        X = np.linalg.solve(T, Y)
        if abs(z) < 1.0:
            X = -X
        P0 += X
        P1 += z * X
    return P0, P1


def contour_integral_data(rng: Rng, size: int) -> tuple:
    slab_per_bc = 2
    shape = (slab_per_bc + 1, size, size)
    hamiltonian = rng.random(shape) + 1j * rng.random(shape)
    hamiltonian[1] += 3.0 * size * np.eye(size)
    angles = 2.0 * np.pi * (np.arange(16) + 0.5) / 16
    radii = np.where(np.arange(16) % 2 == 0, 1.25, 0.8)
    columns = max(size // 2, 1)
    Y = rng.random((size, columns)) + 1j * rng.random((size, columns))
    return hamiltonian, radii * np.exp(1j * angles), Y, slab_per_bc


# ------------------------------------------------------------- statistics


def correlation(data: Array) -> Array:
    """PolyBench correlation: correlation matrix of the columns, data standardised in place."""
    n, m = data.shape
    mean = np.mean(data, axis=0)
    stddev = np.std(data, axis=0)
    stddev[stddev <= 0.1] = 1.0
    data -= mean
    data /= np.sqrt(n) * stddev
    corr = np.eye(m, dtype=data.dtype)
    for i in range(m - 1):
        corr[i + 1 :, i] = corr[i, i + 1 :] = data[:, i] @ data[:, i + 1 :]
    return corr


def correlation_data(rng: Rng, size: int) -> tuple:
    data = rng.normal(1.0, 2.0, (size + size // 3, size))
    data[:, 1] = 0.25  # one column with no spread
    return (data,)


def covariance(data: Array) -> Array:
    """PolyBench covariance: covariance matrix of the columns, data centred in place."""
    n, m = data.shape
    data -= np.mean(data, axis=0)
    cov = np.zeros((m, m), dtype=data.dtype)
    for i in range(m):
        cov[i, i:] = data[:, i] @ data[:, i:] / (n - 1.0)
        cov[i:, i] = cov[i, i:]
    return cov


def covariance_data(rng: Rng, size: int) -> tuple:
    return (rng.normal(1.0, 2.0, (size + size // 3, size)),)


# ------------------------------------------------------------- transforms


def stockham_fft(x: Array, radix: int, stages: int) -> Array:
    """NPBench stockham_fft: autosorting FFT of radix ** stages points, any radix."""
    n = radix**stages
    digits = np.arange(radix)
    dft = np.exp(-2j * np.pi / radix * np.outer(digits, digits))
    y = x.copy()
    for stage in range(stages):
        done = radix**stage
        rest = n // (done * radix)
        twiddles = np.exp(-2j * np.pi / (done * radix) * np.outer(np.arange(done), digits))
        blocks = y.reshape(done, radix, rest) * twiddles[:, :, np.newaxis]
        y = (dft @ blocks.transpose(1, 0, 2).reshape(radix, done * rest)).reshape(n)
    return y


def stockham_fft_data(rng: Rng, size: int) -> tuple:
    radix = 4 if size > 4 else 3
    n = radix**size
    return rng.normal(size=n) + 1j * rng.normal(size=n), radix, size


def deriche(image: Array, alpha: float) -> Array:
    """PolyBench deriche: recursive smoothing filter of edge detection, rows then columns."""
    decay = np.exp(-alpha)
    k = (1.0 - decay) ** 2 / (1.0 + 2.0 * alpha * decay - decay * decay)
    a1, a2 = k, k * decay * (alpha - 1.0)
    a3, a4 = k * decay * (alpha + 1.0), -k * decay * decay
    b1, b2 = 2.0 * decay, -decay * decay
    height, width = image.shape
    # along the rows, left to right and right to left
    causal = np.empty_like(image)
    causal[:, 0] = a1 * image[:, 0]
    causal[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * causal[:, 0]
    for j in range(2, width):
        causal[:, j] = (
            a1 * image[:, j]
            + a2 * image[:, j - 1]
            + b1 * causal[:, j - 1]
            + b2 * causal[:, j - 2]
        )
    anti = np.empty_like(image)
    anti[:, -1] = 0.0
    anti[:, -2] = a3 * image[:, -1]
    for j in range(width - 3, -1, -1):
        anti[:, j] = (
            a3 * image[:, j + 1]
            + a4 * image[:, j + 2]
            + b1 * anti[:, j + 1]
            + b2 * anti[:, j + 2]
        )
    smooth = causal + anti
    # along the columns, down and up
    causal[0] = a1 * smooth[0]
    causal[1] = a1 * smooth[1] + a2 * smooth[0] + b1 * causal[0]
    for i in range(2, height):
        causal[i] = (
            a1 * smooth[i] + a2 * smooth[i - 1] + b1 * causal[i - 1] + b2 * causal[i - 2]
        )
    anti[-1] = 0.0
    anti[-2] = a3 * smooth[-1]
    for i in range(height - 3, -1, -1):
        anti[i] = a3 * smooth[i + 1] + a4 * smooth[i + 2] + b1 * anti[i + 1] + b2 * anti[i + 2]
    return causal + anti


def deriche_data(rng: Rng, size: int) -> tuple:
    return rng.random((size, size + size // 3)), 0.25


KERNELS = [
    Kernel("gemm", gemm, gemm_data, (500, 20), True),
    Kernel("gesummv", gesummv, gesummv_data, (1600, 30), False),
    Kernel("atax", atax, atax_data, (2800, 30), False),
    Kernel("bicg", bicg, bicg_data, (2800, 30), False),
    Kernel("mvt", mvt, mvt_data, (3000, 30), True),
    Kernel("symm", symm, symm_data, (200, 20), True),
    Kernel("syrk", syrk, syrk_data, (400, 20), True),
    Kernel("syr2k", syr2k, syr2k_data, (80, 16), True),
    Kernel("trmm", trmm, trmm_data, (450, 20), True),
    Kernel("doitgen", doitgen, doitgen_data, (80, 10), True),
    Kernel("spmv", spmv, spmv_data, (8000, 60), False),
    Kernel("cholesky", cholesky, cholesky_data, (150, 20), True),
    Kernel("cholesky2", cholesky2, cholesky_data, (800, 30), True),
    Kernel("lu", lu, lu_data, (150, 20), True),
    Kernel("ludcmp", ludcmp, ludcmp_data, (300, 20), True),
    Kernel("trisolv", trisolv, trisolv_data, (2000, 40), True),
    Kernel("gramschmidt", gramschmidt, gramschmidt_data, (120, 16), True),
    Kernel("durbin", durbin, durbin_data, (1500, 40), False),
    Kernel("contour_integral", contour_integral, contour_integral_data, (100, 8), False),
    Kernel("correlation", correlation, correlation_data, (400, 20), True),
    Kernel("covariance", covariance, covariance_data, (400, 20), True),
    Kernel("stockham_fft", stockham_fft, stockham_fft_data, (8, 4), False),
    Kernel("deriche", deriche, deriche_data, (400, 20), False),
]
