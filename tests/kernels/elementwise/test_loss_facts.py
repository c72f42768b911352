"""What entries of losses say of themselves."""

from __future__ import annotations

import pytest

from fastdnn.kernels import ACTIVATIONS, LOSSES
from fastdnn.kernels.elementwise.loss_facts import ANY, NOT_NEGATIVE, PROBABILITY


@pytest.mark.parametrize("name", LOSSES)
def test_the_facts_fit_each_other(name: str) -> None:
    entry = LOSSES[name]
    assert entry.targets in (ANY, PROBABILITY, NOT_NEGATIVE)
    assert entry.kind in ("any", "multiclass", "multilabel", "regression")
    low, high = entry.outputs
    for activation in entry.fused:
        lowest, highest = ACTIVATIONS[activation].outputs
        assert low <= lowest <= highest <= high
    if entry.labels:
        assert entry.kind == "multiclass"
    if entry.other_form is not None:
        other = LOSSES[entry.other_form]
        assert other.labels is not entry.labels
        assert LOSSES[other.other_form or ""].labels is entry.labels


def test_which_losses_have_kinks() -> None:
    kinked = {name for name, entry in LOSSES.items() if not entry.is_smooth}
    assert kinked == {"mean_absolute_error", "huber", "quantile"}
