"""fastdnn: fully connected deep networks, trained on multicore CPUs."""

import typing
from importlib import import_module

from fastdnn import kernels, plots, textbook
from fastdnn.kernels.compiler.compiling import watch as _watch
from fastdnn.kernels.cpu.threads import get_num_threads, num_threads, set_num_threads

from ._config import CLASSES as _CLASSES
from ._first_use import show as _show
from .callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgressBar,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from .custom import ArrayLoss, ScalarActivation, ScalarLoss
from .data import datasets
from .divergence import DivergenceError
from .embedding import ColumnEmbedding, PeriodicEmbedding, PiecewiseLinearEmbedding
from .ensemble import Ensemble
from .exchange import from_keras, from_sklearn, from_torch
from .layers import Activation, Dense, Dropout
from .losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    Huber,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SparseCategoricalCrossentropy,
)
from .many import fit_many
from .model import Sequential
from .normalization import BatchNormalization, LayerNormalization, RMSNormalization
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSprop
from .regularizers import L1, L1L2, L2
from .residual import PReLU, Residual
from .schedules import CosineDecay, ExponentialDecay, Schedule, StepDecay

if typing.TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor

__version__ = "0.1.0"

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "ArrayLoss",
    "BatchNormalization",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CSVLogger",
    "Callback",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "ColumnEmbedding",
    "CosineDecay",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Ensemble",
    "ExponentialDecay",
    "History",
    "Huber",
    "LambdaCallback",
    "LayerNormalization",
    "LearningRateScheduler",
    "Lion",
    "LogCosh",
    "Loss",
    "MLPClassifier",
    "MLPRegressor",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "ModelCheckpoint",
    "NAdam",
    "Optimizer",
    "PReLU",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Poisson",
    "ProgressBar",
    "Quantile",
    "RMSNormalization",
    "RMSprop",
    "ReduceLROnPlateau",
    "Residual",
    "ScalarActivation",
    "ScalarLoss",
    "Schedule",
    "Sequential",
    "SparseCategoricalCrossentropy",
    "StepDecay",
    "TensorBoard",
    "TerminateOnNaN",
    "datasets",
    "fit_many",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "get_num_threads",
    "kernels",
    "load",
    "num_threads",
    "plots",
    "set_num_threads",
    "textbook",
]

load = Sequential.load
_watch(_show)


def __getattr__(name: str) -> typing.Any:
    """Import the estimators and searches when they are asked for: scikit-learn takes a second."""
    if name in ("MLPClassifier", "MLPRegressor"):
        return getattr(import_module("fastdnn.estimators"), name)
    if name == "model_selection":
        return import_module("fastdnn.model_selection")
    if name in _CLASSES:  # that a table or a file of layers has, and no line above
        return _CLASSES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
