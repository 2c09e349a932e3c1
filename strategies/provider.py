"""Programs that are new: Hypothesis's own way to draw, without its mutations.

Hypothesis follows each test case that it draws with up to five mutations of it, in which one part is replaced by a copy
of another of the same kind. For programs, whose steps are all of one kind, that is most often a program that was run
before: of 600 examples 357 were distinct, and 587 without. It mutates only what its own provider drew, so a provider of
another name that draws alike is all it takes: `settings(backend=register_provider())`. A failure is repeated and shrunk by
Hypothesis's own as ever.
"""

from __future__ import annotations

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

NAME = "pagepact"
EVEN = 256
"""Source: INTEGERS_DISTRIBUTION, which is uniform between -256 and 256."""


class FreshPrograms(HypothesisProvider):
    """Draws as Hypothesis does, but for its favourite numbers: ours stand for choices, and none is more telling."""

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: dict[int, float] | None = None,
        shrink_towards: int = 0,
    ) -> int:
        """Draw a choice among few: Hypothesis gives all integers up to EVEN the same weight, on a longer way."""
        if weights is None and min_value is not None and max_value is not None and -EVEN <= min_value <= max_value < EVEN:
            assert self._random is not None, "a test case is drawn"
            drawn = round(min_value - 0.5 + self._random.random() * (max_value - min_value + 1))
            return min(max(drawn, min_value), max_value)
        return super().draw_integer(min_value, max_value, weights=weights, shrink_towards=shrink_towards)

    def _maybe_draw_constant(self, *_args: object, **_options: object) -> None:
        return None


def register_provider() -> str:
    """Make the provider known to Hypothesis, and give the name that it has there."""
    AVAILABLE_PROVIDERS[NAME] = f"{__name__}.{FreshPrograms.__name__}"
    return NAME
