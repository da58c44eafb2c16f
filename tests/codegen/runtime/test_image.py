"""Images: what is linked computes the same as what LLVM loads, and what can't be is refused."""

import ctypes
import gc
import random
from pathlib import Path

import numpy as np
import pytest

import graphjit as gj
from graphjit import config
from graphjit.codegen.cpu import native_code
from graphjit.codegen.cpu.processor import target_machine
from graphjit.codegen.optimize import optimize, simplify
from graphjit.codegen.runtime import loader, serialize
from graphjit.codegen.runtime.image import Image, Unlinkable, link
from graphjit.codegen.runtime.loader import Loaded, Unloadable, loadable

pytestmark = pytest.mark.skipif(not loadable(), reason="images are for Linux on x86-64")


@pytest.fixture(autouse=True)
def compiling(monkeypatch):
    monkeypatch.setattr(config, "cache", False)


def compiled(text, optimizer=simplify):
    machine = target_machine(1, relocatable=True)
    return machine.emit_object(optimizer(text, machine))


def call(code, name, *arguments, result=ctypes.c_int64):
    kinds = [ctypes.c_double if isinstance(a, float) else ctypes.c_int64 for a in arguments]
    return ctypes.CFUNCTYPE(result, *kinds)(code.address(name))(*arguments)


def test_functions_call_each_other_and_read_constants():
    text = """
    @table = internal constant [4 x i64] [i64 11, i64 22, i64 33, i64 44]
    define internal i64 @at(i64 %n) noinline {
      %p = getelementptr i64, ptr @table, i64 %n
      %v = load i64, ptr %p
      ret i64 %v
    }
    define i64 @twice(i64 %n) {
      %v = call i64 @at(i64 %n)
      %w = add i64 %v, %v
      ret i64 %w
    }
    """
    image = link(compiled(text))
    assert list(image.symbols) == ["twice"]
    assert not image.imports
    code = Loaded(image)
    assert [call(code, "twice", n) for n in range(4)] == [22, 44, 66, 88]


def test_variables_are_written_and_start_as_they_should():
    text = """
    @zero = global [1000 x i64] zeroinitializer, align 128
    @seven = global i64 7
    @pointer = global ptr @seven
    define i64 @count(i64 %by) {
      %p = load ptr, ptr @pointer
      %a = load i64, ptr %p
      %b = add i64 %a, %by
      store i64 %b, ptr %p
      %last = getelementptr i64, ptr @zero, i64 999
      %c = load i64, ptr %last
      %d = add i64 %c, 1
      store i64 %d, ptr %last
      %e = add i64 %b, %d
      ret i64 %e
    }
    """
    image = link(compiled(text))
    one, two = Loaded(image), Loaded(image)
    assert [call(one, "count", 10) for _ in range(3)] == [18, 29, 40]
    assert call(two, "count", 1) == 9
    assert ctypes.c_int64.from_address(one.address("seven")).value == 37
    assert one.address("zero") % 128 == 0


def test_switches_jump_by_tables():
    cases = " ".join(f"i64 {n}, label %c{n}" for n in range(40))
    blocks = "".join(
        f"c{n}:\n  %v{n} = call i64 @f{n % 3}(i64 {n * n})\n  ret i64 %v{n}\n"
        for n in range(40)
    )
    text = "".join(
        f"define internal i64 @f{k}(i64 %x) noinline {{\n  %y = add i64 %x, {k}\n"
        "  ret i64 %y\n}\n"
        for k in range(3)
    )
    text += f"define i64 @choose(i64 %n) {{\n  switch i64 %n, label %no [{cases}]\n{blocks}"
    text += "no:\n  ret i64 -1\n}\n"
    code = Loaded(link(compiled(text)))
    expected = [n * n + n % 3 for n in range(40)] + [-1]
    assert [call(code, "choose", n) for n in range(41)] == expected


def test_functions_outside_are_found_by_name():
    text = """
    declare double @lgamma(double)
    declare i64 @strlen(ptr)
    declare ptr @PyLong_FromLongLong(i64)
    define double @f(double %x) {
      %y = call double @lgamma(double %x)
      ret double %y
    }
    define ptr @g(i64 %x) {
      %y = call ptr @PyLong_FromLongLong(i64 %x)
      ret ptr %y
    }
    define ptr @h() {
      ret ptr @strlen
    }
    """
    image = link(compiled(text))
    assert {name for name, _ in image.imports} == {"lgamma", "strlen", "PyLong_FromLongLong"}
    code = Loaded(image)
    assert call(code, "f", 5.0, result=ctypes.c_double) == pytest.approx(np.log(24))
    assert (
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_int64)(code.address("g"))(5**20) == 5**20
    )
    assert call(code, "h") == loader.outside_address("strlen")


def test_a_name_that_nothing_has_is_refused():
    text = (
        "declare void @nobody_has_this()\ndefine void @f() {\n  call void @nobody_has_this()\n"
    )
    image = link(compiled(text + "  ret void\n}\n"))
    with pytest.raises(Unloadable, match="nobody_has_this"):
        Loaded(image)


@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 5\ndefine ptr @f() {\n  ret ptr @x\n}",
        "@x = common global i64 0\ndefine ptr @f() {\n  ret ptr @x\n}",
        "@x = external global [9 x i8]\n"
        "@p = global ptr getelementptr ([9 x i8], ptr @x, i64 0, i64 3)",
    ],
)
def test_what_images_do_not_have_is_refused(text):
    with pytest.raises(Unlinkable):
        link(compiled(text))


def test_code_that_is_not_relocatable_is_refused():
    text = "@x = global i64 5\ndefine i64 @f() {\n  %v = load i64, ptr @x\n  ret i64 %v\n}"
    machine = target_machine(1)  # of MCJIT, which puts absolute addresses into code
    with pytest.raises(Unlinkable):
        link(machine.emit_object(simplify(text, machine)))


def test_damaged_object_files_are_refused_or_linked_without_harm():
    whole = compiled("define i64 @f(i64 %x) {\n  %y = add i64 %x, 1\n  ret i64 %y\n}")
    draw = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(damaged)) :]
        try:
            image = link(bytes(damaged))
        except (Unlinkable, ValueError, MemoryError, OverflowError):
            continue
        assert isinstance(image, Image)


def test_images_come_back_from_bytes():
    text = "@v = global i64 3\ndeclare double @lgamma(double)\n"
    text += "define double @f(double %x) {\n  %y = call double @lgamma(double %x)\n"
    image = link(compiled(text + "  ret double %y\n}"))
    again = serialize.unpack_image(serialize.pack_image(image))
    assert again == image


def test_code_pages_are_never_writable_and_executable():
    f = gj.function(lambda x: np.sin(x) + 1)
    gc.collect()
    gc.disable()  # else what an earlier test left may be freed meanwhile, and its place taken
    try:
        before = set(_executable_mappings())
        f(np.ones(100, np.float32))
        made = set(_executable_mappings()) - before
    finally:
        gc.enable()
    assert made
    for line in made:
        assert "w" not in line.split()[1], line


def _executable_mappings():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if "x" in line.split()[1] and line.split()[-1] == "0"]


def test_memory_is_given_back_when_the_last_owner_dies():
    image = link(compiled("define i64 @f() {\n  ret i64 7\n}"))
    code = Loaded(image)
    start = f"{code.address('f') & ~4095:x}-"
    held = Path("/proc/self/maps").read_text()
    assert start in held
    del code
    gc.collect()
    assert start not in Path("/proc/self/maps").read_text()


def test_a_refused_mapping_leaves_it_to_llvm(monkeypatch):
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    refused = []

    def refuse(*arguments):
        refused.append(arguments)
        return -1

    monkeypatch.setattr(loader, "_mprotect", lambda: refuse)
    # no other function has such a graph, whose living code would be taken
    f = gj.function(lambda x: np.sin(x) + 1.2578125, fallback="error")
    np.testing.assert_allclose(f(x), np.sin(x) + np.float32(1.2578125), rtol=1e-6)
    assert len(refused) == 1


def test_llvms_loader_gives_the_same_bits(monkeypatch):
    x = np.linspace(-30, 30, 500_000, dtype=np.float32).reshape(1000, 500)

    def f(x):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True), x.T @ x, np.sort(x, axis=0)

    one = gj.function(f, fallback="error")(x)
    monkeypatch.setattr(native_code, "loadable", lambda: False)
    two = gj.function(f, fallback="error")(x)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_float16_without_instructions_for_it_calls_gccs_library():
    import llvmlite.binding as llvm

    text = """
    define float @f(float %x) {
      %h = fptrunc float %x to half
      %y = fpext half %h to float
      ret float %y
    }
    """
    bare = llvm.Target.from_default_triple().create_target_machine(
        cpu="x86-64", features="-f16c", opt=1, reloc="pic", codemodel="small"
    )
    image = link(bare.emit_object(simplify(text, bare)))
    names = {name for name, _ in image.imports}
    assert names == {"__truncsfhf2", "__extendhfsf2"}
    call = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)
    try:
        code = Loaded(image)
    except Unloadable:
        pytest.skip("this libgcc_s has no conversions")
    for x in (1 / 3, 65504.0, 1e-7, -2.5):
        assert call(code.address("f"))(x) == float(np.float16(x))


def test_optimized_code_of_large_constants():
    values = np.arange(5000.0)
    f = gj.function(lambda x: x + values * 2, fallback="error")
    np.testing.assert_array_equal(f(np.ones(5000)), 1 + values * 2)
    assert optimize("define void @f() {\n  ret void\n}", target_machine()).name is not None
