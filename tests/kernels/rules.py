"""The coefficients of each update rule, from the formulae of the optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdnn.kernels.elementwise.update import COEFFICIENTS
from tests.kernels.common import Array

# a rule, naive's optimizer of the same formula, and settings away from its defaults
RULES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "descent": ("descent", "sgd", {"learning_rate": 0.1}),
    "momentum": ("momentum", "sgd", {"learning_rate": 0.1, "momentum": 0.8}),
    "nesterov": ("nesterov", "sgd", {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}),
    "rmsprop": ("rmsprop", "rmsprop", {"learning_rate": 0.02, "rho": 0.7, "epsilon": 0.03}),
    "adam": (
        "adam",
        "adam",
        {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.03},
    ),
    "adamw": (
        "adam",
        "adamw",
        {
            "learning_rate": 0.02,
            "weight_decay": 0.1,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 0.03,
        },
    ),
    "adagrad": (
        "adagrad",
        "adagrad",
        {"learning_rate": 0.02, "initial_accumulator_value": 0.3, "epsilon": 0.03},
    ),
    "nadam": (
        "nadam",
        "nadam",
        {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.03},
    ),
    "lion": (
        "lion",
        "lion",
        {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "weight_decay": 0.1},
    ),
}


def coefficients(rule: str, t: int, settings: dict[str, Any]) -> Array:
    """What the rule reads at step t = 1, 2, …"""
    lr = settings["learning_rate"]
    if rule in ("descent", "momentum", "nesterov"):
        row = [lr, settings.get("momentum", 0.0)]
    elif rule == "rmsprop":
        row = [lr, settings["rho"], 1 - settings["rho"], settings["epsilon"]]
    elif rule == "adagrad":
        row = [lr, settings["initial_accumulator_value"], settings["epsilon"]]
    elif rule == "nadam":
        b1, b2 = settings["beta_1"], settings["beta_2"]
        mu = [b1 * (1 - 0.96 ** (i * 0.004) / 2) for i in range(1, t + 2)]
        row = [lr * mu[-1] / (1 - np.prod(mu)), lr * (1 - mu[-2]) / (1 - np.prod(mu[:-1]))]
        row += [b1, 1 - b1, b2, 1 - b2, (1 - b2**t) ** -0.5, settings["epsilon"]]
    elif rule == "lion":
        b1, b2 = settings["beta_1"], settings["beta_2"]
        row = [lr, b1, 1 - b1, b2, 1 - b2, 1 - lr * settings["weight_decay"]]
    else:
        b1, b2 = settings["beta_1"], settings["beta_2"]
        decay = 1 - lr * settings.get("weight_decay", 0.0)
        row = [lr / (1 - b1**t), b1, 1 - b1, b2, 1 - b2, (1 - b2**t) ** -0.5, decay]
        row.append(settings["epsilon"])
    return np.array(row + [0.0] * (COEFFICIENTS - len(row)))
