"""`qwen-agent cache` over a real store of small nodes."""

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.cli import answer
from agent.config import load_config, snapshots_folder
from agent.errors import ConfigError, UsageError
from agent.frontends.cache import age_in_words, bytes_in_words, size_of
from agent.request import FixRequest
from agent.settings import CacheConfig, Config
from agent.stored import read_stored
from inference.identity import Identity
from inference.packed import LinearStates, Packed, line_key
from inference.store import Store

IDENTITY = Identity("c0ffee", "main", "nf4", "bfloat16", "float32", "", "24 layers")
Capture = pytest.CaptureFixture[str]

BASE = tuple(range(100))
TALK = (*BASE, *range(200, 300))
LATER = (*TALK, *range(300, 340))
OTHER = (*BASE, *range(400, 420))


def node(line: tuple[int, ...], num_before: int, state: bool = True) -> Packed:
    linear = (LinearStates((torch.ones(1, 24, 4),), (torch.ones(1, 2, 8, 8),)),)
    return Packed(
        key=line_key(line),
        parent=line_key(line[:num_before]),
        num_before=num_before,
        edge=line[num_before:],
        kv=torch.zeros(1, 2, 2, len(line) - num_before, 16),
        linear=linear if state else None,
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return snapshots_folder()


@pytest.fixture
def store(folder: Path) -> Store:
    """A base without a state, two lines that go on from it, and a later turn of one of them."""
    made = Store(folder, IDENTITY, 1 << 30, pytest.fail)
    nodes = node(BASE, 0, state=False), node(TALK, 100), node(LATER, 200), node(OTHER, 100)
    assert all(made.put(each) for each in nodes)
    return made


def file_of(store: Store, line: tuple[int, ...]) -> Path:
    return store.folder / store.identity.digest / f"{line_key(line)}.safetensors"


def age(store: Store, line: tuple[int, ...], days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(file_of(store, line), (then, then))


def damage(store: Store, line: tuple[int, ...]) -> None:
    content = bytearray(file_of(store, line).read_bytes())
    content[-5] ^= 1
    file_of(store, line).write_bytes(content)


def listed(capsys: Capture) -> dict[str, Any]:
    assert answer(["cache", "list", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def kept(store: Store) -> set[tuple[int, ...]]:
    return {line for line in (BASE, TALK, LATER, OTHER) if file_of(store, line).exists()}


@pytest.mark.parametrize(
    "words",
    [
        ("cache",),
        ("cache", "list"),
        ("cache", "prune"),
        ("cache", "prune", "--all"),
        ("cache", "prune", "--older-than", "3"),
        ("cache", "verify"),
    ],
    ids=" ".join,
)
def test_an_empty_cache_is_one_friendly_sentence(
    words: tuple[str, ...], capsys: Capture, folder: Path
) -> None:
    assert answer(words) == 0
    output = capsys.readouterr()
    assert output.out == f"Nothing is kept yet: {folder} has no states of conversations.\n"
    assert output.err == ""
    assert not folder.exists()


def test_the_list_is_a_tree_by_model_with_sizes_and_the_budget(
    store: Store, capsys: Capture, folder: Path
) -> None:
    second = Store(folder, replace(IDENTITY, shape="8 layers"), 1 << 30, pytest.fail)
    assert second.put(node(BASE, 0))
    age(store, TALK, 5)
    assert answer(["cache"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert sum(line.startswith("model ") for line in lines) == 2
    assert f"model {IDENTITY.digest[:8]}  nf4, bfloat16, 24 layers; " in text
    (base,) = (line for line in lines if line.startswith(f"  {line_key(BASE)[:8]}  ")
               if "not by itself" in line)  # fmt: skip
    assert "100 tokens" in base
    (talk,) = (line for line in lines if line_key(TALK)[:8] in line)
    assert talk.startswith(f"    {line_key(TALK)[:8]}  ")  # indented: the line forks above it
    assert talk.endswith("KiB  5 days ago")
    (later,) = (line for line in lines if line_key(LATER)[:8] in line)
    assert later.startswith("    ")
    assert lines.index(later) == lines.index(talk) + 1
    assert lines[-1] == f"{bytes_in_words(store.nbytes)} of 20.0 GiB, in {folder}"


def test_the_list_as_json_holds_all_of_it_and_changes_nothing(
    store: Store, capsys: Capture, folder: Path
) -> None:
    damage(store, OTHER)
    (folder / IDENTITY.digest / f"{'0' * 32}.safetensors").write_bytes(b"not one of ours")
    file_of(store, BASE).unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = listed(capsys)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert (found["folder"], found["budget_bytes"]) == (str(folder), 20 * 1024**3)
    assert found["nbytes"] == store.nbytes
    (model,) = found["models"]
    assert model["identity"]["shape"] == "24 layers"
    assert model["nodes"] == []
    assert {one["key"] for one in model["stranded"]} == {line_key(x) for x in (TALK, LATER, OTHER)}
    assert model["unreadable"] == [f"{'0' * 32}.safetensors"]
    assert answer(["cache"]) == 0
    text = capsys.readouterr().out
    assert "3 that can no longer be reached" in text
    assert "1 that cannot be read" in text


def test_the_nodes_of_the_json_say_what_a_reply_could_do_with_them(
    store: Store, capsys: Capture
) -> None:
    (model,) = listed(capsys)["models"]
    by_key = {one["key"]: one for one in model["nodes"]}
    base, talk, later = (by_key[line_key(line)] for line in (BASE, TALK, LATER))
    assert (base["num_tokens"], base["resumable"], base["state_nbytes"]) == (100, False, 0)
    assert (later["num_before"], later["num_tokens"], later["resumable"]) == (200, 240, True)
    assert later["parent"] == talk["key"]
    assert later["nbytes"] == file_of(store, LATER).stat().st_size
    assert (base["depth"], talk["depth"], later["depth"]) == (0, 1, 1)
    keys = [one["key"] for one in model["nodes"]]
    assert all(one["parent"] in ("", *keys[:n]) for n, one in enumerate(model["nodes"]))


def test_one_node_is_shown_with_the_line_that_it_ends(store: Store, capsys: Capture) -> None:
    assert answer(["cache", "show", line_key(LATER)[:10]]) == 0
    text = capsys.readouterr().out
    assert line_key(LATER) in text
    assert "240, the last 40 in it" in text
    assert "resumable  yes" in text
    line = [row.split()[0] for row in text.partition("in all\n")[2].splitlines()]
    assert line == [line_key(x)[:8] for x in (BASE, TALK, LATER)]
    assert answer(["cache", "show", line_key(BASE).upper()]) == 0
    assert "no: it holds keys and values" in capsys.readouterr().out
    file_of(store, BASE).unlink()
    assert answer(["cache", "show", line_key(TALK)]) == 0
    assert "no: what it builds on is gone" in capsys.readouterr().out


def test_a_key_that_names_none_or_several_is_a_sentence(store: Store, capsys: Capture) -> None:
    assert answer(["cache", "show", "xyz"]) == 2
    assert "there is no stored state xyz" in capsys.readouterr().err
    assert answer(["cache", "show", ""]) == 2
    assert "4 stored states begin with" in capsys.readouterr().err


def test_models_that_share_a_key_are_told_apart(
    store: Store, folder: Path, capsys: Capture
) -> None:
    other = replace(IDENTITY, shape="8 layers")
    assert Store(folder, other, 1 << 30, pytest.fail).put(node(BASE, 0))
    assert answer(["cache", "show", line_key(BASE)]) == 2
    assert "MODEL/KEY" in capsys.readouterr().err
    assert answer(["cache", "show", f"{other.digest[:8]}/{line_key(BASE)[:8]}"]) == 0
    assert "8 layers" in capsys.readouterr().out


def test_prune_keeps_what_the_budget_holds_and_says_what_it_freed(
    store: Store, capsys: Capture
) -> None:
    before = store.nbytes
    age(store, OTHER, 30)
    assert answer(["cache", "prune"]) == 0
    assert capsys.readouterr().out.startswith(f"0 bytes freed, {bytes_in_words(before)} left")
    assert answer(["cache", "prune", "--budget", str(before - 1)]) == 0
    assert kept(store) == {BASE, TALK, LATER}
    freed = bytes_in_words(before - store.nbytes)
    assert capsys.readouterr().out.startswith(f"{freed} freed, ")


def test_prune_obeys_the_budget_of_the_settings(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "config/qwen-agent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[cache]\ndisk_gib = 0\n")
    assert answer(["cache", "prune"]) == 0
    assert kept(store) == set()


def test_prune_all_leaves_nothing_behind(store: Store, capsys: Capture, folder: Path) -> None:
    freed = bytes_in_words(store.nbytes)
    assert answer(["cache", "prune", "--all"]) == 0
    assert capsys.readouterr().out == f"{freed} freed, 0 bytes left in {folder}\n"
    assert not any(path.is_dir() for path in folder.iterdir())
    assert answer(["cache"]) == 0
    assert "Nothing is kept yet" in capsys.readouterr().out
    assert store.put(node(BASE, 0)), "a process that is running goes on storing"


def test_prune_by_age_spares_what_newer_ones_build_on(store: Store) -> None:
    for line in (BASE, TALK, OTHER):
        age(store, line, 10)
    age(store, LATER, 4)
    assert answer(["cache", "prune", "--older-than", "7"]) == 0
    assert kept(store) == {BASE, TALK, LATER}
    assert answer(["cache", "prune", "--older-than", "3.5"]) == 0
    assert kept(store) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("--budget", "lots"),
        ("--budget", f"{'9' * 400}T"),
        ("--older-than", "-1"),
        ("--older-than", "nan"),
    ],
)
def test_a_limit_that_cannot_be_meant_removes_nothing(
    words: tuple[str, ...], store: Store, capsys: Capture
) -> None:
    assert answer(["cache", "prune", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert len(kept(store)) == 4


def test_verify_reads_all_and_exits_0_when_it_is_whole(store: Store, capsys: Capture) -> None:
    assert answer(["cache", "verify"]) == 0
    assert capsys.readouterr().out == "4 whole, 0 damaged\n"


def test_verify_removes_what_is_damaged_and_exits_1_once(store: Store, capsys: Capture) -> None:
    damage(store, LATER)
    assert answer(["cache", "verify"]) == 1
    output = capsys.readouterr()
    assert "is damaged; removed\n3 whole, 1 damaged\n" in output.out
    assert output.err == ""
    assert kept(store) == {BASE, TALK, OTHER}
    assert answer(["cache", "verify"]) == 0


def test_verify_leaves_the_files_of_a_newer_version_and_of_others(
    store: Store, capsys: Capture, folder: Path
) -> None:
    path = file_of(store, LATER)
    content = bytearray(path.read_bytes())
    at = content.index(b'"format":"') + len(b'"format":"')
    num_bytes = int.from_bytes(content[:8], "little")
    content[at : at + 1] = b"9"
    where = slice(8 + 29, 8 + 37)
    content[where] = b"00000000"
    content[where] = b"%08x" % zlib.crc32(content[8 : 8 + num_bytes])
    path.write_bytes(content)
    foreign = folder / IDENTITY.digest / "foreign.safetensors"
    foreign.write_bytes(b"xyz")
    assert answer(["cache", "verify"]) == 0
    text = capsys.readouterr().out
    assert "newer format; left as it is" in text
    assert f"{IDENTITY.digest}/foreign.safetensors: not the store's; left as it is\n" in text
    assert text.endswith("\n3 whole, 0 damaged, 1 of a newer version, 1 not the store's\n")
    assert path.exists()
    assert foreign.exists()


@pytest.mark.parametrize(
    "words", [("prune", "--all"), ("prune", "--older-than", "0"), ("prune", "--budget", "0")]
)
def test_pruning_leaves_what_is_not_the_stores_also_behind_links(
    words: tuple[str, ...], store: Store, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.safetensors").write_bytes(b"weights")
    shutil.copy(file_of(store, TALK), elsewhere)
    (elsewhere / "identity.json").write_text("{}")
    shutil.copytree(elsewhere, folder / "other")
    (folder / "alone").mkdir()
    (folder / "alone" / "identity.json").write_text("{}")
    (folder / "mymodels").symlink_to(elsewhere)
    loop = folder / IDENTITY.digest / "loop.safetensors"
    loop.symlink_to(loop)
    freed = bytes_in_words(store.nbytes)
    assert answer(["cache", *words]) == 0
    assert capsys.readouterr().out == f"{freed} freed, 0 bytes left in {folder}\n"
    assert kept(store) == set()
    for name in ("elsewhere", f"{folder.relative_to(tmp_path)}/other"):
        assert len(list((tmp_path / name).iterdir())) == 3, name
    assert (folder / "alone" / "identity.json").exists()
    assert loop.is_symlink()
    assert answer(["cache", "verify"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    names = ("alone", "mymodels", "other", f"{IDENTITY.digest}/loop.safetensors")
    assert lines == [f"{name}: not the store's; left as it is" for name in names]
    assert last == "0 whole, 0 damaged, 4 not the store's"
    assert answer(["cache", "list"]) == 0
    assert "Nothing is kept yet" in capsys.readouterr().out


def test_a_name_that_would_rule_the_terminal_is_shown_harmless_and_whole(
    store: Store, folder: Path, capsys: Capture
) -> None:
    (folder / IDENTITY.digest / "a\x1b[2J\x1b]0;b\n\udcff.safetensors").touch()
    assert answer(["cache", "verify"]) == 0
    text = capsys.readouterr().out
    shown = f"{IDENTITY.digest}/a\\x1b[2J\\x1b]0;b\\n\\udcff.safetensors"
    assert text.startswith(f"{shown}: not the store's; left as it is\n4 whole, ")


@pytest.mark.parametrize("action", ["list", "prune", "verify", "show"])
@pytest.mark.parametrize("is_above", [False, True])
def test_a_file_where_the_folder_should_be_is_one_sentence(
    action: str, is_above: bool, folder: Path, capsys: Capture
) -> None:
    file = folder.parents[1] if is_above else folder
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    assert answer(["cache", action, *(["abc"] if action == "show" else [])]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"qwen-agent: {file} is no folder, so no states can be kept in {folder}; move it away, "
        "or set XDG_CACHE_HOME to a folder\n"
    )


@contextmanager
def somebody_else() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def anothers(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same store where everybody can come to it, and all may read it."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{base}/cache")
        monkeypatch.setenv("XDG_CONFIG_HOME", f"{base}/config")
        folder = snapshots_folder()
        shutil.copytree(store.folder, folder)
        for path in Path(base).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield Store(folder, IDENTITY, 1 << 30, pytest.fail)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@needs_root
def test_states_that_may_be_read_but_not_removed_are_listed_and_not_pruned(
    anothers: Store, capsys: Capture
) -> None:
    with somebody_else():
        assert answer(["cache", "list"]) == 0
        assert line_key(TALK)[:8] in capsys.readouterr().out
        assert answer(["cache", "verify"]) == 0
        assert capsys.readouterr().out == "4 whole, 0 damaged\n"
        for words in (("--all",), ("--budget", "1"), ("--older-than", "0")):
            assert answer(["cache", "prune", *words]) == 1
            output = capsys.readouterr()
            assert output.out.startswith(f"0 bytes freed, {bytes_in_words(anothers.nbytes)} left")
            assert output.err.count("\n") == 1
            assert "(Permission denied)" in output.err
            assert "stored in" not in output.err  # nobody wanted to
    assert len(kept(anothers)) == 4


@needs_root
def test_states_that_may_not_be_read_are_not_said_to_be_none(
    anothers: Store, capsys: Capture
) -> None:
    closed = anothers.folder / IDENTITY.digest
    closed.chmod(0o700)
    commands = ["list", "prune", "verify"]
    with somebody_else():
        for command in commands:
            assert answer(["cache", command]) == 1
            output = capsys.readouterr()
            assert output.out == f"Nothing else is kept in {anothers.folder}.\n"
            assert output.err == (
                f"qwen-agent: {closed} cannot be read (Permission denied); "
                "what it holds is left out.\n"
            )
    anothers.folder.chmod(0o700)
    with somebody_else():
        for command in commands:
            assert answer(["cache", command]) == 1
            output = capsys.readouterr()
            assert output.out == ""
            assert output.err.startswith(
                f"qwen-agent: {anothers.folder} cannot be read (Permission denied); "
            )


def test_a_broken_setting_is_one_sentence(store: Store, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config/qwen-agent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[cache]\ndisk_gib = -1\n")
    assert answer(["cache", "list"]) == 2
    assert "disk_gib must be 0 to 1000000, not -1.0\n" in capsys.readouterr().err
    file.write_text("[cache]\ndisk_gib = 1e300\n")
    assert answer(["cache", "list"]) == 2
    assert "disk_gib must be 0 to 1000000, not 1e+300\n" in capsys.readouterr().err


def test_a_folder_that_is_no_models_is_passed_over(store: Store, folder: Path) -> None:
    (folder / "strange").mkdir()
    (folder / "strange" / "identity.json").write_text("[]")
    (folder / "strange" / "a.safetensors").write_bytes(b"x")
    (model,) = read_stored(folder)
    assert model.digest == IDENTITY.digest


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("0", 0), ("500", 500), ("500M", 500 << 20), ("2.5 GiB", 5 << 29), ("1tb", 1 << 40)],
)
def test_sizes_are_read_as_people_write_them(text: str, num_bytes: int) -> None:
    assert size_of(text) == num_bytes


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "5 X", "1.G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        size_of(text)


def test_ages_and_sizes_are_written_in_one_unit() -> None:
    ages = [age_in_words(seconds) for seconds in (-5, 59, 61, 600, 7_300, 400_000)]
    assert ages == ["just now", "just now", "a minute ago", "10 min ago", "2 h ago", "5 days ago"]
    sizes = [bytes_in_words(n) for n in (0, 1023, 1536, 5 << 20, 3 << 30)]
    assert sizes == ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 GiB"]


def test_the_budget_on_disk_is_a_setting_that_old_sessions_do_without(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[cache]\ndisk_gib = 1\n")
    config = load_config(file)
    assert config.cache.disk_bytes == 1 << 30
    file.write_text("[cache]\ndisk_gib = inf\n")
    with pytest.raises(ConfigError, match="disk_gib must be 0 to 1000000, not inf"):
        load_config(file)
    request = FixRequest(Path("/repo"), config=config)
    assert FixRequest.from_record(request.to_record()) == request
    old = request.to_record()
    del old["config"]["cache"], old["config"]["model"]["thinking_history"]
    assert FixRequest.from_record(old).config == Config(cache=CacheConfig())
