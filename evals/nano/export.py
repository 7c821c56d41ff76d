"""Put a trained nano where the program finds it: weights, vocabulary, profile and their hashes.

    python -m evals.nano.export --data DIR --run DIR

Everything of one training goes together: the weights as bfloat16 safetensors with the MTP layer
among them, the tokenizer they were trained on, and in `profile.json` the hash of the rendering
(`rendering.py`), of the data and of the recipe. The curve goes to docs/.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from evals.nano.rendering import rendering_hash
from evals.nano.train import Recipe
from inference.local import NANO_FOLDER
from inference.profiles import NANO
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from sandbox.choose import choose

DOCS = Path(__file__).parents[2] / "docs"


def data_hash(folder: Path) -> str:
    """Hash all training shards in the order of their seeds."""
    digest = hashlib.sha256()
    for shard in sorted((folder / "train").glob("*.npz")):
        digest.update(hashlib.sha256(shard.read_bytes()).digest())
    return digest.hexdigest()


def main() -> None:
    """Export the run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    weights = load_file(arguments.run / "export" / "model.safetensors")
    weights.pop("lm_head.weight", None)  # the embedding again: the two are one matrix
    weights |= load_file(arguments.run / "mtp.safetensors")
    save_file(weights, NANO_FOLDER / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((arguments.run / "export" / "config.json").read_text())
    config["mtp_num_hidden_layers"] = 1
    _write_json(NANO_FOLDER / "config.json", config)
    shutil.copyfile(arguments.data / "tokenizer.json", NANO_FOLDER / "tokenizer.json")
    transcript = Transcript(Tokenizer.from_folder(NANO_FOLDER), NANO)
    with tempfile.TemporaryDirectory() as folder:
        rendering = rendering_hash(Path(folder), choose("bubblewrap"), transcript)
    num_sessions = sum(1 for _ in (arguments.data / "train").glob("*.npz"))
    _write_json(
        NANO_FOLDER / "profile.json",
        {
            "profile": NANO.name,
            "rendering_sha256": rendering,
            "data_sha256": data_hash(arguments.data),
            "num_shards": num_sessions,
            "seed": arguments.seed,
            "recipe": asdict(Recipe()),
        },
    )
    shutil.copyfile(arguments.run / "curve.jsonl", DOCS / "nano-curve.jsonl")
    size = (NANO_FOLDER / "model.safetensors").stat().st_size
    print(f"{NANO_FOLDER}: {size / 1e6:.1f} MB, rendering {rendering[:12]}")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
