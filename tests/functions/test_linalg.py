import itertools

import numpy as np
import pytest
import scipy.linalg
from both_ways import check, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import shapes

from graphjit.core.errors import InvalidArgumentError
from graphjit.functions import linalg, math
from graphjit.tensors.tensor import Tensor

EXTENT = st.sampled_from((2, 1, 3, 0, 5))
DTYPES = ("float64", "float32", "complex128", "complex64")


def random(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def definite(shape, dtype="float64", seed=0):
    x = random(shape, dtype, seed)
    return (x @ np.conj(np.swapaxes(x, -1, -2)) + 3 * np.eye(shape[-1])).astype(dtype)


EQUATIONS = (
    "ij,jk->ik",
    "ij,jk",
    "ij,kj->ik",
    "ij,ij->",
    "ij,ij->ij",
    "ij,ij->i",
    "i,j->ij",
    "ij->ji",
    "ij",
    "ji",
    "ij->",
    "ij->j",
    "ij->i",
    "->",
    ",->",
    "i,->i",
    "bij,bjk->bik",
    "bij,jk->bik",
    "bij,bkj->ikb",
    "abc,abd->acd",
    "abcd,cdef->abef",
    "ab,bc,cd->ad",
    "ab,ac,ad->bcd",
    "a,b,c->abc",
    "a,a,a->",
    "ab,bc,cd,de->ae",
    "ab,bc,ca->",
    "ab,cd->",
    "ab,c,d->a",
    "abc,c->ba",
    "i j , j k -> k i",
    "Ab,bA->A",
)


@pytest.mark.parametrize("equation", EQUATIONS)
@settings(max_examples=4)
@given(data=st.data())
def test_einsum_is_numpys(equation, data):
    terms = equation.replace(" ", "").split("->")[0].split(",")
    extents = {label: data.draw(EXTENT) for label in sorted(set("".join(terms)))}
    arrays = [
        random(tuple(extents[label] for label in term), seed=number)
        for number, term in enumerate(terms)
    ]
    check(lambda *x: linalg.einsum(equation, *x), np.einsum(equation, *arrays), *arrays)


ELLIPSES = (
    ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
    ("...ij,...jk->...ik", ((2, 1, 3, 4), (7, 4, 5))),
    ("...ij,...jk->...ik", ((3, 4), (6, 1, 4, 5))),
    ("...ij,jk", ((2, 3, 3, 4), (4, 5))),
    ("i...j,j...->...i", ((2, 3, 1, 4), (4, 5))),
    ("...,...->...", ((2, 1), (1, 3))),
    ("...,...", ((2, 1), (3,))),
    ("...a->a...", ((2, 3, 4),)),
    ("...i->...", ((2, 3, 4),)),
    ("...i,...i,...i->...", ((2, 3, 4), (1, 4), (4,))),
    ("a...,...b->...ab", ((2, 3), (1, 4))),
    ("...i,i->...i", ((3,), (3,))),
    ("...,ij->ij...", ((), (2, 3))),
    ("b...,b...->b...", ((2, 1, 3), (2, 4, 1))),
    ("...ij->ij", ((3, 4),)),
)


@pytest.mark.parametrize(("equation", "extents"), ELLIPSES)
def test_einsum_with_ellipsis(equation, extents):
    arrays = [random(shape, seed=number) for number, shape in enumerate(extents)]
    check(lambda *x: linalg.einsum(equation, *x), np.einsum(equation, *arrays), *arrays)


DIAGONALS = (
    ("ii->i", ((3, 3),)),
    ("ii", ((4, 4),)),
    ("iij->ji", ((3, 3, 2),)),
    ("iii->i", ((3, 3, 3),)),
    ("iji->ij", ((3, 2, 3),)),
    ("ijij->ij", ((3, 2, 3, 2),)),
    ("...ii->...i", ((2, 3, 3),)),
    ("i...i->...", ((3, 2, 3),)),
    ("ii,ij->j", ((3, 3), (3, 2))),
    ("iij,jk,kk->ik", ((3, 3, 2), (2, 4), (4, 4))),
    ("ii->i", ((0, 0),)),
    ("ii->i", ((1, 1),)),
)


@pytest.mark.parametrize(("equation", "extents"), DIAGONALS)
def test_einsum_takes_diagonals(equation, extents):
    arrays = [random(shape, seed=number) for number, shape in enumerate(extents)]
    check(lambda *x: linalg.einsum(equation, *x), np.einsum(equation, *arrays), *arrays)


def test_einsum_puts_on_diagonals():
    x = random((3, 2))
    check(lambda x: linalg.einsum("ij->iji", x), np.einsum("ij,ik->ijk", x, np.eye(3)), x)
    cube = np.zeros((3, 3, 3))
    cube[(np.arange(3),) * 3] = x[:, 0]
    check(lambda x: linalg.einsum("i->iii", x), cube, x[:, 0])


@pytest.mark.parametrize("dtype", ["int32", "int64", "float16", "float32", "complex64"])
def test_einsum_keeps_dtypes(dtype):
    a, b = (np.arange(6).reshape(s).astype(dtype) for s in ((2, 3), (3, 2)))
    check(lambda a, b: linalg.einsum("ij,jk->ki", a, b), np.einsum("ij,jk->ki", a, b), a, b)


def test_einsum_of_many_operands():
    arrays = [random((2, 2), seed=number) for number in range(9)]
    equation = "ab,bc,cd,de,ef,fg,gh,hi,ij->aj"
    check(lambda *x: linalg.einsum(equation, *x), np.linalg.multi_dot(arrays), *arrays)
    labels = [chr(97 + k) for k in range(26)] + [chr(65 + k) for k in range(26)]
    equation = f"{''.join(labels)},...a,a->..."
    arrays = [
        random((1,) * 52 if k == 0 else s, seed=k) for k, s in enumerate((0, (3, 1), (1,)))
    ]
    expected = arrays[1][:, 0] * arrays[0].item() * arrays[2][0]
    check(lambda *x: linalg.einsum(equation, *x), expected, *arrays)


@pytest.mark.parametrize(
    ("equation", "extents", "match"),
    [
        ("ij,jk->ik", ((2, 3), (4, 5)), "Expected extent 3 but got 4 for 'j'"),
        ("ij,jk->ik", ((2, 3),), "Expected 2 operands but got 1"),
        ("ij->ik", ((2, 3),), "output's label 'k' is in no operand"),
        ("ij", ((2, 3, 4),), "doesn't have the axes 'ij'"),
        ("ijk", ((2, 3),), "doesn't have the axes 'ijk'"),
        ("i1", ((2, 3),), "no list of letters"),
        ("i..j", ((2, 3),), "no list of letters"),
        ("...i...", ((2, 3),), "no list of letters"),
        ("ij->i->j", ((2, 3),), "no list of letters"),
        ("ij->i,j", ((2, 3),), "Expected one output"),
        ("...i->i", ((2, 3),), "must have the ellipsis"),
        ("ii->i", ((2, 3),), "Expected extent 2 but got 3"),
        ("ii->i", ((1, 3),), "Expected extent 1 but got 3"),
        ("...,...", ((2,), (3,)), "an axis of the ellipsis"),
        ("", ((2,),), "doesn't have the axes"),
    ],
)
def test_einsum_names_the_equation_it_refuses(equation, extents, match):
    arrays = [random(shape) for shape in extents]
    refused(lambda *x: linalg.einsum(equation, *x), *arrays, match=match)
    with pytest.raises(InvalidArgumentError, match="equation"):
        linalg.einsum(equation, *map(Tensor, arrays))


def test_einsum_refuses_mixed_dtypes_and_no_equation():
    refused(
        lambda a, b: linalg.einsum("i,i->", a, b), np.ones(2), np.ones(2, "f4"), match="double"
    )
    refused(lambda a: linalg.einsum(3, a), np.ones(2), match="must be a string")
    with pytest.raises(InvalidArgumentError, match="Expected 1 operands but got 0"):
        linalg.einsum("i->i")


@settings(max_examples=8)
@given(EXTENT, EXTENT, EXTENT, st.sampled_from(("f8", "f4", "c8", "i4")))
def test_matmul_of_turned_operands(m, k, n, dtype):
    a, b = (random(s, "f8", i).round(1).astype(dtype) for i, s in enumerate(((m, k), (k, n))))
    expected = a @ b
    at, bt = a.T.copy(), b.T.copy()
    check(linalg.matmul, expected, a, b)
    check(lambda a, b: linalg.matmul(a, b, transpose_a=True), expected, at, b)
    check(lambda a, b: linalg.matmul(a, b, transpose_b=True), expected, a, bt)
    check(lambda a, b: linalg.matmul(a, b, adjoint_a=True), expected, at.conj(), b)
    check(lambda a, b: linalg.matmul(a, b, adjoint_b=True), expected, a, bt.conj())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((4, 1, 2, 3), (5, 3, 2)),
        ((0,), (0,)),
        ((0,), (0, 2)),
    ],
)
def test_matmul_of_vectors_and_batches(first, second):
    a, b = random(first), random(second, seed=1)
    check(linalg.matmul, a @ b, a, b)


def test_matvec():
    a, b = random((2, 1, 3, 4), "c16"), random((5, 4), "c16", 1)
    check(linalg.matvec, (a @ b[..., None])[..., 0], a, b)
    turned = np.swapaxes(a, -1, -2)
    check(lambda a, b: linalg.matvec(a, b, transpose_a=True), np.matvec(a, b), turned, b)
    check(lambda a, b: linalg.matvec(a, b, adjoint_a=True), np.matvec(a, b), turned.conj(), b)
    refused(linalg.matvec, random(3), random(3), match="matvec takes")


@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3), (4, 5), 0),
        ((2, 3), (3, 2), 1),
        ((2, 3, 4), (4, 5, 3), ([1, 2], [2, 0])),
        ((2, 3, 4), (4, 5, 3), (2, 0)),
        ((2, 3, 4), (5, 2), ([0], [-1])),
        ((2, 0), (0, 3), 1),
        ((), (2,), 0),
        ((2, 3), (2, 3), ([0, 1], [0, 1])),
    ],
)
def test_tensordot(first, second, axes):
    a, b = random(first), random(second, seed=1)
    check(lambda a, b: linalg.tensordot(a, b, axes), np.tensordot(a, b, axes), a, b)


@pytest.mark.parametrize(
    ("axes", "match"),
    [
        (3, "must be in"),
        (-1, "must be in"),
        (1, "size-incompatible"),
        (([0], [0, 1]), "different number"),
        (([0, 0], [0, 1]), "given twice"),
        (([5], [0]), "out of range"),
        ((1, 2, 3), "length 2"),
        ("ab", "must be an integer"),
    ],
)
def test_tensordot_refuses(axes, match):
    refused(
        lambda a, b: linalg.tensordot(a, b, axes), random((2, 3)), random((2, 4)), match=match
    )


@settings(max_examples=8)
@given(shapes(max_ndim=2), shapes(max_ndim=2), EXTENT)
def test_dot_inner_outer_kron(first, second, k):
    a, b = random((*first, k)), random((*second, k), seed=1)
    check(linalg.inner, np.inner(a, b), a, b)
    check(linalg.outer, np.outer(a, b), a, b)
    check(linalg.kron, np.kron(a, b), a, b)
    turned = np.swapaxes(b, -1, -2) if second else b
    check(linalg.dot, np.dot(a, turned), a, turned)


def test_products_of_scalars():
    a, b = random(()), random((2, 3))
    for name in ("dot", "inner", "kron", "outer"):
        for x, y in ((a, b), (b, a), (a, a)):
            check(getattr(linalg, name), getattr(np, name)(x, y), x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vdot(dtype):
    a, b = random((2, 3), dtype), random((3, 2), dtype, 1)
    check(linalg.vdot, np.vdot(a, b), a, b)
    refused(linalg.vdot, a, b[:1], match="size-incompatible")


def test_cross():
    a, b = random((2, 1, 3)), random((4, 3), seed=1)
    check(linalg.cross, np.cross(a, b), a, b)
    c, d = random((3, 2)), random((3, 2), seed=2)
    check(lambda c, d: linalg.cross(c, d, 0), np.cross(c, d, axis=0), c, d)
    refused(linalg.cross, random(2), random(2), match="3-element")
    refused(linalg.cross, random(()), random(3), match="3-element")


@settings(max_examples=8)
@given(EXTENT, EXTENT, st.integers(-4, 4))
def test_diagonals(m, n, k):
    x = random((2, m, n))
    offset = dict(offset=k, axis1=-2, axis2=-1)
    # NumPy refuses a diagonal outside the matrix; here it is empty.
    diagonal = np.diagonal(x, **offset)
    check(lambda x: linalg.diag_part(x, k), diagonal, x)
    check(lambda x: linalg.trace(x, k), np.trace(x, **offset), x)
    values = random(diagonal.shape, seed=1)
    expected = x.copy()
    for row in range(m):
        if 0 <= row + k < n:
            expected[:, row, row + k] = values[:, row - max(0, -k)]
    check(lambda x, d: linalg.set_diag(x, d, k), expected, x, values)
    check(lambda d: linalg.diag(d, k), np.stack([np.diag(v, k) for v in values]), values)


def test_set_diag_refuses():
    refused(linalg.set_diag, random((2, 3)), random(3), match="has shape \\[2\\], not \\[3\\]")
    refused(linalg.set_diag, random(3), random(3), match="must be matrices")
    refused(linalg.set_diag, random((2, 2)), random(2, "f4"), match="float")


def test_trace_of_integers_and_other_axes():
    x = np.arange(24, dtype="i4").reshape(2, 3, 4)
    check(linalg.trace, np.trace(x, 0, 1, 2).astype("i4"), x)
    check(lambda x: linalg.trace(x, 1, 0, 2), np.trace(x, 1, 0, 2).astype("i4"), x)
    refused(linalg.trace, random(3), match="must be matrices")


@pytest.mark.parametrize(("lower", "upper"), list(itertools.product((-1, 0, 1, 9), repeat=2)))
def test_band_part(lower, upper):
    x = random((2, 3, 4))
    i, j = np.indices((3, 4))
    keep = ((lower < 0) | (i - j <= lower)) & ((upper < 0) | (j - i <= upper))
    check(lambda x: linalg.band_part(x, lower, upper), np.where(keep, x, 0), x)
    refused(lambda x: linalg.band_part(x, lower, upper), random(3), match="must be matrices")


def test_tensor_diag():
    x = random((2, 3))
    expected = np.diag(x.ravel()).reshape(2, 3, 2, 3)
    check(linalg.tensor_diag, expected, x)
    check(linalg.tensor_diag_part, x, expected)
    refused(linalg.tensor_diag_part, x, match="halves")
    refused(linalg.tensor_diag_part, random((2, 2, 2)), match="halves")


def test_adjoint():
    x = random((2, 3, 4), "c16")
    check(linalg.adjoint, np.conj(np.swapaxes(x, -1, -2)), x)
    check(linalg.matrix_transpose, np.swapaxes(x, -1, -2), x)
    check(
        lambda x: linalg.matrix_transpose(x, conjugate=True), np.swapaxes(x, -1, -2).conj(), x
    )
    refused(linalg.adjoint, random(3), match="must be matrices")


VECTOR_ORDERS = ("euclidean", None, 1, 2, 0, 3, 0.5, -1, np.inf, -np.inf)
MATRIX_ORDERS = ("fro", "euclidean", None, "nuc", 1, -1, 2, -2, np.inf, -np.inf)


@pytest.mark.parametrize(("dtype", "keepdims"), [("float64", True), ("complex64", False)])
@pytest.mark.parametrize("ord", VECTOR_ORDERS)
def test_vector_norm(ord, keepdims, dtype):
    x = random((3, 1, 5), dtype)
    numpy = None if ord == "euclidean" else ord
    for axis in (0, -1, (1,)):
        number = axis[0] if isinstance(axis, tuple) else axis
        expected = np.linalg.norm(x, numpy, number, keepdims)
        check(lambda x, a=axis: linalg.norm(x, ord, a, keepdims), expected, x)
    flat = np.linalg.norm(x.ravel(), numpy)
    check(lambda x: linalg.norm(x, ord), flat, x)


@pytest.mark.parametrize(("dtype", "keepdims"), [("float64", True), ("complex128", False)])
@pytest.mark.parametrize("ord", MATRIX_ORDERS)
def test_matrix_norm(ord, keepdims, dtype):
    x = random((3, 2, 4), dtype)
    numpy = None if ord == "euclidean" else ord
    for axis in ((1, 2), (2, 0), (-3, -2)):
        expected = np.linalg.norm(x, numpy, axis, keepdims)
        check(lambda x, a=axis: linalg.norm(x, ord, a, keepdims), expected, x)


def test_norm_refuses():
    x = random((2, 3))
    refused(lambda x: linalg.norm(x, "nuc"), x, match="no norm of a vector")
    refused(lambda x: linalg.norm(x, True), x, match="no norm of a vector")
    refused(lambda x: linalg.norm(x, 3, (0, 1)), x, match="no norm of a matrix")
    refused(lambda x: linalg.norm(x, "foo", (0, 1)), x, match="no norm of a matrix")
    refused(lambda x: linalg.norm(x, 2, (0, 0)), x, match="given twice")
    refused(lambda x: linalg.norm(x, 2, 2), x, match="out of range")
    refused(lambda x: linalg.norm(x, 2, (0, 1, 2)), random((1, 2, 3)), match="tuple of 2")
    refused(linalg.norm, np.arange(3), match="int64 tensor")


def test_normalize():
    x = random((3, 4))
    size = np.linalg.norm(x, axis=1, keepdims=True)
    check(lambda x: linalg.normalize(x, axis=1), (x / size, size), x)
    whole = np.linalg.norm(x).reshape(1, 1)
    check(linalg.normalize, (x / whole, whole), x)
    check(lambda x: linalg.l2_normalize(x, 1), x / size, x)
    check(linalg.l2_normalize, x / whole, x)
    check(linalg.l2_normalize, np.zeros(3), np.zeros(3))
    z = random((3, 4), "c16")
    check(lambda z: linalg.l2_normalize(z, 0), z / np.linalg.norm(z, axis=0), z)


def test_global_norm_and_clipping():
    a, b = random((3, 4), "f4"), random((2,), "f4", 1)
    size = np.sqrt((a**2).sum() + (b**2).sum())
    check(lambda a, b: linalg.global_norm([a, b]), size, a, b)
    clipped = (a / size, b / size, size)
    check(lambda a, b: _flat(linalg.clip_by_global_norm([a, b], 1.0)), clipped, a, b)
    check(lambda a, b: _flat(linalg.clip_by_global_norm([a, b], 99.0)), (a, b, size), a, b)
    bad = np.array([np.inf, 1], "f4")
    nans = (np.full((3, 4), np.nan, "f4"), np.full(2, np.nan, "f4"), np.float32(np.inf))
    check(lambda a, b: _flat(linalg.clip_by_global_norm([a, b], 1.0)), nans, a, bad)
    check(lambda a: linalg.clip_by_norm(a, 1.0), a / np.linalg.norm(a), a)
    rows = np.linalg.norm(a, axis=1, keepdims=True)
    check(lambda a: linalg.clip_by_norm(a, 1.5, 1), a * 1.5 / np.maximum(rows, 1.5), a)
    check(lambda a: linalg.clip_by_norm(a, 1.0), np.zeros(3), np.zeros(3))
    with pytest.raises(InvalidArgumentError, match="no tensors"):
        linalg.global_norm([])


def _flat(pair):
    return (*pair[0], pair[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (0, 0), (2, 4, 4), (0, 2, 2)])
def test_of_definite_matrices(shape, dtype):
    x = definite(shape, dtype)
    factor = np.linalg.cholesky(x)
    check(linalg.cholesky, factor, x, ulps=500)
    check(linalg.inv, np.linalg.inv(x), x, ulps=500)
    check(linalg.det, np.linalg.det(x), x, ulps=500)
    check(linalg.slogdet, tuple(np.linalg.slogdet(x)), x, ulps=500)
    check(linalg.logdet, np.linalg.slogdet(x)[1], x, ulps=500)
    check(linalg.eigvalsh, np.linalg.eigvalsh(x), x, ulps=500)
    b = random((*shape[:-1], 2), dtype, 1)
    check(linalg.solve, np.linalg.solve(x, b), x, b, ulps=500)
    check(linalg.cholesky_solve, np.linalg.solve(x, b), factor, b, ulps=2000)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(3, 3), (2, 4), (4, 2), (1, 1), (5, 2, 3), (0, 3), (2, 0, 0)]
)
@pytest.mark.parametrize("full", [False, True])
def test_svd_and_qr_multiply_back(shape, dtype, full):
    x = random(shape, dtype)
    m, n = shape[-2:]
    k = min(m, n)

    def svd_product(x):
        s, u, v = linalg.svd(x, full)
        assert u.shape[-2:] == (m, m if full else k)
        assert v.shape[-2:] == (n, n if full else k)
        u, v = u[..., :k], v[..., :k]
        return linalg.matmul(
            math.multiply(u, math.cast(s[..., None, :], x.dtype)), v, adjoint_b=True
        )

    check(svd_product, x, x, ulps=500)
    real = np.empty(0, dtype).real.dtype
    check(
        lambda x: linalg.svd(x, compute_uv=False),
        np.linalg.svd(x, compute_uv=False),
        x,
        dtype=real,
        ulps=500,
    )
    check(lambda x: linalg.matmul(*linalg.qr(x, full)), x, x, ulps=500)
    mode = "complete" if full else "reduced"
    q, r = np.linalg.qr(x, mode)
    check(lambda x: linalg.qr(x, full), (q, r), x, ulps=500)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (0, 0), (2, 4, 4)])
def test_eigenvectors(shape, dtype):
    x = definite(shape, dtype)

    def difference(decompose):
        def fn(x):
            values, vectors = decompose(x)
            x = math.cast(x, vectors.dtype)
            scaled = math.multiply(vectors, math.cast(values[..., None, :], vectors.dtype))
            return math.subtract(linalg.matmul(x, vectors), scaled)

        return fn

    check(difference(linalg.eigh), np.zeros(shape, dtype), x, scale=100, ulps=500)
    wide = "complex64" if dtype in ("float32", "complex64") else "complex128"
    check(difference(linalg.eig), np.zeros(shape, wide), x, scale=100, ulps=500)
    check(linalg.eigvals, np.linalg.eigvals(x), x, dtype=wide, ulps=500)


def test_eig_of_a_rotation():
    x = np.array([[0.0, -1.0], [1.0, 0.0]])
    check(linalg.eigvals, np.array([1j, -1j]), x)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_triangular_solve(lower, adjoint, dtype):
    x = definite((2, 3, 3), dtype)
    triangle = np.tril(x) if lower else np.triu(x)
    used = np.conj(np.swapaxes(triangle, -1, -2)) if adjoint else triangle
    b = random((3, 2), dtype, 1)
    expected = np.linalg.solve(used, np.broadcast_to(b, (2, 3, 2)))
    check(lambda a, b: linalg.triangular_solve(a, b, lower, adjoint), expected, x, b, ulps=500)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_triangular_solve_of_empty_and_odd(n):
    x, b = np.tril(definite((n, n))), random((n, 2))
    check(linalg.triangular_solve, np.linalg.solve(x, b), x, b, ulps=500)


def test_solve_adjoint_and_vectors():
    x, b = random((3, 3), "c16"), random((3, 2), "c16", 1)
    adjoint = x.conj().T
    check(
        lambda x, b: linalg.solve(x, b, adjoint=True),
        np.linalg.solve(adjoint, b),
        x,
        b,
        ulps=500,
    )
    check(lambda x: linalg.inv(x, adjoint=True), np.linalg.inv(adjoint), x, ulps=500)
    check(linalg.solve, np.linalg.solve(x, b[:, 0]), x, b[:, 0], ulps=500)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n"), [(5, 3), (3, 5), (3, 3), (1, 1)])
def test_lstsq(m, n, dtype):
    a, b = random((m, n), dtype), random((m, 2), dtype, 1)
    expected = np.linalg.lstsq(a, b)[0]
    check(linalg.lstsq, expected, a, b, ulps=2000)
    check(linalg.lstsq, expected[:, 0], a, b[:, 0], ulps=2000)
    check(linalg.lstsq, expected[None], a[None], b[None], ulps=2000)
    adjoint = a.conj().T
    ridge = np.linalg.solve(adjoint @ a + 0.5 * np.eye(n), adjoint @ b)
    check(lambda a, b: linalg.lstsq(a, b, 0.5), ridge, a, b, dtype=dtype, ulps=2000)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 3, 3), (0, 2), (2, 0)])
def test_pinv_and_rank(shape, dtype):
    x = random(shape, dtype)
    check(linalg.pinv, np.linalg.pinv(x), x, ulps=2000)
    if 0 not in shape:
        deficient = x.copy()
        deficient[..., -1, :] = deficient[..., 0, :]
        check(linalg.pinv, np.linalg.pinv(deficient, rcond=1e-5), deficient, ulps=5000)
        for matrix in (x, deficient, np.zeros_like(x)):
            check(linalg.matrix_rank, np.linalg.matrix_rank(matrix), matrix, dtype="int32")
    check(lambda x: linalg.matrix_rank(x, 1e9), np.zeros(shape[:-2], "i4"), x)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -3])
def test_matrix_power(n):
    x = definite((2, 3, 3))
    check(lambda x: linalg.matrix_power(x, n), np.linalg.matrix_power(x, n), x, ulps=2000)
    whole = np.array([[1, 2], [3, 4]], "i4")
    if n >= 0:
        check(lambda x: linalg.matrix_power(x, n), np.linalg.matrix_power(whole, n), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm(dtype):
    x = random((2, 3, 3), dtype)
    check(linalg.expm, scipy.linalg.expm(x), x, dtype=dtype, ulps=500)


@pytest.mark.parametrize(
    "name",
    [
        "cholesky",
        "inv",
        "det",
        "slogdet",
        "logdet",
        "eigh",
        "eigvalsh",
        "eig",
        "eigvals",
        "expm",
    ],
)
def test_square_matrices_are_asked_for(name):
    fn = getattr(linalg, name)
    refused(fn, random((2, 3)), match="square matrices")
    refused(fn, random(3), match="square matrices")
    refused(fn, np.ones((2, 2), "i4"), match="allowed values")
    refused(fn, np.ones((2, 2), "f2"), match="allowed values")


@pytest.mark.parametrize("name", ["svd", "qr", "pinv", "matrix_rank"])
def test_matrices_are_asked_for(name):
    refused(getattr(linalg, name), random(3), match="must be matrices")
    refused(getattr(linalg, name), np.ones((2, 2), "i4"), match="allowed values")


def test_failed_decompositions_are_errors():
    refused(linalg.cholesky, -np.eye(2), match="Cholesky")
    refused(linalg.inv, np.zeros((2, 2)), match="MatrixInverse")
    refused(linalg.solve, np.zeros((2, 2)), np.ones((2, 1)), match="MatrixSolve")
    refused(linalg.triangular_solve, np.zeros((2, 2)), np.ones((2, 1)), match="Triangular")
    refused(linalg.solve, np.eye(2), np.ones((3, 1)), match="incompatible")
    refused(linalg.solve, np.eye(2), np.ones((2, 1), "f4"), match="float")
    refused(linalg.lstsq, np.eye(2), np.ones((3, 1)), match="least squares")
    refused(linalg.lstsq, np.ones(2), np.ones(2), match="must be matrices")
    refused(lambda x: linalg.matrix_power(x, 2), np.ones((2, 3)), match="square")
    refused(lambda x: linalg.matrix_power(x, 0.5), np.eye(2), match="integer")
    refused(lambda x: linalg.matrix_power(x, True), np.eye(2), match="integer")
