"""Predict how many machines pay: ``python asv_bench/scaling.py`` prints docs/machines.md's table.

A step of n machines takes T(n) = t + p + r log2(n) a + 2 (1 - 1/n) S b: t, a step of one machine;
p, what Python does in a step of several; a, the latency of a round, of which a small vector has
r = 1 and a large one 2; S, the gradient's bytes; b, seconds a byte, sent and added. A small vector
goes whole in each round: then the last term is log2(n) S b. The efficiency is t / T(n): each
machine has a batch of its own, of the same size for any n.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple

# Parameters and microseconds per step, 2 threads: README.md's table of 2026-11-26.
STEPS = {
    "figure 3-5-5-3-1 b64": 1.7,
    "tabular 30-64-32-1 b64": 14.2,
    "digits 64-100-10 b200": 59.9,
    "mnist_s 784-128-10 b128": 391.0,
    "mnist_m 784-512-512-10 b128": 2750.0,
    "deep 64x17-10 b256": 778.0,
    "wide 100-1024x3-1 b1024": 77_300.0,
    "large 2048x4-10 b1024": 392_000.0,
}
PYTHON = 180.0  # microseconds of a step: 2 ranks' 216 less 25 and a small sum's 12, rounded
WHOLE = 65_536  # bytes: `fastdnn.machines.exchange.WHOLE_BYTES`
RANKS = 2, 4, 16, 64, 256, 1000


class Network(NamedTuple):
    """What connects the machines: microseconds of a round, and of a byte that is sent and added."""

    latency: float
    byte: float


NETWORKS = {
    "measured here, within one machine": Network(12.0, 1402.6 / 4_194_304),
    "25 Gbit/s Ethernet, assumed": Network(30.0, 8 / 25e3 + 1e-4),
    "100 Gbit/s InfiniBand, assumed": Network(3.0, 8 / 100e3 + 1e-4),
}


def n_bytes(name: str) -> int:
    """The bytes of a network's gradient in float32."""
    widths: list[int] = []
    for part in name.split()[1].split("-"):
        n, _, times = part.partition("x")
        widths += [int(n)] * int(times or 1)
    return 4 * sum((a + 1) * b for a, b in pairwise(widths))


def sum_time(size: int, n: int, of: Network) -> float:
    """Microseconds of the sum of so many bytes over n ranks."""
    rounds = ceil(log2(n))
    if size <= WHOLE:
        return rounds * (of.latency + size * of.byte)
    return 2 * rounds * of.latency + 2 * (1 - 1 / n) * size * of.byte


def efficiency(name: str, n: int, of: Network) -> float:
    """The share of n machines' speed that is there."""
    step = STEPS[name]
    return step / (step + PYTHON + sum_time(n_bytes(name), n, of))


def steps_apart(name: str, n: int, of: Network, wanted: float = 0.8) -> int:
    """How many batches have to go into a step, or between two sums, for this efficiency."""
    added = PYTHON + sum_time(n_bytes(name), n, of)
    return max(ceil(added * wanted / (1 - wanted) / STEPS[name]), 1)


def main() -> None:
    """Print it all."""
    for title, of in NETWORKS.items():
        print(f"{title}:\n")
        heads = " | ".join(f"{n:,}" for n in RANKS)
        print(f"| case | gradient | {heads} | batches for 80 % at 1,000 |")
        print("| --- | ---: |" + " ---: |" * (len(RANKS) + 1))
        for name in STEPS:
            shares = " | ".join(f"{100 * efficiency(name, n, of):.0f} %" for n in RANKS)
            apart = steps_apart(name, RANKS[-1], of)
            print(f"| {name} | {n_bytes(name) / 1e3:,.1f} kB | {shares} | {apart} |")
        print()


if __name__ == "__main__":
    main()
