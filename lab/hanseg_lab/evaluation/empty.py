"""How an organ is scored that only one of prediction and reference has."""

from __future__ import annotations

from enum import StrEnum


class EmptyRule(StrEnum):
    """How an organ is scored that is missing, or empty, on one side.

    An organ that is missing on both sides is never scored.
    """

    REFUSE = "refuse"
    """It is an error, and named: the user says which of the other rules to follow."""

    CHALLENGE = "challenge"
    """As the HaN-Seg challenge: missing in the prediction, it has Dice 0 and infinite
    distances (for which the ranking puts the worst of all methods); missing in the
    reference, it was not contoured, and is left out."""

    COMMON = "common"
    """What only one of the two has is left out, and said: an organ that was missed
    then lowers no figure."""

    STRICT = "strict"
    """As `CHALLENGE`, but missing in the reference, it has Dice 0 and infinite
    distances too: for references known to hold all that there is."""

    def scores(self, *, in_reference: bool, in_prediction: bool) -> bool:
        """Whether the organ is scored at all."""
        if in_reference:
            return in_prediction or self in {EmptyRule.CHALLENGE, EmptyRule.STRICT}
        return in_prediction and self is EmptyRule.STRICT
