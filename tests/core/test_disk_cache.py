"""The store on disk: what is written is read, and nothing else is."""

import os
import stat
import subprocess
import sys
import threading
import time
import warnings

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from graphjit import config
from graphjit.cli.main import main
from graphjit.core import disk_cache, machine

KEY, OTHER = "0" * 40, "1" * 40


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "cache", True)
    monkeypatch.setattr(config, "cache_bytes", 1 << 20)
    monkeypatch.setattr(disk_cache, "_state", disk_cache._State())
    return tmp_path / "cache"


def files(folder):
    return sorted((folder / "code").iterdir())


def test_what_is_written_is_read(folder):
    assert disk_cache.read(KEY) is None
    for content in (b"", b"abc", os.urandom(100_000)):
        assert disk_cache.write(KEY, content)
        assert disk_cache.read(KEY) == content
    assert disk_cache.read(OTHER) is None
    assert len(files(folder)) == 1


def test_folders_are_the_users_own(folder):
    old = os.umask(0)
    try:
        assert disk_cache.write(KEY, b"abc")
    finally:
        os.umask(old)
    for path in (folder, folder / "code"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(files(folder)[0].stat().st_mode) == 0o600


def test_an_entry_under_another_name_is_foreign(folder):
    disk_cache.write(KEY, b"abc")
    files(folder)[0].rename(folder / "code" / f"{OTHER}.code")
    assert disk_cache.read(OTHER) is None
    assert disk_cache.read(KEY) is None


@given(st.data())
def test_a_damaged_entry_is_none(data):
    content = data.draw(st.binary(max_size=200))
    assert disk_cache.write(KEY, content)
    path = disk_cache._path(KEY)
    with open(path, "rb") as file:
        whole = file.read()
    what = data.draw(st.sampled_from(["flip", "cut", "append"]))
    if what == "flip":
        damaged = bytearray(whole)
        for bit in data.draw(
            st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=5, unique=True)
        ):
            damaged[bit // 8] ^= 1 << bit % 8
    elif what == "cut":
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged = whole + data.draw(st.binary(min_size=1, max_size=9))
    with open(path, "wb") as file:
        file.write(damaged)
    assert disk_cache.read(KEY) is None
    assert not os.path.exists(path)
    assert disk_cache.write(KEY, content)
    assert disk_cache.read(KEY) == content


@pytest.mark.parametrize("part", ["", "code"])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720])
def test_a_folder_that_others_can_write_is_not_read(folder, part, mode):
    disk_cache.write(KEY, b"abc")
    (folder / part).chmod(mode)
    with pytest.warns(disk_cache.CacheWarning, match="can be written by other users"):
        assert disk_cache.read(KEY) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert not disk_cache.write(KEY, b"abc")
    assert "chmod go-w" in disk_cache.info().problem
    (folder / part).chmod(0o700)
    assert disk_cache.read(KEY) == b"abc"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_read(folder, mode):
    disk_cache.write(KEY, b"abc")
    files(folder)[0].chmod(mode)
    assert disk_cache.read(KEY) is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners")
def test_what_belongs_to_another_user_is_not_read(folder, monkeypatch):
    disk_cache.write(KEY, b"abc")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.warns(disk_cache.CacheWarning, match="belongs to another user"):
        assert disk_cache.read(KEY) is None
    assert not disk_cache.write(OTHER, b"abc")
    monkeypatch.setattr(disk_cache, "_refused", lambda: False)
    assert disk_cache.read(KEY) is None  # the file's owner is asked for too


def test_links_and_folders_are_no_entries(folder, tmp_path):
    disk_cache.write(KEY, b"abc")
    content = files(folder)[0].read_bytes()
    files(folder)[0].unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    (folder / "code" / f"{KEY}.code").symlink_to(tmp_path / "elsewhere")
    assert disk_cache.read(KEY) is None
    (folder / "code" / f"{OTHER}.code").mkdir()
    assert disk_cache.read(OTHER) is None
    assert not disk_cache.write(OTHER, b"abc")


def _huge(path):
    with open(path, "wb") as file:
        file.write(b"graphjit")
        file.truncate(1 << 42)


UNUSUAL = {
    "fifo": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "folder": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "unreadable": lambda path: (path.write_bytes(b"graphjit"), path.chmod(0)),
    "huge": _huge,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")
@pytest.mark.parametrize("where", ["", "code", "code/entry", "machine"])
@pytest.mark.parametrize("what", UNUSUAL)
def test_whatever_stands_in_the_place_of_a_file_or_folder_is_a_miss(tmp_path, what, where):
    program = """
import numpy as np, graphjit as gj
f = gj.function(lambda x: x * 2 + 1, fallback="error")
print(f(np.arange(3.0)), f.specializations[0].from_cache)
"""
    folder = tmp_path / "cache"
    environment = {**os.environ, "GRAPHJIT_CACHE_DIR": str(folder), "GRAPHJIT_CACHE": "1"}

    def run():
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, text=True, timeout=60,
            capture_output=True,
        )  # fmt: skip

    places = [folder / where]
    if where == "machine":
        folder.mkdir(mode=0o700)
        places = [folder / f"machine-{machine._from_system().cores}.json"]
    elif where == "code":
        folder.mkdir(mode=0o700)
    elif where == "code/entry":
        assert run().returncode == 0
        places = [*(folder / "code").iterdir()]
        for place in places:
            place.unlink()
    for place in places:
        UNUSUAL[what](place)
    for _ in range(2):
        done = run()
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("[1. 3. 5.]")


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not disk_cache.write(KEY, b"abc")
        assert disk_cache.read(KEY) is None
        assert disk_cache.info().entries == 0
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(disk_cache.CacheWarning, match="is no folder"):
        assert disk_cache.read(KEY) is None


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "replace"])
def test_a_disk_that_refuses_is_no_error(folder, monkeypatch, call):
    disk_cache.write(OTHER, b"abc")

    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if call == "mkdir":
        monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(folder) + "2")
    with monkeypatch.context() as m, warnings.catch_warnings():
        warnings.simplefilter("error")
        m.setattr(os, call, refuse)
        assert not disk_cache.write(KEY, b"abc")
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(folder))
    assert disk_cache.read(KEY) is None
    assert [f.suffix for f in files(folder)] == [".code"]
    assert disk_cache.write(KEY, b"abc")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files' sizes")
def test_a_full_disk_leaves_nothing_behind(folder):
    code = """
import resource, signal
from graphjit.core import disk_cache as cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
assert cache.write("0" * 40, bytes(2000))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
assert not cache.write("1" * 40, bytes(10_000))
assert cache.read("1" * 40) is None
assert cache.read("0" * 40) == bytes(2000)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(files(folder)) == 1


def test_short_writes_are_continued(folder, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    content = os.urandom(1000)
    assert disk_cache.write(KEY, content)
    assert disk_cache.read(KEY) == content


def test_what_was_used_last_stays(folder, monkeypatch):
    monkeypatch.setattr(config, "cache_bytes", 10_000)
    keys = [f"{n:040x}" for n in range(20)]
    for number, key in enumerate(keys):
        assert disk_cache.write(key, bytes(1000))
        used = time.time() - 1000 + number
        if os.path.exists(disk_cache._path(key)):
            os.utime(disk_cache._path(key), (used, used))
        disk_cache.read(keys[0])
    assert disk_cache.info().bytes <= 10_000
    assert disk_cache.read(keys[0]) is not None
    assert disk_cache.read(keys[-1]) is not None
    assert disk_cache.read(keys[1]) is None


def test_what_is_larger_than_the_bound_is_not_written(folder, monkeypatch):
    monkeypatch.setattr(config, "cache_bytes", 1000)
    assert not disk_cache.write(KEY, bytes(1000))
    assert disk_cache.write(KEY, bytes(100))


def test_unfinished_files_of_killed_processes_are_removed(folder):
    disk_cache.write(KEY, b"abc")
    young, old = (folder / "code" / f"{name}.part" for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"abc")
    os.utime(old, (1, 1))
    disk_cache._state.to_count = 0
    disk_cache.write(OTHER, b"abc")
    assert young.exists()
    assert not old.exists()


def test_off_is_off(folder, monkeypatch):
    disk_cache.write(KEY, b"abc")
    monkeypatch.setattr(config, "cache", False)
    assert disk_cache.read(KEY) is None
    assert not disk_cache.write(OTHER, b"abc")
    assert disk_cache.info().problem == "it is turned off"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, (True, 1 << 30)),
        ({"GRAPHJIT_CACHE": ""}, (True, 1 << 30)),
        ({"GRAPHJIT_CACHE": "1"}, (True, 1 << 30)),
        ({"GRAPHJIT_CACHE": "0"}, (False, 1 << 30)),
        ({"GRAPHJIT_CACHE": "off"}, (False, 1 << 30)),
        ({"GRAPHJIT_CACHE_BYTES": "5000"}, (True, 5000)),
    ],
)
def test_the_environment_is_read_once(variables, said, monkeypatch):
    for name in ("GRAPHJIT_CACHE", "GRAPHJIT_CACHE_BYTES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fresh = type(config)()
    assert (fresh.cache, fresh.cache_bytes) == said


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"GRAPHJIT_CACHE_DIR": "/a/b"}, "/a/b/code"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/graphjit/code"),
        ({"GRAPHJIT_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b/code"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/graphjit/code"),
    ],
)
def test_the_folder_is_the_platforms_or_the_users(variables, where, monkeypatch):
    for name in ("GRAPHJIT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert disk_cache.code_folder() == where


def test_threads_write_and_read_one_key(folder):
    contents = [bytes([n]) * 5000 for n in range(8)]
    bad = []

    def work(content):
        for _ in range(30):
            disk_cache.write(KEY, content)
            found = disk_cache.read(KEY)
            if found is not None and found not in contents:
                bad.append(found)

    threads = [threading.Thread(target=work, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad
    assert len(files(folder)) == 1
    assert disk_cache.read(KEY) in contents


def test_the_command_line_shows_and_clears(folder, monkeypatch):
    def said(*words):
        result = CliRunner().invoke(main, ["cache", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert said("path").strip() == str(folder / "code")
    assert "entries  0" in said("info")
    disk_cache.write(KEY, b"abc")
    disk_cache.write(OTHER, b"abcd")
    text = said("info")
    assert "entries  2" in text
    assert "used     yes" in text
    assert '"entries": 2' in said("info", "--json")
    (folder / "code" / "x.part").write_bytes(b"")
    assert said("clear").strip() == "removed 2 entries"
    assert not files(folder)
    folder.chmod(0o777)
    assert "used     no: " in said("info")
