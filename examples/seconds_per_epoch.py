"""Seconds per epoch of the same network with fastdnn, scikit-learn and PyTorch, side by side.

    python examples/seconds_per_epoch.py /usr/share/datasets/fashion-mnist

Layers 256, 128 and 100 with relu, Adam, batches of 128, float32, all cores, shuffled. Each library
has a process of its own; they take turns, one epoch each, round after round, and the best and the
median of the rounds are printed. A library that is not installed is left out, with the reason.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

HIDDEN, BATCH = (256, 128, 100), 128
Epoch = Callable[[], Any]


def fastdnn_epoch(X: Any, y: Any) -> Epoch:
    import fastdnn

    layers = [fastdnn.Dense(n, "relu") for n in HIDDEN]
    model = fastdnn.Sequential([*layers, fastdnn.Dense(10, "softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    return lambda: model.fit(X, y, batch_size=BATCH, verbose=0)


def sklearn_epoch(X: Any, y: Any) -> Epoch:
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(HIDDEN, batch_size=BATCH, alpha=0, random_state=0)
    return lambda: model.partial_fit(X, y, classes=np.arange(10))


def torch_epoch(X: Any, y: Any) -> Epoch:
    import torch
    from torch import nn

    sizes = (X.shape[1], *HIDDEN)
    layers: list[nn.Module] = []
    for n_prev, n in zip(sizes, HIDDEN, strict=False):
        layers += [nn.Linear(n_prev, n), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)

    def epoch() -> None:
        for rows in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()

    return epoch


LIBRARIES = {"fastdnn": fastdnn_epoch, "scikit-learn": sklearn_epoch, "PyTorch": torch_epoch}


def serve(library: str, folder: str, limit: int | None) -> None:
    """Answer each line of standard input with the seconds that one epoch took."""
    from fastdnn import datasets

    data = datasets.load(folder)
    epoch = LIBRARIES[library](data.X_train[:limit], data.y_train[:limit])
    epoch()  # compiles, allocates, warms up
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        epoch()
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, help="of the training set; all of them if left out")
    parser.add_argument("--serve", choices=LIBRARIES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder, arguments.samples)
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--serve"]
    seconds: dict[str, list[float]] = {}
    processes = {}
    for library in LIBRARIES:
        process = subprocess.Popen(
            [*command, library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        if process.stdout.readline() == "ready\n":
            processes[library], seconds[library] = process, []
        else:
            print(f"{library}: left out ({process.stderr.read().strip().splitlines()[-1]})")
    for _ in range(arguments.rounds):
        for library, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[library].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    if "fastdnn" not in seconds:
        sys.exit("nothing to compare with: install fastdnn first (pip install .)")
    own = statistics.median(seconds["fastdnn"])
    print("seconds per epoch    best  median  median / fastdnn's")
    for library, times in seconds.items():
        median = statistics.median(times)
        print(f"{library:18s} {min(times):6.2f}  {median:6.2f}  {median / own:.2f}")


if __name__ == "__main__":
    main()
