"""`qwen-agent models`: what can be used without a download; nothing is changed."""

from agent.models import cached_models, resolve
from inference.errors import ModelUnavailable

GIB = 1024**3


def run() -> int:
    """Print the models that can be used without a download, and what `auto` means."""
    print("nano  bundled; repairs toy bugs, for demonstrations and tests only")
    for model in cached_models():
        print(f"{model.hub_id}  {model.family}, {model.num_bytes / GIB:.1f} GiB, in the hub cache")
    try:
        print(f"auto: {resolve('auto')}")
    except ModelUnavailable as error:
        print(f"auto: {error}")
    return 0
