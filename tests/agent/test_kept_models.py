"""Models pulled from a hub on loopback, verified, preserved in a folder and removed."""

import io
import json
import re
import shutil
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from agent.errors import UsageError
from agent.frontends.meter import Meter
from agent.frontends.models import run
from agent.kept_models import KeptModels
from agent.models import cached_models
from inference import manifest
from inference.errors import ModelUnavailable
from inference.hub import folder_of
from inference.hub_listing import Hub
from inference.models import SHAPES
from inference.pins import pinned_folder, pins_folder
from tests.fake_hub import FakeHub, serving

TINY = "Qwen/Tiny"
HEADER = {"w": {"dtype": "U8", "shape": [102_192], "data_offsets": [0, 102_192]}}
WEIGHTS = (200).to_bytes(8, "little") + json.dumps(HEADER).ljust(200).encode() + bytes(102_192)


def files() -> dict[str, bytes]:
    return {
        "config.json": json.dumps(dict(SHAPES["0.8B"])).encode(),
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": WEIGHTS,
        "LICENSE": b"Apache-2.0\n",
        "README.md": b"# Tiny\n",
        "pytorch_model.bin": b"the same weights once more",
        "onnx/model.onnx": b"and once more",
    }


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving({TINY: files()}) as server:
        yield server


@pytest.fixture
def kept(hub: FakeHub, tmp_path: Path) -> KeptModels:
    hub_cache = Hub(tmp_path / "hub", hub.endpoint)
    return KeptModels(hub_cache, tmp_path / "manifests", tmp_path / "packed")


@pytest.fixture
def here(
    kept: KeptModels, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> KeptModels:
    """What a person has who sets nothing: the folders and the hub of the environment."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HUB_CACHE", str(kept.hub.cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(kept.hub.cache))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    address = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    return KeptModels(kept.hub, tmp_path / "state" / "qwen-agent" / "models", kept.packed)


def move_on(hub: FakeHub) -> None:
    """Let the hub's `main` be another commit, with weights of the same size."""
    hub.repositories[TINY]["model.safetensors"] = b"\1" + WEIGHTS[1:]


def command(kept: KeptModels, action: str, **words: object) -> int:
    options = {"id": TINY, "revision": "main", "yes": False, **words}
    return run(Namespace(action=action, **options), kept)


def test_a_pulled_model_is_pinned_to_a_commit_with_the_sum_of_every_file(
    kept: KeptModels, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(kept, "pull") == 0
    pinned = kept.pinned()[TINY]
    assert pinned.revision == hub.commit(TINY)
    taken = {file.name for file in pinned.files}
    assert taken == set(files()) - {"pytorch_model.bin", "onnx/model.onnx"}
    assert not any("onnx" in path or ".bin" in path for path in hub.asked if "resolve" in path)
    assert command(kept, "verify") == 0
    assert "6 files" in capsys.readouterr().out.splitlines()[-1]


def test_the_revision_that_was_pulled_is_loaded_until_another_is_pulled(
    here: KeptModels, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    command(here, "pull")
    pulled, old = here.found(TINY)[1], hub.commit(TINY)
    move_on(hub)
    asked = list(hub.asked)
    assert folder_of(TINY, None) == pinned_folder(TINY) == pulled
    assert hub.asked == asked, "the hub has no say in what is loaded"
    capsys.readouterr()
    assert command(here, "pull") == 0
    told = capsys.readouterr().out
    assert f"It was pinned to {old[:10]}, and is now to {hub.commit(TINY)[:10]}." in told
    assert folder_of(TINY, None) == pulled.with_name(hub.commit(TINY))
    command(here, "pull")
    assert "It was pinned" not in capsys.readouterr().out


def test_what_other_programs_do_in_the_cache_moves_no_pin(here: KeptModels, hub: FakeHub) -> None:
    command(here, "pull")
    pulled = here.found(TINY)[1]
    (here.hub.entry(TINY) / "refs" / "main").write_text("0" * 40)
    shutil.copytree(pulled, pulled.with_name("0" * 40))
    assert [model.folder for model in cached_models()] == [pulled]
    move_on(hub)
    (pulled / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"the revision that Qwen/Tiny is pinned to"):
        folder_of(TINY, None)


def test_what_is_missing_of_the_pinned_revision_is_loaded_anew(here: KeptModels) -> None:
    command(here, "pull")
    pulled = here.found(TINY)[1]
    (pulled / "model.safetensors").resolve().unlink()
    (pulled / "model.safetensors").unlink()
    assert folder_of(TINY, None) == pulled
    assert (pulled / "model.safetensors").read_bytes() == WEIGHTS


def test_a_revision_that_was_asked_for_leaves_main_to_the_others(
    here: KeptModels, hub: FakeHub
) -> None:
    reference = here.hub.entry(TINY) / "refs" / "main"
    commit = hub.commit(TINY)
    command(here, "pull", revision=commit)
    assert not reference.exists()
    reference.parent.mkdir(exist_ok=True)
    reference.write_text("0" * 40)
    command(here, "pull", revision=commit)
    assert reference.read_text() == "0" * 40
    assert folder_of(TINY, None).name == commit
    command(here, "pull")
    assert reference.read_text() == commit


def test_a_model_that_was_never_pulled_is_that_of_the_hub(here: KeptModels, hub: FakeHub) -> None:
    first = folder_of(TINY, None)
    move_on(hub)
    assert (first.name, folder_of(TINY, None).name) == (first.name, hub.commit(TINY))
    assert first.name != hub.commit(TINY)


def test_verify_names_what_is_damaged_missing_or_cut(
    kept: KeptModels, capsys: pytest.CaptureFixture[str]
) -> None:
    command(kept, "pull")
    _, folder = kept.found(TINY)
    (folder / "model.safetensors").resolve().write_bytes(b"\1" + WEIGHTS[1:])
    (folder / "LICENSE").unlink()
    (folder / "tokenizer.json").resolve().write_bytes(b"{")
    capsys.readouterr()
    assert command(kept, "verify") == 1
    told = capsys.readouterr().out
    assert "model.safetensors: its contents have changed" in told
    assert "LICENSE: cannot be read" in told
    assert "tokenizer.json: 1 bytes where 2 were" in told
    assert "3 of 6 files are not whole" in told


def test_a_download_that_broke_off_goes_on_from_there(kept: KeptModels, hub: FakeHub) -> None:
    hub.break_after["model.safetensors"] = 50_000
    command(kept, "pull")  # huggingface_hub tries again by itself
    assert (
        len([path for path in hub.asked if path.startswith("GET") and "safetensors" in path]) == 2
    )
    assert command(kept, "verify") == 0


def test_what_is_not_what_the_hub_says_of_it_is_not_kept(kept: KeptModels, hub: FakeHub) -> None:
    hub.lies["model.safetensors"] = b"\0" * len(WEIGHTS)
    with pytest.raises(ModelUnavailable, match=r"model.safetensors came damaged"):
        command(kept, "pull")
    assert kept.pinned() == {}
    hub.lies.clear()
    assert command(kept, "pull") == 0


def test_a_preserved_folder_is_whole_and_needs_no_hub_and_no_cache(
    kept: KeptModels, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(kept, "pull")
    target = tmp_path / "disk" / "tiny"
    assert command(kept, "preserve", folder=target) == 0
    hub.shutdown()
    assert command(kept, "rm", yes=True) == 0
    assert not kept.hub.entry(TINY).exists()
    assert {path.name for path in target.iterdir()} == {
        *("config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors", "LICENSE"),
        *("README.md", manifest.NAME),
    }
    assert not any(path.is_symlink() for path in target.iterdir())
    assert command(kept, "verify", id=str(target)) == 0
    (target / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")
    assert command(kept, "verify", id=str(target)) == 1


def test_a_copy_that_was_cut_short_is_not_there_and_goes_on(
    kept: KeptModels, tmp_path: Path
) -> None:
    command(kept, "pull")
    target = tmp_path / "tiny"
    expected, _ = kept.found(TINY)

    def stop(num_bytes: int) -> None:
        if num_bytes == len(WEIGHTS):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.preserve(TINY, target, stop)
    assert not target.exists()
    assert 0 < manifest.present_bytes(expected, manifest.begun_at(target)) < expected.num_bytes
    kept.preserve(TINY, target, lambda _num: None)
    assert list(manifest.check(expected, target, lambda _num: None)) == []
    assert not manifest.begun_at(target).exists()


def test_a_copy_that_is_gone_on_with_is_of_one_revision(
    kept: KeptModels, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repositories[TINY]["model-2.safetensors"] = WEIGHTS
    command(kept, "pull")
    target = tmp_path / "tiny"
    begun = manifest.begun_at(target)
    shutil.copytree(kept.found(TINY)[1], begun)  # all of it was copied, then the process killed
    del hub.repositories[TINY]["model-2.safetensors"]
    move_on(hub)
    command(kept, "pull")
    (begun / "LICENSE").write_bytes(b"Apache-2.1\n")  # damaged by the disk
    moved: list[int] = []
    expected = kept.preserve(TINY, target, moved.append)
    assert list(manifest.check(expected, target, lambda _num: None)) == []
    names = {file.name for file in expected.files}
    assert {path.name for path in target.iterdir()} == {*names, manifest.NAME}
    assert sum(moved) == expected.num_bytes


@pytest.mark.parametrize("target", ["/dev/null/x", "/proc/x"])
def test_where_no_folder_can_be_made_another_is_asked_for(kept: KeptModels, target: str) -> None:
    roomy = KeptModels(replace(kept.hub, free_bytes=lambda _path: 1 << 40), kept.manifests)
    command(kept, "pull")
    with pytest.raises(UsageError, match=rf"{target} cannot be made: .*; name another"):
        command(roomy, "preserve", folder=Path(target))


def test_a_damaged_model_is_not_preserved(kept: KeptModels, tmp_path: Path) -> None:
    command(kept, "pull")
    (kept.found(TINY)[1] / "model.safetensors").resolve().write_bytes(b"\1" + WEIGHTS[1:])
    with pytest.raises(ModelUnavailable, match=r"model.safetensors is not what it was"):
        command(kept, "preserve", folder=tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


def test_a_full_disk_is_told_before_anything_is_written(
    hub: FakeHub, kept: KeptModels, tmp_path: Path
) -> None:
    full = KeptModels(Hub(tmp_path / "full", hub.endpoint, lambda _path: 1000), kept.manifests)
    with pytest.raises(
        ModelUnavailable, match=r"needs 102.4 kB and 1.0 GB that stay free, and .* has 1.0 kB"
    ):
        command(full, "pull")
    assert not list((tmp_path / "full").rglob("*.safetensors"))
    command(kept, "pull")
    full = KeptModels(Hub(kept.hub.cache, hub.endpoint, lambda _path: 1000), kept.manifests)
    assert command(full, "pull") == 0  # all of it is there
    with pytest.raises(ModelUnavailable, match=r"needs 103.5 kB and 1.0 GB .* has 1.0 kB"):
        command(full, "preserve", folder=tmp_path / "tiny")


@pytest.mark.parametrize(
    ("name", "revision", "code", "words"),
    [
        ("Qwen/None", "main", 2, "the hub has no Qwen/None"),
        (TINY, "v9", 2, "no revision v9"),
        ("../../x", "main", 2, "no hub id"),
        ("Qwen", "main", 2, "no hub id"),
    ],
)
def test_a_wrong_name_is_one_sentence(
    kept: KeptModels, name: str, revision: str, code: int, words: str
) -> None:
    with pytest.raises((UsageError, ModelUnavailable), match=words) as refused:
        command(kept, "pull", id=name, revision=revision)
    assert refused.value.exit_code == code
    assert "\n" not in str(refused.value)


def test_a_model_of_another_family_is_not_downloaded(kept: KeptModels, hub: FakeHub) -> None:
    hub.repositories["x/llama"] = {**files(), "config.json": b'{"model_type": "llama"}'}
    hub.repositories["x/none"] = {"README.md": b"# nothing"}
    with pytest.raises(ModelUnavailable, match="'llama' is not a family we can run"):
        command(kept, "pull", id="x/llama")
    with pytest.raises(ModelUnavailable, match=r"holds no \*.safetensors"):
        command(kept, "pull", id="x/none")
    assert not any("model.safetensors" in path for path in hub.asked)


def test_who_pulls_what_does_not_fit_is_told_so(
    kept: KeptModels, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["Qwen/Qwen3.5-397B-A17B"] = files()
    assert command(kept, "pull", id="Qwen/Qwen3.5-397B-A17B") == 0
    assert "397B-A17B does not fit this machine as it is" in capsys.readouterr().out
    assert command(kept, "pull") == 0
    assert "does not fit" not in capsys.readouterr().out


def test_a_meter_is_for_terminals_only_and_says_when_it_will_be_done() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        with Meter("copying", 4_000_000_000, stream) as meter:
            meter.add(0)
            meter.add(1_000_000_000)
    assert pipe.getvalue() == ""
    assert "copying [" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")
    later = meter.line(time.monotonic() + 100)
    assert re.search(r"\[######  +\] 1.0 of 4.0 GB, (9|10) MB/s, (4 min|5 min) \d\d s left", later)


def test_without_the_hub_a_pull_is_one_sentence(kept: KeptModels, tmp_path: Path) -> None:
    nobody = KeptModels(Hub(tmp_path / "hub", "http://127.0.0.1:9"), kept.manifests)
    with pytest.raises(ModelUnavailable, match=r"cannot be asked for Qwen/Tiny") as refused:
        command(nobody, "pull")
    assert refused.value.exit_code == 7


def test_what_was_never_pulled_can_be_neither_verified_nor_removed(
    kept: KeptModels, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no sums are known"):
        command(kept, "verify")
    with pytest.raises(UsageError, match="is not in"):
        command(kept, "rm", yes=True)
    with pytest.raises(UsageError, match=r"no sums are known .* only a folder that"):
        command(kept, "verify", id=str(tmp_path))
    (tmp_path / manifest.NAME).write_text("{")
    with pytest.raises(ModelUnavailable, match="no manifest that can be read"):
        command(kept, "verify", id=str(tmp_path))


def test_a_manifest_names_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    listed = manifest.Manifest(TINY, "abc", (manifest.FileSum("../x", 1, "0" * 64),))
    manifest.write(listed, tmp_path / manifest.NAME)
    with pytest.raises(ModelUnavailable, match="not below it"):
        manifest.read(tmp_path / manifest.NAME)


GOOD: dict[str, Any] = {
    "schema_version": 1, "hub_id": TINY, "revision": "abc",
    "files": [{"name": "a", "num_bytes": 1, "sha256": "0" * 64}],
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": "../../../.."},
        {"revision": 5},
        {"hub_id": "../x"},
        {"files": []},
        {"files": [{**GOOD["files"][0], "name": 7}]},
        {"files": [{**GOOD["files"][0], "name": ""}]},
        {"files": [{**GOOD["files"][0], "name": "a\0"}]},
        {"files": [{**GOOD["files"][0], "num_bytes": "1"}]},
        {"files": [{**GOOD["files"][0], "sha256": None}]},
    ],
)
def test_a_manifest_of_wrong_fields_is_one_sentence_and_the_others_are_listed(
    here: KeptModels, hub: FakeHub, changed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["Qwen/Other"] = files()
    command(here, "pull", id="Qwen/Other")
    (pins_folder() / "Qwen--Tiny.json").write_text(json.dumps({**GOOD, **changed}))
    capsys.readouterr()
    assert command(here, "list") == 0
    told = capsys.readouterr()
    assert "Qwen/Other  qwen3.5, 100.0 KiB, in the hub cache; its sums are known" in told.out
    assert len(told.err.splitlines()) == 1
    assert re.search(
        r"Tiny.json is no manifest that can be read \(.*models pull Qwen/Tiny", told.err
    )
    with pytest.raises(ModelUnavailable, match="is no manifest that can be read"):
        command(here, "verify")
    with pytest.raises(ModelUnavailable, match="is no manifest that can be read"):
        folder_of(TINY, None)


def test_the_manifest_of_another_model_is_no_pin(here: KeptModels) -> None:
    command(here, "pull")
    shutil.copy(pins_folder() / "Qwen--Tiny.json", pins_folder() / "Qwen--Other.json")
    with pytest.raises(ModelUnavailable, match=r"Qwen--Other.json is the manifest of Qwen/Tiny"):
        command(here, "verify", id="Qwen/Other")


def test_nothing_is_removed_while_nobody_can_say_yes(
    kept: KeptModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(kept, "pull")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="--yes"):
        command(kept, "rm")
    assert kept.hub.entry(TINY).is_dir()


def test_what_was_packed_of_a_model_is_listed_and_goes_with_it(
    kept: KeptModels, capsys: pytest.CaptureFixture[str]
) -> None:
    command(kept, "pull")
    folder, *_ = (kept.hub.entry(TINY) / "snapshots").iterdir()
    kept.packed.mkdir()
    for name, source in (("Tiny-nf4-1.safetensors", folder), ("Gone-int8-2.safetensors", "/gone")):
        header = json.dumps({"__metadata__": {"source": str(source)}}).encode()
        (kept.packed / name).write_bytes(len(header).to_bytes(8, "little") + header)
    (kept.packed / "no-weights-3.safetensors").write_bytes(b"x")
    capsys.readouterr()
    command(kept, "list")
    told = capsys.readouterr().out
    assert re.search(
        r"Gone-int8-2.safetensors  packed int8, \d+ bytes, of /gone, which is not there\n", told
    )
    assert re.search(rf"Tiny-nf4-1.safetensors  packed nf4, \d+ bytes, of {folder}\n", told)
    assert "no-weights" not in told
    command(kept, "rm", yes=True)
    left = [path.name for path in kept.packed.iterdir()]
    assert sorted(left) == ["Gone-int8-2.safetensors", "no-weights-3.safetensors"]
    command(kept, "rm", id=str(kept.packed / "Gone-int8-2.safetensors"), yes=True)
    assert [path.name for path in kept.packed.iterdir()] == ["no-weights-3.safetensors"]


def test_the_list_says_what_is_here_and_what_is_pinned(
    kept: KeptModels, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(kept.hub.cache))
    command(kept, "pull")
    capsys.readouterr()
    assert command(kept, "list") == 0
    told = capsys.readouterr().out
    assert "Qwen/Tiny  qwen3.5, 100.0 KiB, in the hub cache; its sums are known" in told
    assert command(kept, "list", json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["schema_version", "cache", "models", "packed", "auto"]
    assert found["models"][0]["revision"] == kept.pinned()[TINY].revision
    assert found["auto"] == found["models"][0]["folder"]


def test_the_list_names_the_model_of_the_settings(
    kept: KeptModels,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "qwen-agent").mkdir()
    (tmp_path / "qwen-agent/config.toml").write_text('[model]\nname = "nano"\n')
    assert command(kept, "list") == 0
    told = capsys.readouterr().out
    assert "\nset: nano, in " in told
    assert "no model is set" not in told
