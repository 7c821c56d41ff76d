"""Logits to a token: the limits do what they say, and the seed alone decides."""

import pytest
import torch

from inference.errors import ModelUnavailable
from inference.messages import SamplingOptions
from inference.sampling import NUM_ORDERED, Sampler, probabilities_of

PROBABILITIES = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = PROBABILITIES.log()


def distribution(**options) -> list[float]:
    return probabilities_of(LOGITS, SamplingOptions(temperature=1.0, **options)).tolist()


def test_zero_temperature_takes_the_most_likely() -> None:
    assert Sampler(SamplingOptions(seed=3)).draw(LOGITS) == 1


def test_without_limits_the_distribution_is_the_softmax() -> None:
    assert distribution() == pytest.approx(PROBABILITIES.tolist())


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 3, 4}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.0}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.5}, {1, 3}),
        ({"top_p": 0.96}, {0, 1, 2, 3, 4}),
        ({"min_p": 0.45}, {1, 3, 4}),
        ({"min_p": 1.0}, {1}),
        ({"top_k": 3, "top_p": 0.7}, {1, 3}),
    ],
)
def test_a_limit_keeps_the_likely_and_shares_the_mass_among_them(options, kept) -> None:
    result = distribution(**options)
    mass = sum(PROBABILITIES[i].item() for i in kept)
    expected = [p / mass if i in kept else 0.0 for i, p in enumerate(PROBABILITIES.tolist())]
    assert result == pytest.approx(expected)


@pytest.mark.parametrize("spread", [0.02, 0.2, 80.0])
def test_top_p_keeps_the_same_of_a_vocabulary_however_its_mass_lies(spread: float) -> None:
    num = 5 * NUM_ORDERED
    shuffled = torch.randperm(num, generator=torch.Generator().manual_seed(1))
    logits = torch.linspace(spread, 0, num)[shuffled]
    shares = logits.softmax(0)
    ordered, places = shares.sort(descending=True)
    kept = places[ordered.cumsum(0) - ordered < 0.7]
    result = probabilities_of(logits, SamplingOptions(temperature=1.0, top_p=0.7))
    assert abs(int((result > 0).sum()) - len(kept)) <= 1, "rounding"
    surely = kept[:-1]
    torch.testing.assert_close(
        result[surely], shares[surely] / shares[kept].sum(), rtol=1e-3, atol=0
    )


def test_the_first_and_the_last_of_a_vocabulary_are_drawn_and_nothing_beyond() -> None:
    logits = torch.full((9,), -torch.inf)
    logits[[2, 6]] = 0.0
    sampler = Sampler(SamplingOptions(temperature=1.0))
    for drawn, place in ((0.0, 2), (0.4999, 2), (0.5, 6), (1 - 2**-53, 6)):
        with pytest.MonkeyPatch.context() as patch:
            told = torch.tensor([drawn], dtype=torch.float64)
            patch.setattr(torch, "rand", lambda *_, told=told, **__: told)
            assert sampler.draw(logits) == place


def test_temperature_sharpens() -> None:
    cold = probabilities_of(LOGITS, SamplingOptions(temperature=0.5))
    torch.testing.assert_close(cold, PROBABILITIES.square() / PROBABILITIES.square().sum())


def test_draws_follow_the_distribution() -> None:
    sampler = Sampler(SamplingOptions(temperature=1.0, seed=1))
    counts = torch.bincount(torch.tensor([sampler.draw(LOGITS) for _ in range(4000)]), minlength=5)
    torch.testing.assert_close(counts / 4000, PROBABILITIES, atol=0.03, rtol=0)


def test_the_seed_alone_decides() -> None:
    def draws(seed: int) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=1.0, seed=seed))
        return [sampler.draw(LOGITS) for _ in range(30)]

    first = draws(5)
    torch.manual_seed(0)
    assert draws(5) == first
    assert draws(6) != first


def test_what_is_masked_is_never_drawn() -> None:
    masked = LOGITS.clone()
    masked[[1, 3]] = -torch.inf
    for options in (SamplingOptions(), SamplingOptions(temperature=2.0, top_k=4, seed=2)):
        sampler = Sampler(options)
        assert {sampler.draw(masked) for _ in range(50)} <= {0, 2, 4}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("top_k", [0, 2])
def test_by_what_is_no_number_nothing_is_drawn(temperature: float, top_k: int) -> None:
    broken = LOGITS.clone()
    broken[2] = torch.nan
    sampler = Sampler(SamplingOptions(temperature=temperature, top_k=top_k))
    with pytest.raises(ModelUnavailable, match="its weights are damaged"):
        sampler.draw(broken)
