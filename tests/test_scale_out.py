"""The files and figures of docs/scale-out.md: valid by schema, and counted by the planner."""

import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_pydantic import ComposeSpecification

from inference.footprint import Footprint, Weights
from inference.models import SHAPES
from inference.shapes import shape_of

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "scale-out.md").read_text()
FOLDER = DOCS / "scale-out"
KUBERNETES = "1.37"
GIB = 1024**3
SHARE = 0.9
"""Of a GPU's memory, which the servers are told to use."""
WORK_GIB = 6
"""Of a GPU, for what is computed and for CUDA's graphs."""
NUM_STATES = 5
"""Of a request, as SGLang reckons: the live one, and copies at the places it can go on from."""


def users(
    size: str, weights: Weights, num_gpus: int, gpu_gib: int, nodes: int, num_tokens: int
) -> int:
    """Count the conversations of a length that find room beside the weights."""
    footprint = Footprint(shape_of(SHAPES[size]))
    pool = num_gpus * (gpu_gib * SHARE - WORK_GIB) * GIB - sum(footprint.weights(weights).values())
    # A head of keys and values lies on one GPU at least: with more GPUs than heads it is there
    # more than once.
    copies = max(1, num_gpus // nodes // footprint.shape.num_kv_heads)
    each = copies * footprint.kv("16bit", num_tokens) + NUM_STATES * footprint.snapshot
    return max(0, int(pool // each))


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_the_compose_file_is_one_by_the_specification() -> None:
    (content,) = documents("compose.yaml")
    ComposeSpecification.model_validate(content)
    service = content["services"]["vllm"]
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in service["command"])
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert int(flags["tensor-parallel-size"]) == device["count"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_every_object_for_kubernetes_is_one_by_its_schema() -> None:
    for content in documents("kubernetes.yaml"):
        kubernetes_validate.validate(content, KUBERNETES, strict=True)
    _, deployment, _ = documents("kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    words = shlex.split(container["args"][0])
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert words[words.index("--tp") + 1] == gpus


def test_the_pods_of_the_ray_cluster_are_valid_and_hold_the_model() -> None:
    (content,) = documents("kuberay.yaml")
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", "RayService")
    assert set(content["spec"]) == {"serveConfigV2", "rayClusterConfig"}
    cluster = content["spec"]["rayClusterConfig"]
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    (workers,) = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], workers):
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(template, KUBERNETES, strict=True)
        (container,) = group["template"]["spec"]["containers"]
        assert f":{cluster['rayVersion']}-" in container["image"]
    (application,) = yaml.safe_load(content["spec"]["serveConfigV2"])["applications"]
    (model,) = application["args"]["llm_configs"]
    engine = model["engine_kwargs"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert gpus == int(workers["rayStartParams"]["num-gpus"]) == engine["tensor_parallel_size"]
    assert workers["replicas"] == engine["pipeline_parallel_size"]


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.iterdir()))
def test_no_file_holds_a_key_and_every_image_has_a_version(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert f"scale-out/{name}" in PAGE
    images = re.findall(r"image: (\S+)", text)
    assert images
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images)
    assert not re.search(r"(?i)(key|token|secret): *[\"']?[0-9a-f-]{16,}", text)


def test_the_table_of_users_is_what_the_planner_counts() -> None:
    row = r"^\| (\S+) \| (16bit|int8) \| (\d+) x (\d+) GiB \| (\d) \| (\d+) \| (\d+) \| (\d+) \|$"
    rows = re.findall(row, PAGE.replace(",", ""), re.M)
    assert len(rows) >= 5
    for size, weights, *numbers in rows:
        num_gpus, gpu_gib, nodes, weights_gib, medium, long = map(int, numbers)
        footprint = Footprint(shape_of(SHAPES[size]))
        assert weights_gib == round(sum(footprint.weights(weights).values()) / GIB)
        counted = [
            users(size, weights, num_gpus, gpu_gib, nodes, length) for length in (65_536, 262_144)
        ]
        assert counted == [medium, long], size
    for size, kib, mib in re.findall(r"^\| (\S+) \| (\d+) KiB \| (\d+) MiB \|$", PAGE, re.M):
        footprint = Footprint(shape_of(SHAPES[size]))
        assert footprint.kv_of_a_token("16bit") == int(kib) * 1024
        assert round(footprint.snapshot / 2**20) == int(mib)
