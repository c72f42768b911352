"""The table that `Sequential.summary` prints."""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Dense, Dropout


def summarize(layers: Sequence[Dense | Dropout], input_size: int | None, dtype: str) -> str:
    """Return the layers with their shapes: W (n, n_prev), b (n,), and those of Z and A (n, m)."""
    head = ("layer", "activation", "W", "b", "Z, A", "parameters")
    rows = [head]
    n_prev: int | str = "?" if input_size is None else input_size
    rows.append(("X", "", "", "", f"({n_prev}, m)", ""))
    total = 0
    for l, layer in enumerate(layers, 1):
        if isinstance(layer, Dropout):
            rows.append((f"{l} Dropout({layer.rate:g})", "", "", "", f"({n_prev}, m)", "0"))
            continue
        n = layer.units
        count = n * (int(n_prev) + layer.use_bias) if n_prev != "?" else 0
        total += count
        rows.append(
            (
                f"{l} Dense",
                str(layer.activation),
                f"({n}, {n_prev})",
                f"({n},)" if layer.use_bias else "none",
                f"({n}, m)",
                f"{count:,}" if n_prev != "?" else "?",
            )
        )
        n_prev = n
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    lines = [line.rstrip() for line in lines]
    counted = "unknown until the input size is" if input_size is None else f"{total:,}"
    return "\n".join([*lines, f"parameters: {counted} ({dtype})"])
