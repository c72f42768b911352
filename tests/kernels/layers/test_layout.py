"""The integer table and the plan: every field has a place of its own."""

from __future__ import annotations

from fastdnn.kernels.blas.microkernel import FLAT
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.layers import layout
from fastdnn.kernels.layers.layout import Memory, Net, Rule, Samples
from fastdnn.kernels.passes import step

TABLE_FIELDS = (
    "N_PREV", "N", "W", "B", "CODE", "FROM_Z", "WHOLE_ROW", "A", "S", "DZ", "DROP",
    "PACKED", "PANELS", "FUSED_RELU", "DEPTH", "PARTS", "OPERATION", "PHASES", "DETAILS", "KEPT",
)  # fmt: skip
PLAN_FIELDS = (
    "BATCH", "SAMPLES", "FIRST", "STEPS", "STEP", "SEED", "LOSS", "FUSED", "OUT_CODE",
    "OUT_FROM_Z", "GRADIENT", "UPDATE", "CLIP", "PENALTIES", "X_OTHER", "X_OFFSET", "X_ROW",
    "X_COLUMN", "X_DIRECT", "TARGETS", "REGIME", "DEFERRED", "SEGMENT", "CHUNK",
    "WORKSPACE", "PACKED_SIZE", "PARAMETERS", "LAYERS", "CHUNKS",
    "DELTA_PANELS", "OUTPUTS", "REPLICA", "SLOTS", "LEARNING", "NEXT_ORDER", "FACTORS",
)  # fmt: skip


def values(*names: str) -> list[int]:
    return sorted(getattr(layout, name) for name in names)


def test_fields_fill_the_table_and_the_plan() -> None:
    assert values(*TABLE_FIELDS) == list(range(layout.FIELDS))
    assert values(*PLAN_FIELDS) == list(range(layout.PLAN))


def test_codes_are_distinct() -> None:
    assert len(set(values("BLOCKED", "RESIDENT", "TINY"))) == 3
    assert len(set(values("FINITE", "LOSS_NOT_FINITE", "GRADIENT_NOT_FINITE"))) == 3
    assert layout.DONE != layout.REASON


def test_zeros_reach_over_the_widest_tile() -> None:
    for target in targets.TARGETS:
        for bits in (32, 64):
            lanes = target.bits // bits
            assert max(target.nv, *FLAT.values()) * lanes <= ZEROS


def test_every_address_of_the_step_has_its_place() -> None:
    given = {"x", "x_other", "outputs", "limit", "losses"}  # arguments of their own
    fields = [sum(name not in given for name in of._fields) for of in (Samples, Net, Rule, Memory)]
    # the coefficients change from call to call, the other fields of a rule do not
    fields[2] -= 1
    starts = [step.TARGETS_AT, step.TABLE, step.RULE, step.MEMORY]
    assert step.COEFFICIENTS_AT == step.STOP - 1 == step.TABLE - 2 == fields[0]
    fields[0] += 2
    assert step.NET == step.TABLE + 1
    for start, count, following in zip(starts, fields, starts[1:], strict=False):
        assert start + count == following
