"""The disk tier when the disk, another process or a power cut gets in its way."""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.identity import FORMAT, Identity
from inference.packed import LinearStates, Packed, line_key
from inference.store import Store
from inference.store_folder import identities, strangers_in
from inference.writer import Writer
from tests.inference.faults import mounted, needs_root

ROOT = Path(__file__).parents[2]
IDENTITY = Identity("c0ffee", "main", "", "bfloat16", "float32", "", "2x2x16")
LINE = tuple(range(1, 31))


def node(line: tuple[int, ...], num_before: int = 0, *, num_values: int = 16) -> Packed:
    torch.manual_seed(sum(line))
    return Packed(
        key=line_key(line),
        parent=line_key(line[:num_before]),
        num_before=num_before,
        edge=line[num_before:],
        kv=torch.randn(2, 2, 2, len(line) - num_before, num_values).to(torch.bfloat16),
        linear=(LinearStates(conv=(torch.randn(1, 8, 4),), recurrent=(torch.randn(1, 2, 4, 4),)),),
        logits=torch.randn(97),
    )


def same(left: Packed, right: Packed) -> bool:
    assert left.linear is not None
    assert right.linear is not None
    assert left.logits is not None
    assert right.logits is not None
    return (
        (left.key, left.parent, left.num_before, left.edge)
        == (right.key, right.parent, right.num_before, right.edge)
        and torch.equal(left.kv, right.kv)
        and torch.equal(left.logits, right.logits)
        and all(
            torch.equal(a, b)
            for mine, yours in zip(left.linear, right.linear, strict=True)
            for a, b in zip(mine.tensors, yours.tensors, strict=True)
        )
    )


def file_of(store: Store, packed: Packed) -> Path:
    return store.folder / store.identity.digest / f"{packed.key}.safetensors"


def open_store(folder: Path, notices: list[str], identity: Identity = IDENTITY) -> Store:
    return Store(folder, identity, 1 << 30, notices.append)


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, notices: list[str]) -> Store:
    return open_store(tmp_path / "states", notices)


def is_one_sentence(notice: str) -> bool:
    return notice[0].isupper() and notice.endswith(".") and "\n" not in notice


# --- damaged files


def flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def flip_in_header(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(8 + int.from_bytes(content[:8], "little"))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def cut(path: Path, dice: random.Random) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


def lengthen(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes() + dice.randbytes(dice.randrange(1, 99)))


def zero_a_block(path: Path, dice: random.Random) -> None:
    """What a power cut leaves of a file system that writes sizes before contents."""
    content = bytearray(path.read_bytes())
    start = dice.randrange(len(content) - 64)
    content[start : start + 64] = bytes(64)
    path.write_bytes(content)


def swap_blocks(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    middle = dice.randrange(16, len(content) - 16)
    path.write_bytes(content[middle:] + content[:middle])


def swap_with_another_node(path: Path, dice: random.Random) -> None:
    others = sorted(set(path.parent.glob("*.safetensors")) - {path})
    other = dice.choice(others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def take_from_another_model(path: Path, dice: random.Random) -> None:
    other = open_store(path.parents[1], [], replace(IDENTITY, model=str(dice.random())))
    other.put(node(LINE))
    shutil.copy(file_of(other, node(LINE)), path)


def take_another_programs(path: Path, dice: random.Random) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + dice.randbytes(4))


def make_noise(path: Path, dice: random.Random) -> None:
    path.write_bytes(dice.randbytes(dice.choice((0, 1, 7, 8, 9, 100, 5000))))


CORRUPTIONS = [
    flip,
    flip_in_header,
    cut,
    lengthen,
    zero_a_block,
    swap_blocks,
    swap_with_another_node,
    take_from_another_model,
    take_another_programs,
    make_noise,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: corrupt.__name__)
def test_damage_is_never_read_is_said_and_is_not_met_again(
    corrupt: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    for seed in range(8):
        notices: list[str] = []
        store = open_store(tmp_path / str(seed), notices)
        nodes = [node(LINE), node(LINE[:7]), node(LINE[:20], 7)]
        for packed in nodes:
            assert store.put(packed)
        before = file_of(store, nodes[0]).read_bytes()
        corrupt(file_of(store, nodes[0]), random.Random(seed))
        assert file_of(store, nodes[0]).read_bytes() != before
        after = open_store(tmp_path / str(seed), notices)
        read = [(packed, after.get(packed.key)) for packed in nodes]
        assert all(found is None or same(packed, found) for packed, found in read)
        assert read[0][1] is None
        assert notices
        assert all(is_one_sentence(notice) for notice in notices)
        assert not file_of(store, nodes[0]).exists()
        del notices[:]
        again = open_store(tmp_path / str(seed), notices)
        assert again.get(nodes[0].key) is None
        assert notices == []
        assert again.put(nodes[0])
        found = again.get(nodes[0].key)
        assert found is not None
        assert same(nodes[0], found)


def test_every_single_bit_of_a_file_is_covered(tmp_path: Path) -> None:
    store = open_store(tmp_path, [])
    packed = replace(node((5,)), logits=None, linear=(), kv=torch.ones(1, 2, 1, 1, 2))
    store.put(packed)
    path = file_of(store, packed)
    whole = path.read_bytes()
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert store.get(packed.key) is None, f"bit {at % 8} of byte {at // 8}"
    assert len(whole) > 300
    path.write_bytes(whole)
    assert store.get(packed.key) is not None


def test_every_length_of_a_cut_file_is_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path, [])
    packed = replace(node((5,)), logits=None, linear=(), kv=torch.ones(1, 2, 1, 1, 2))
    store.put(packed)
    path = file_of(store, packed)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.get(packed.key) is None, length


def test_damage_in_the_part_that_is_not_read_does_no_harm(store: Store) -> None:
    packed = node(LINE)
    store.put(packed)
    path = file_of(store, packed)
    content = path.read_bytes()
    assert packed.logits is not None
    at = content.index(packed.logits.numpy().tobytes())
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    read = store.get(packed.key, state=False)
    assert read is not None
    assert torch.equal(read.kv, packed.kv)
    assert store.get(packed.key) is None


def test_entries_pass_over_what_is_damaged_and_what_hangs_on_it(
    store: Store, notices: list[str]
) -> None:
    nodes = [node(LINE[:7]), node(LINE[:20], 7), node(LINE, 20), node((99, *LINE))]
    for packed in nodes:
        store.put(packed)
    flip_in_header(file_of(store, nodes[1]), random.Random(1))
    assert {entry.key for entry in store.entries()} == {nodes[0].key, nodes[3].key}
    assert len(notices) == 1


def test_a_token_changed_on_disk_is_noticed_before_any_tensor_is_read(
    store: Store, notices: list[str]
) -> None:
    packed = node(LINE)
    store.put(packed)
    path = file_of(store, packed)
    content = path.read_bytes()
    at = content.index(torch.tensor(LINE, dtype=torch.int32).numpy().tobytes())
    path.write_bytes(content[:at] + b"\x02" + content[at + 1 :])
    assert store.entries() == []
    assert len(notices) == 1


OURS, NEXT = (b'"format":"%d"' % number for number in (FORMAT, FORMAT + 1))


def newer(path: Path) -> None:
    """Rewrite a file as the next version of the format would, its checksum right."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = bytearray(content[8 : 8 + length].replace(OURS, NEXT))
    header[29:37] = b"00000000"
    header[29:37] = b"%08x" % zlib.crc32(header)
    path.write_bytes(content[:8] + header + content[8 + length :])


def test_a_newer_format_is_passed_over_once_and_left_in_place(
    store: Store, notices: list[str]
) -> None:
    packed = node(LINE)
    store.put(packed)
    newer(file_of(store, packed))
    for _ in range(3):
        assert store.get(packed.key) is None
        assert store.entries() == []
        assert packed.key not in store
    assert file_of(store, packed).exists()
    assert len(notices) == 1
    assert "newer format" in notices[0]
    assert store.put(packed)  # ours is wanted now, in this format's own folder
    assert store.get(packed.key) is not None


def test_verify_reports_every_damage_and_removes_nothing(store: Store, notices: list[str]) -> None:
    nodes = [node((i, *LINE)) for i in range(6)]
    for packed in nodes:
        store.put(packed)
    dice = random.Random(5)
    flip(file_of(store, nodes[1]), dice)
    cut(file_of(store, nodes[2]), dice)
    newer(file_of(store, nodes[3]))
    shutil.copy(file_of(store, nodes[0]), file_of(store, nodes[4]))
    reports = {report.key: report.problem for report in store.verify()}
    assert [bool(reports[packed.key]) for packed in nodes] == [False, True, True, True, True, False]
    assert "that of other tokens" in reports[nodes[4].key]
    assert len(list(store.folder.glob("*/*.safetensors"))) == 6
    assert notices == []


def test_things_that_are_no_files_are_passed_over(store: Store, notices: list[str]) -> None:
    folder, pipe, link, good = (node((i, *LINE)) for i in range(4))
    store.put(good)
    file_of(store, folder).mkdir()
    os.mkfifo(file_of(store, pipe))
    file_of(store, link).symlink_to("nowhere")
    assert [entry.key for entry in store.entries()] == [good.key]
    assert [store.get(packed.key) for packed in (folder, pipe, link)] == [None] * 3
    assert [report.key for report in store.verify()] == [good.key]
    assert all(packed.key not in store for packed in (folder, pipe, link))
    assert store.prune(0) > 0
    for packed in (folder, pipe, link):
        store.remove(packed.key)
    others = [file_of(store, packed) for packed in (folder, pipe, link)]
    assert sorted(strangers_in(store.folder)) == sorted(others)
    assert all(is_one_sentence(notice) for notice in notices)
    assert store.put(link)  # whole, in its place: where it led to is untouched
    assert file_of(store, link).lstat().st_size > 1000


def everything(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    """Whatever lies there, its mode, time and content."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime, content)
    return found


def test_what_others_put_into_the_folder_is_never_counted_nor_removed(
    store: Store, tmp_path: Path, notices: list[str]
) -> None:
    mine, digest = node(LINE), replace(IDENTITY, model="other").digest
    store.put(mine)
    nbytes = store.nbytes
    own = store.folder / IDENTITY.digest
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(own, elsewhere)
    (elsewhere / "model.safetensors").write_bytes(bytes(5000))
    (elsewhere / f"{'a' * 32}.{'1' * 8}.tmp").write_bytes(b"half")
    (store.folder / "mymodels").symlink_to(elsewhere)
    (store.folder / digest).symlink_to(elsewhere)
    shutil.copytree(elsewhere, store.folder / "other")
    (store.folder / ("e" * 24)).mkdir()
    shutil.copy(file_of(store, mine), store.folder / ("e" * 24))
    (store.folder / ("f" * 24)).mkdir()
    shutil.copy(own / "identity.json", store.folder / ("f" * 24))
    shutil.copy(file_of(store, mine), store.folder / ("f" * 24))
    (own / "loop.safetensors").symlink_to("loop.safetensors")
    (own / f"{'b' * 32}.safetensors").symlink_to(elsewhere / "model.safetensors")
    (own / "model.safetensors").write_bytes(bytes(5000))
    (own / "notes.tmp").write_bytes(b"mine")
    strangers = {path.relative_to(store.folder).as_posix() for path in strangers_in(store.folder)}
    assert strangers == {
        *("mymodels", digest, "other", "e" * 24, "f" * 24),
        *(f"{IDENTITY.digest}/{name}" for name in ("loop.safetensors", "model.safetensors")),
        *(f"{IDENTITY.digest}/{name}" for name in (f"{'b' * 32}.safetensors", "notes.tmp")),
    }
    before = everything(tmp_path)
    small = Store(store.folder, IDENTITY, nbytes + 1000, notices.append)
    assert small.nbytes == nbytes
    assert small.put(node((9, *LINE)))  # the first one goes for it
    assert mine.key not in small
    assert small.prune(0) > 0
    assert small.nbytes == 0
    open_store(store.folder, [])
    changed = {path for path, _ in before.items() ^ everything(tmp_path).items()}
    lock = store.folder / "prune.lock"  # it is new, and changes the folder's time
    assert changed == {str(path) for path in (file_of(store, mine), own, lock, store.folder)}
    assert notices == []


def test_a_link_in_place_of_the_models_folder_is_not_entered(
    store: Store, tmp_path: Path, notices: list[str]
) -> None:
    store.put(node(LINE))
    own = store.folder / IDENTITY.digest
    own.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o755)
    own.symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path)
    assert store.get(node(LINE).key) is None
    assert node(LINE).key not in store
    assert not store.put(node((9, *LINE)))
    store.remove(node(LINE).key)
    store.touch(node(LINE).key)
    assert not store.drop_state(node(LINE).key)
    assert store.prune(0) == store.nbytes == 0
    assert (store.entries(), list(store.verify())) == ([], [])
    changed = {path for path, _ in before.items() ^ everything(tmp_path).items()}
    assert changed <= {str(store.folder), str(store.folder / "prune.lock")}
    assert all(is_one_sentence(notice) for notice in notices)
    assert any("its folder for this model is a link" in notice for notice in notices)


def test_a_damaged_identity_is_written_anew_and_an_unknown_one_is_not_listed(
    store: Store, tmp_path: Path
) -> None:
    store.put(node(LINE))
    file = store.folder / IDENTITY.digest / "identity.json"
    for content in (b"", b"{", b"[]", b'{"model": 1}', b"\xff\xfe", b"[" * 60_000):
        file.write_bytes(content)
        assert identities(store.folder) == []
        assert list(strangers_in(store.folder)) == [file.parent]
    assert open_store(store.folder, []).put(node(LINE[:9]))
    assert identities(store.folder) == [IDENTITY]
    assert list(strangers_in(store.folder)) == []


# --- a disk that refuses


@needs_root
@pytest.mark.fault
def test_a_full_disk_is_said_once_leaves_nothing_and_is_forgotten_when_there_is_room(
    tmp_path: Path, notices: list[str]
) -> None:
    with mounted(tmp_path / "small", "600k") as disk:
        store = open_store(disk / "states", notices)
        small, large = node(LINE), node((7, *LINE), num_values=4096)
        assert store.put(small)
        for _ in range(3):
            assert not store.put(large)
        assert len(notices) == 1
        assert "No space left on device" in notices[0]
        assert is_one_sentence(notices[0])
        assert {path.suffix for path in store.folder.rglob("*") if path.is_file()} == {
            ".safetensors",
            ".json",
            ".lock",
        }
        read = store.get(small.key)
        assert read is not None
        assert same(small, read)
        assert store.put(node((8, *LINE)))  # the small ones still go in
        assert not store.put(large)
        assert len(notices) == 2


@needs_root
@pytest.mark.fault
def test_pruning_on_a_full_disk_still_frees_it(tmp_path: Path, notices: list[str]) -> None:
    with mounted(tmp_path / "small", "600k") as disk:
        store = open_store(disk / "states", notices)
        store.put(node(LINE[:20], num_values=512))
        store.put(node(LINE, 20, num_values=512))
        with suppress_full(), (disk / "filling").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        assert store.prune(store.nbytes // 2) > 0
        assert all("No space left" in notice for notice in notices)
        assert len(store.entries()) <= 1


@contextmanager
def suppress_full() -> Iterator[None]:
    with pytest.raises(OSError) as caught:  # noqa: PT011  which one is asserted below
        yield
    assert caught.value.errno == errno.ENOSPC


@needs_root
@pytest.mark.fault
def test_a_read_only_disk_is_read_and_said_once_when_written(
    tmp_path: Path, notices: list[str]
) -> None:
    with mounted(tmp_path / "small", "4m") as disk:
        good, bad = node(LINE), node((7, *LINE))
        first = open_store(disk / "states", notices)
        first.put(good)
        first.put(bad)
        flip(file_of(first, bad), random.Random(2))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
        store = open_store(disk / "states", notices)
        read = store.get(good.key)
        assert read is not None
        assert same(good, read)
        assert store.put(good)  # it is there
        assert not store.put(node((8, *LINE)))
        del notices[:]
        assert [store.get(bad.key) for _ in range(3)] == [None] * 3
        store.remove(good.key)
        store.touch(good.key)
        assert not store.drop_state(good.key)
        assert store.prune(0) == 0
        assert all(is_one_sentence(notice) for notice in notices)
        assert len(notices) <= 4


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_folder_that_may_not_be_written_is_a_notice(store: Store, notices: list[str]) -> None:
    store.put(node(LINE[:9]))
    (store.folder / IDENTITY.digest).chmod(0o500)
    assert not store.put(node(LINE))
    assert "Permission denied" in notices[0]


@needs_root
@pytest.mark.fault
def test_permission_denied_is_a_notice_and_a_miss(tmp_path: Path) -> None:
    """Run as somebody else, to whom the folder is closed."""
    tmp_path.chmod(0o755)
    store = open_store(tmp_path / "states", [])
    store.put(node(LINE))
    code = f"""
import json, os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from pathlib import Path
store = Store(Path({str(store.folder)!r}), IDENTITY, 1 << 30, notices.append)
packed = node(LINE)
print(json.dumps([store.get(packed.key) is None, store.put(packed), store.entries(),
    store.prune(0), packed.key in store, store.nbytes, identities(store.folder), notices]))
"""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], cwd=ROOT, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    *found, words = json.loads(done.stdout)
    assert found == [True, False, [], 0, False, 0, []]
    assert words
    assert all("Permission denied" in notice and is_one_sentence(notice) for notice in words)


def test_a_file_where_the_folder_should_be_is_a_notice(tmp_path: Path, notices: list[str]) -> None:
    (tmp_path / "states").write_text("mine")
    store = open_store(tmp_path / "states", notices)
    assert not store.put(node(LINE))
    assert store.get(node(LINE).key) is None
    assert store.entries() == []
    assert store.prune(0) == 0
    assert store.nbytes == 0
    assert (tmp_path / "states").read_text() == "mine"
    assert notices
    assert all(is_one_sentence(notice) for notice in notices)


def test_a_folder_that_is_removed_meanwhile_is_made_anew(store: Store, notices: list[str]) -> None:
    store.put(node(LINE))
    shutil.rmtree(store.folder)
    assert store.get(node(LINE).key) is None
    assert store.prune(0) == 0
    assert store.put(node(LINE))
    assert store.get(node(LINE).key) is not None
    assert len(notices) <= 1


def test_a_store_that_fails_is_a_notice_of_the_writer_and_no_more(
    tmp_path: Path, notices: list[str]
) -> None:
    store = open_store(tmp_path / "states", notices)
    store.folder.write_text("in the way")
    writer = Writer(store)
    writer.write_later("it", lambda: node(LINE))
    assert writer.flush(60)
    assert writer.close()
    assert len(notices) == 1


# --- other processes

PREAMBLE = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
import torch
torch.set_num_threads(1)
from test_store_faults import *
notices = []
"""


def start(code: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


WRITES_FOR_EVER = """
store = Store(Path(sys.argv[1]), IDENTITY, 1 << 30, notices.append)
print("ready", flush=True)
for i in range(1_000_000):
    packed = node((i % 20, *LINE), num_values=8192)
    store.put(packed)
    if i % 3 == 0:
        store.drop_state(packed.key)
    if i % 5 == 0:
        store.remove(packed.key)
"""


@pytest.mark.fault
def test_a_writer_killed_at_any_moment_leaves_whole_files_and_its_rest_is_swept_up(
    tmp_path: Path, notices: list[str]
) -> None:
    dice = random.Random(11)
    expected = {packed.key: packed for packed in _all_nodes()}
    num_left = num_found = 0
    for number in range(40):
        if number >= 8 and num_left and num_found > 8:
            break
        process = start(WRITES_FOR_EVER, str(tmp_path / "states"))
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.02 + dice.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        num_left += len(list((tmp_path / "states").glob("*/*.tmp")))
        store = open_store(tmp_path / "states", notices)
        assert list((tmp_path / "states").glob("*/*.tmp")) == []
        assert all(not report.problem for report in store.verify())
        for entry in store.entries():
            read = store.get(entry.key)
            assert read is not None
            assert torch.equal(read.kv, expected[entry.key].kv)
            num_found += 1
    assert notices == []
    assert num_found > 8
    assert num_left > 0, "no kill hit a write: the sweeping was not tried"


def _all_nodes() -> list[Packed]:
    return [node((i, *LINE), num_values=8192) for i in range(20)]


def test_what_a_living_process_is_writing_is_not_swept_up(store: Store) -> None:
    store.put(node(LINE))
    folder = store.folder / IDENTITY.digest
    live, dead = folder / f"{'a' * 32}.{'1' * 8}.tmp", folder / f"identity.{'2' * 8}.tmp"
    dead.write_bytes(b"half")
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        open_store(store.folder, [])
        assert live.exists()
        assert not dead.exists()
    open_store(store.folder, [])
    assert not live.exists()


READS_WHILE_OTHERS_WRITE = """
store = Store(Path(sys.argv[1]), IDENTITY, 400_000, notices.append)
dice = random.Random(int(sys.argv[2]))
nodes = [node((i, *LINE)) for i in range(20)]
nodes += [node((*packed.edge, 50), len(packed.edge)) for packed in nodes]
hits = 0
began = time.monotonic()
while time.monotonic() < began + (4 if hits > 20 else 60):
    packed = dice.choice(nodes)
    match dice.randrange(6):
        case 0 | 1:
            store.put(packed)
        case 2:
            store.drop_state(packed.key)
        case 3 if dice.random() < 0.2:
            store.prune(dice.randrange(100_000))
        case _:
            found = store.get(packed.key)
            if found is not None:
                hits += 1
                assert torch.equal(found.kv, packed.kv)
                assert found.linear is None or same(packed, found)
    store.entries()
print(hits, notices)
"""


@pytest.mark.fault
def test_processes_that_write_prune_and_read_the_same_folder_see_whole_nodes_only(
    tmp_path: Path,
) -> None:
    arguments = [(str(tmp_path / "states"), str(seed)) for seed in range(3)]
    processes = [start(READS_WHILE_OTHERS_WRITE, *each) for each in arguments]
    for process in processes:
        output, words = process.communicate(timeout=300)
        assert process.returncode == 0, words.decode()
        hits, _, said = output.decode().strip().partition(" ")
        assert int(hits) > 20
        assert said == "[]"
    store = open_store(tmp_path / "states", [])
    assert all(not report.problem for report in store.verify())
    assert list(store.folder.glob("*/*.tmp")) == []


def test_readers_do_not_wait_for_a_lock(store: Store, notices: list[str]) -> None:
    packed = node(LINE)
    store.put(packed)
    with (
        (store.folder / "names.lock").open() as one,
        (store.folder / "prune.lock").open("w") as two,
    ):
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(two, fcntl.LOCK_EX)
        assert store.get(packed.key) is not None
        assert len(store.entries()) == 1
        store.touch(packed.key)
    assert notices == [], "a lock that is waited for in vain is told"


@pytest.mark.fault
def test_a_lock_that_is_never_given_back_is_a_notice(
    store: Store, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.whole_files.LOCK_TIMEOUT_S", 0.2)
    store.put(node(LINE[:9]))
    with (store.folder / "names.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not store.put(node(LINE))
    assert len(notices) == 1
    assert "another process holds its lock" in notices[0]
    assert store.put(node(LINE))


def test_no_descriptor_or_mapping_is_left_open(store: Store) -> None:
    def num_open() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  its entries vanish while listed

    packed = node(LINE)
    store.put(packed)
    before = num_open()
    for i in range(30):
        store.put(node((i, *LINE)))
        assert store.get(packed.key) is not None
        store.drop_state(node((i, *LINE)).key)
        store.entries()
        list(store.verify())
    flip(file_of(store, packed), random.Random(0))
    assert store.get(packed.key) is None
    store.prune(0)
    assert num_open() <= before, "fewer, where an earlier test's thread ends only now"
