"""A model that was downloaded, copied and cut off from every hub loads from its folder alone."""

import shutil
from pathlib import Path

from inference import manifest
from inference.hub_listing import Hub
from inference.loader import load
from tests.fake_hub import serving

NANO = Path(__file__).parents[2] / "inference" / "nano"
PARTS = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")


def test_a_preserved_model_loads_offline(tmp_path: Path) -> None:
    with serving({"our/nano": {name: (NANO / name).read_bytes() for name in PARTS}}) as server:
        hub = Hub(tmp_path / "cache", server.endpoint)
        listing = hub.look_up("our/nano", "main")
        reported: list[int] = []
        folder = hub.download(listing, lambda progress: reported.append(progress.num_bytes))
    assert reported[-1] == listing.num_bytes
    found = manifest.sum_up("our/nano", listing.revision, folder, PARTS, lambda _num: None)
    manifest.copy_whole(found, folder, tmp_path / "kept", lambda _num: None)
    shutil.rmtree(tmp_path / "cache")
    assert load(str(tmp_path / "kept"), device="cpu").model.vocab_size > 0
