"""Pictures: which ids stand for one, and that a state that has seen it goes on like one run of
transformers' own conditional-generation model, whatever was reused on the way."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from inference.door import GenerationEnd, OnProgress
from inference.engine import Engine
from inference.errors import InferenceError, ModelUnavailable, PictureUnreadable
from inference.host_client import HostEngine
from inference.loader import load
from inference.messages import Message, Picture, SamplingOptions
from inference.model import Model
from inference.opened import OpenedEngine
from inference.pictures import FIRST_ID, Place, Sight, read_picture, sight_of
from inference.profiles import QWEN3_5
from inference.transcript import Transcript
from inference.vision import Vision
from tests.inference.conftest import TINY, TINY_LINEAR, family_definition
from tests.inference.test_host import Served

PAD = 90
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 4,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}
SIZE = {"shortest_edge": 256, "longest_edge": 4096}
WORDS = tuple(range(1, 30))


@pytest.fixture(scope="module")
def oracle() -> Any:
    """transformers' own model with both towers, random weights, float32."""
    text = {
        **TINY,
        **TINY_LINEAR,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [1, 1, 0],
            "partial_rotary_factor": 0.25,
            "mrope_interleaved": True,
        },
    }
    config = transformers.Qwen3_5Config(
        text_config=text, vision_config=VISION, image_token_id=PAD, tie_word_embeddings=False
    )
    torch.manual_seed(3)
    module = transformers.Qwen3_5ForConditionalGeneration(config)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    return module.eval()


@pytest.fixture(scope="module")
def folder(oracle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    oracle.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": SIZE, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.4, 0.3]})
    )
    (folder / "tokenizer.json").write_text(family_definition())
    return folder


@pytest.mark.parametrize("size", [{"shortest_edge": "x"}, {"longest_edge": None}, [3]])
def test_a_size_that_is_none_is_named(size: Any, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    with pytest.raises(ModelUnavailable, match=r"preprocessor_config\.json holds a size that is"):
        sight_of({"vision_config": {}}, tmp_path)


@pytest.fixture(scope="module")
def sight(folder: Path) -> Sight:
    found = sight_of(json.loads((folder / "config.json").read_text()), folder)
    assert found == Sight(side=8, min_pixels=256, max_pixels=4096)
    return found


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    loaded = load(str(folder), dtype="float32")
    loaded.model.vision = Vision(folder, loaded.config, loaded.model.device, torch.float32)
    return loaded.model


def picture_of(path: Path, width: int, height: int, seed: int) -> Picture:
    noise = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    Image.fromarray(noise.to(torch.uint8).numpy()).save(path)
    return read_picture(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Picture, Picture]:
    folder = tmp_path_factory.mktemp("pictures")
    return (
        picture_of(folder / "wide.png", 50, 30, seed=1),
        picture_of(folder / "high.png", 17, 40, seed=2),
    )


Line = tuple[tuple[int, ...], tuple[Place, ...]]


@pytest.fixture(scope="module")
def line(sight: Sight, pictures: tuple[Picture, Picture]) -> Line:
    """Words, a picture, words, another picture, words."""
    first = sight.place(pictures[0], 12)
    second = sight.place(pictures[1], first.end + 7)
    tokens = (*WORDS[:12], *first.ids, *WORDS[12:19], *second.ids, *WORDS[19:])
    return tokens, (first, second)


def expected_logits(oracle: Any, line: Line) -> torch.Tensor:
    """One run of transformers' model and processor over the whole line, float32 [T, V]."""
    tokens, places = line
    processor = Qwen2VLImageProcessorPil(
        size=SIZE,
        patch_size=4,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.5, 0.4, 0.3],
    )
    images = [Image.open(place.picture.path).convert("RGB") for place in places]
    batch = processor(images=images, return_tensors="pt")
    ids = torch.tensor([[PAD if i >= FIRST_ID else i for i in tokens]])
    oracle.model.rope_deltas = None
    with torch.inference_mode():
        output = oracle(
            input_ids=ids,
            mm_token_type_ids=(ids == PAD).int(),
            pixel_values=batch["pixel_values"],
            image_grid_thw=batch["image_grid_thw"],
        )
    logits: torch.Tensor = output.logits[0]
    return logits


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("width", "height"), [(50, 30), (17, 40), (1, 1), (8, 8), (300, 200), (9, 1500), (64, 64)]
)
def test_a_picture_is_cut_as_by_the_familys_own_processor(
    sight: Sight, width: int, height: int
) -> None:
    rows, columns = sight.grid(Picture("", "0" * 64, width, height))
    assert (rows * 8, columns * 8) == smart_resize(height, width, 8, 256, 4096)


def test_ids_tell_pictures_apart_and_lie_above_every_vocabulary(
    sight: Sight, pictures: tuple[Picture, Picture]
) -> None:
    first = sight.place(pictures[0], 0)
    assert first.ids == sight.place(pictures[0], 99).ids
    assert len(first.ids) == first.num_rows * first.num_columns
    assert all(FIRST_ID <= i < 2**31 for i in first.ids)
    other = dataclasses.replace(pictures[0], digest=pictures[1].digest)
    assert not set(first.ids) & set(sight.place(other, 0).ids)


def test_words_and_pictures_give_the_logits_of_transformers_own_model(
    oracle: Any, model: Model, line: Line
) -> None:
    tokens, places = line
    state = model.new_state()
    close(model.forward_past(tokens, state, (), places)[-1], expected_logits(oracle, line)[-1])


@pytest.mark.parametrize("cut", ["after a picture", "in words", "before a picture", "at the end"])
def test_a_snapshot_goes_on_as_one_run_does(
    oracle: Any, model: Model, line: Line, cut: str
) -> None:
    tokens, places = line
    num_first = {
        "after a picture": places[0].end,
        "in words": places[0].end + 3,
        "before a picture": places[1].start,
        "at the end": len(tokens) - 1,
    }[cut]
    expected = expected_logits(oracle, line)[-1]
    state = model.new_state()
    model.forward_past(tokens[:num_first], state, (), [p for p in places if p.end <= num_first])
    snapshot = state.snapshot()
    model.forward((7, 7, 7), state)  # the original goes on
    rest = [place for place in places if place.start >= num_first]
    close(model.forward_past(tokens[num_first:], snapshot.restore(), (), rest)[-1], expected)


def test_a_snapshot_between_pictures_of_one_forward_knows_only_the_first(
    oracle: Any, model: Model, line: Line
) -> None:
    tokens, places = line
    state = model.new_state()
    model.forward_past(tokens, state, (places[0].end, places[1].start), places)
    resumed = state.snapshot(length=places[1].start).restore()
    close(
        model.forward_past(tokens[places[1].start :], resumed, (), places[1:])[-1],
        expected_logits(oracle, line)[-1],
    )


def test_words_after_a_picture_can_be_taken_back(oracle: Any, model: Model, line: Line) -> None:
    tokens, places = line
    state = model.new_state()
    model.forward_past(tokens[:-6], state, (), places)
    state.allow_rollback(8)
    model.forward((5, 6, 7), state)
    state.rollback(3)
    close(model.forward(tokens[-6:], state), expected_logits(oracle, line)[-1])


def last(events: Iterator[Any]) -> GenerationEnd:
    *_, end = events
    assert isinstance(end, GenerationEnd)
    return end


def test_an_engine_reads_a_picture_whole_and_once(model: Model, line: Line) -> None:
    tokens, places = line
    engine = Engine(model, cache_bytes=50_000_000, prefill_chunk=4)

    def reply(prompt: tuple[int, ...], seen: tuple[Place, ...]) -> GenerationEnd:
        branch = engine.find(prompt)
        return last(
            engine.generate(
                branch,
                prompt[len(branch) :],
                SamplingOptions(),
                max_new_tokens=5,
                cancel=lambda: False,
                places=[place for place in seen if place.start >= len(branch)],
            )
        )

    first = reply(tokens, places)
    lengths = [node.length for node in engine.snapshots.holders()]
    assert not [n for n in lengths for place in places if place.start < n < place.end]
    longer = reply((*tokens, *first.token_ids[:-1], 3, 4), places)
    assert longer.usage.num_prefilled == 2, "the pictures were not read again"
    again = Engine(model, cache_bytes=50_000_000, prefill_chunk=512)
    whole = (*tokens, *first.token_ids[:-1], 3, 4)
    expected = last(
        again.generate(
            again.find(whole),
            whole,
            SamplingOptions(),
            max_new_tokens=5,
            cancel=lambda: False,
            places=places,
        )
    )
    assert longer.token_ids == expected.token_ids


def test_an_engine_of_another_process_sees_and_refuses_what_is_no_picture(
    model: Model, line: Line, tmp_path: Path
) -> None:
    tokens, places = line
    environment = {
        f"XDG_{name}": str(tmp_path / name) for name in ("RUNTIME_DIR", "STATE_HOME", "CACHE_HOME")
    }
    (tmp_path / "RUNTIME_DIR").mkdir()

    def opener(_on_progress: OnProgress) -> OpenedEngine:
        return OpenedEngine(Engine(model, cache_bytes=10_000_000), tmp_path, {})

    def reply(engine: HostEngine | Engine) -> GenerationEnd:
        branch = engine.find(tokens)  # type: ignore[arg-type]
        return last(
            engine.generate(  # type: ignore[arg-type]
                branch,
                tokens,
                SamplingOptions(),
                max_new_tokens=5,
                cancel=lambda: False,
                places=places,
            )
        )

    with closing(Served(environment, opener)) as served:
        engine = served.client()
        assert reply(engine).token_ids == reply(Engine(model, cache_bytes=0)).token_ids
        with pytest.raises(InferenceError, match="No picture stands at token 12"):
            engine.branch((*tokens[:13], 5, *tokens[14:]), lambda: False, places=places)
        with pytest.raises(InferenceError, match="is not in the model's vocabulary"):
            engine.branch((1, *tokens), lambda: False)


def test_another_picture_at_the_same_place_is_another_line(
    model: Model, sight: Sight, pictures: tuple[Picture, Picture]
) -> None:
    engine = Engine(model, cache_bytes=50_000_000)
    place = sight.place(pictures[0], 4)
    prompt = (*WORDS[:4], *place.ids, *WORDS[4:])
    engine.branch(prompt, lambda: False, places=[place])
    other = sight.place(dataclasses.replace(pictures[0], digest="f" * 64), 4)
    assert len(engine.find((*WORDS[:4], *other.ids, *WORDS[4:]))) <= 4


def test_a_transcript_says_where_pictures_stand(
    tokenizer: Any, sight: Sight, pictures: tuple[Picture, Picture]
) -> None:
    messages = [
        Message("system", "Be brief."),
        Message("user", "What is red?", pictures=pictures),
        Message("assistant", "The bar."),
        Message("user", "And here?", pictures=pictures[:1]),
    ]
    rendered = Transcript(tokenizer, QWEN3_5, sight=sight).render(messages, thinking=False)
    assert [place.picture for place in rendered.places] == [*pictures, pictures[0]]
    for place in rendered.places:
        assert rendered.tokens[place.start : place.end] == place.ids
    blind = Transcript(tokenizer, QWEN3_5)
    words = tokenizer.decode(blind.render(messages, thinking=False).tokens)
    assert "user\n[wide.png: not seen]\n[high.png: not seen]\nWhat is red?<" in words


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, model: Model, sight: Sight) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    with pytest.raises(PictureUnreadable, match="is no picture that can be read"):
        read_picture(text)
    with pytest.raises(PictureUnreadable, match="cannot be read"):
        read_picture(tmp_path / "none.png")
    strip = tmp_path / "strip.png"
    Image.new("RGB", (2000, 2)).save(strip)
    with pytest.raises(PictureUnreadable, match="too long a strip"):
        read_picture(strip)
    seen = tmp_path / "seen.png"
    Image.new("RGB", (16, 16)).save(seen)
    place = sight.place(read_picture(seen), 0)
    Image.new("RGB", (16, 16), "red").save(seen)
    assert model.vision is not None
    with pytest.raises(PictureUnreadable, match="is not the picture it was"):
        model.vision.see(place)
    seen.unlink()
    with pytest.raises(PictureUnreadable, match="cannot be read any more"):
        model.vision.see(place)


def test_only_known_formats_are_decoded_whatever_a_file_is_called(tmp_path: Path) -> None:
    disguised = tmp_path / "shot.png"
    Image.new("RGB", (16, 16)).save(disguised, "EPS")
    with pytest.raises(PictureUnreadable, match="is no picture that can be read"):
        read_picture(disguised)
    with pytest.raises(PictureUnreadable, match="is no file"):
        read_picture(Path("/dev/zero"))


def test_what_is_damaged_past_its_header_is_not_shown(tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    picture_of(cut, 64, 64, seed=5)
    cut.write_bytes(cut.read_bytes()[:2_000])
    with pytest.raises(PictureUnreadable, match="is no picture that can be read"):
        read_picture(cut)


def test_a_checkpoint_without_its_vision_tower_says_so(
    folder: Path, tmp_path: Path, line: Line
) -> None:
    weights = load_file(folder / "model.safetensors")
    blind = {name: w for name, w in weights.items() if "visual.merger" not in name}
    save_file(blind, tmp_path / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    vision = Vision(tmp_path, config, torch.device("cpu"), torch.float32)
    with pytest.raises(ModelUnavailable, match=r"lacks \d+ weights of its vision tower"):
        vision.see(line[1][0])
