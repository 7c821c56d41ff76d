"""What an engine is made of, and what the next one gets when memory turned out to be short.

With a plan it goes down along that plan (`planner.next_smaller`); without one, chunks get shorter
and fewer states are kept. The tokens that come out stay the same. Only where a model does not even
load are its weights kept in fewer bits, if nobody asked for those that they had. No torch: front
ends hold one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from inference.door import EngineSettings, Weights
from inference.errors import TooLarge
from inference.plan import Offer, Plan
from inference.planner import next_smaller, shorter_chunk

Step = Literal["load", "work"]
"""When memory was short: while the model was loaded, or later."""
LIGHTER: Mapping[Weights, Literal["int8", "nf4"]] = {"auto": "int8", "16bit": "int8", "int8": "nf4"}
"""What weights are kept in where they do not fit; there is nothing below nf4."""


def too_large(source: str, weights: Weights, where: str = "memory") -> TooLarge:
    """Say that a model does not fit with its weights in this format, and what needs less."""
    lighter = {"auto": "int8 or nf4", "16bit": "int8 or nf4", "int8": "nf4"}.get(weights)
    way = f"--weights {lighter} needs less" if lighter else "choose a smaller model"
    return TooLarge(f"{source} does not fit into {where}; {way}.")


class Fallback:
    """The settings to start an engine with; every step down needs less memory."""

    def __init__(self, settings: EngineSettings, plan: Plan | None = None) -> None:
        """Begin at the top: `settings` as they are, or as the plan changes them."""
        self.settings = settings if plan is None else plan.settings(settings)
        self.plan = plan
        """How it is run in the memory that there is; None where nobody has planned."""
        self._may_change_weights = settings.weights == "auto"

    @property
    def context_tokens(self) -> int | None:
        """The window that there is memory for; None leaves it to the model."""
        return None if self.plan is None else self.plan.context_tokens

    def go_down(self, step: Step) -> str | None:
        """Go one step down, as `step_to_lighter_weights` or as `step` does."""
        return self.step_to_lighter_weights() if step == "load" else self.step()

    def repeat(self, steps: Iterable[Step]) -> tuple[list[Step], str]:
        """Go down as an earlier start did; return the steps that could be taken, and their cost."""
        taken: list[Step] = []
        costs: dict[Step, str] = {}
        for step in steps:
            if (cost := self.go_down(step)) is not None:
                taken.append(step)
                costs[step] = cost  # of several of a kind the last one says it all
        return taken, " ".join(costs.values())

    def step(self) -> str | None:
        """Go one step down; return what it costs in a sentence, None where nothing is left."""
        if self.plan is None:
            before = self.settings.prefill_chunk
            chunk = shorter_chunk(before)
            self._shrink_to(replace(self.settings, prefill_chunk=chunk))
            if chunk == before:
                return None
            return f"Memory is short: prompts are read {chunk} tokens at a time."
        return self._take(next_smaller(self.plan))

    def step_to_lighter_weights(self) -> str | None:
        """Go down to where the device holds less of the weights; the same in return.

        Fewer bits first, which cost less than what the plan would give up next.
        """
        lighter = LIGHTER.get(self.settings.weights)
        if self._may_change_weights and lighter is not None:
            return self._keep_weights_in(lighter)
        if self.plan is None:
            return None
        offer = next_smaller(self.plan)
        while offer is not None and offer.plan.weights_bytes >= self.plan.weights_bytes:
            offer = next_smaller(offer.plan)
        return self._take(offer)

    def _keep_weights_in(self, weights: Literal["int8", "nf4"]) -> str:
        self._shrink_to(replace(self.settings, weights=weights))
        if self.plan is not None:
            self.plan = replace(self.plan, weights=weights)
        num_bits = 8 if weights == "int8" else 4
        return (
            f"Memory is short: the weights are kept in {num_bits} bits; "
            f'weights = "{weights}" under [model] loads them so at once.'
        )

    def _take(self, offer: Offer | None) -> str | None:
        if offer is None:
            return None
        self.plan = offer.plan
        self._shrink_to(offer.plan.settings(self.settings))
        return offer.sentence

    def _shrink_to(self, settings: EngineSettings) -> None:
        """Go on with these and fewer snapshots: memory that was counted on was not there."""
        self.settings = replace(settings, cache_bytes=self.settings.cache_bytes // 4)
