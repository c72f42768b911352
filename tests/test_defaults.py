"""Every default of the public classes, functions and methods: a change of one is a decision."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import fastdnn
from fastdnn import data, datasets, plots, textbook

DEFAULTS = """
L1: l1=0.01
L1L2: l1=0.0, l2=0.0
L2: l2=0.01
SGD: learning_rate=0.01, momentum=0.0, nesterov=False, clipnorm=None, global_clipnorm=None
Adagrad: learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-08, clipnorm=None,
    global_clipnorm=None
Adam: learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08, clipnorm=None,
    global_clipnorm=None
AdamW: learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-08,
    clipnorm=None, global_clipnorm=None
ArrayLoss: name=None, check=True
BatchNormalization: momentum=0.99, epsilon=0.001, center=True, scale=True
BinaryCrossentropy: from_logits=False, label_smoothing=0.0
BinaryFocalCrossentropy: apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False,
    label_smoothing=0.0
CSVLogger: separator=',', append=False
CategoricalCrossentropy: from_logits=False, label_smoothing=0.0
CategoricalFocalCrossentropy: alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
CosineDecay: alpha=0.0, warmup_steps=0, warmup_start=0.0
Dense: activation=None, use_bias=True, kernel_initializer=None, kernel_regularizer=None
EarlyStopping: monitor='val_loss', min_delta=0.0, patience=0, mode='auto',
    restore_best_weights=False, start_from_epoch=0
Ensemble: method='mean'
ExponentialDecay: staircase=False
Huber: delta=1.0
LambdaCallback: on_epoch_begin=None, on_epoch_end=None, on_train_begin=None, on_train_end=None,
    on_train_batch_begin=None, on_train_batch_end=None
LayerNormalization: epsilon=0.001, center=True, scale=True
Lion: learning_rate=0.001, beta_1=0.9, beta_2=0.99, weight_decay=0.0, clipnorm=None,
    global_clipnorm=None
MLPClassifier: hidden_layer_sizes=(100,), activation='relu', solver='adam', alpha=0.0001,
    batch_size='auto', learning_rate='constant', learning_rate_init=0.001, power_t=0.5,
    max_iter=200, shuffle=True, random_state=None, tol=0.0001, verbose=False, warm_start=False,
    momentum=0.9, nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
    beta_1=0.9, beta_2=0.999, epsilon=1e-08, n_iter_no_change=10, max_fun=15000, loss='log_loss',
    class_weight=None, dropout=0.0, normalization=None, clipnorm=None, global_clipnorm=None,
    scoring=None, restore_best_weights=None, callbacks=None, n_threads=None, dtype=None
MLPRegressor: loss='squared_error', hidden_layer_sizes=(100,), activation='relu', solver='adam',
    alpha=0.0001, batch_size='auto', learning_rate='constant', learning_rate_init=0.001,
    power_t=0.5, max_iter=200, shuffle=True, random_state=None, tol=0.0001, verbose=False,
    warm_start=False, momentum=0.9, nesterovs_momentum=True, early_stopping=False,
    validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-08, n_iter_no_change=10,
    max_fun=15000, dropout=0.0, normalization=None, clipnorm=None, global_clipnorm=None,
    scoring=None, restore_best_weights=None, callbacks=None, n_threads=None, dtype=None
ModelCheckpoint: monitor='val_loss', save_best_only=False, mode='auto', every_n_steps=None,
    every_seconds=None, keep=None
NAdam: learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08, momentum_decay=0.004,
    clipnorm=None, global_clipnorm=None
Optimizer: learning_rate=0.001, clipnorm=None, global_clipnorm=None
PReLU: alpha_initializer=0.0
PeriodicEmbedding: frequencies=16, scale=0.1, columns=None
PiecewiseLinearEmbedding: columns=None
ProgressBar: verbose='auto'
Quantile: q=0.5
RMSNormalization: epsilon=1e-06
RMSprop: learning_rate=0.001, rho=0.9, epsilon=1e-08, clipnorm=None, global_clipnorm=None
ReduceLROnPlateau: monitor='val_loss', factor=0.1, patience=10, min_delta=0.0001, cooldown=0,
    min_lr=0.0, mode='auto'
ScalarActivation: name=None, check=True
ScalarLoss: name=None, check=True
Sequential: layers=(), input_size=None, dtype='float32', seed=None
SparseCategoricalCrossentropy: from_logits=False, label_smoothing=0.0
TensorBoard: log_dir='logs'
fit_many: y=None, subsets=None, epochs=1, batch_size=None, validation_data=None, callbacks=None,
    n_threads=None, verbose='auto'
load: custom_objects=None
num_threads: blas=False
kernels.activation_backward: A=None, Z=None
kernels.linear_backward: activation='identity', A=None, Z=None, need_dA_prev=True
kernels.linear_forward: activation='identity', out=None, Z=None
textbook.L_layer_model: learning_rate=0.0075, num_iterations=3000, print_cost=False
textbook.initialize_parameters_deep: seed=3, scale=0.01
textbook.predict: y=None, parameters=None
textbook.two_layer_model: learning_rate=0.0075, num_iterations=3000, print_cost=False
data.ParquetBatches: target=None, batch_size=32, columns=None, sample_weight=None,
    dtype='float32', shuffle=False, seed=None, shard=None
data.datasets.Dataset: image_shape=None, X_validation=None, y_validation=None, notes=()
data.datasets.load: path=None, target=None, test_size=0.2, seed=0, dtype='float32', task=None,
    drop=(), validation_split=0.0, embed_above=None
data.datasets.load_new: dtype='float32'
plots.plot_history: path=None
plots.plot_search: path=None, score='score'
plots.plot_weights: path=None, columns=None
Sequential.apply_gradients: n_threads=None
Sequential.compile: optimizer='adam', loss='mean_squared_error', metrics=()
Sequential.evaluate: y=None, batch_size=None, verbose=0, sample_weight=None, return_dict=True,
    n_threads=None
Sequential.fit: y=None, batch_size=None, epochs=1, verbose='auto', callbacks=(),
    validation_split=0.0, validation_data=None, shuffle=True, class_weight=None,
    sample_weight=None, initial_epoch=0, steps_per_epoch=None, validation_steps=None,
    validation_batch_size=None, validation_freq=1, resume_from=None, n_threads=None, comm=None
Sequential.hvp: sample_weight=None, n_threads=None
Sequential.input_gradient: sample_weight=None, n_threads=None
Sequential.jacobian: n_threads=None
Sequential.loss_and_gradients: sample_weight=None, inputs=False, n_threads=None
Sequential.predict: batch_size=None, verbose=0, n_threads=None
Sequential.predict_labels: batch_size=None, n_threads=None
Sequential.save: metadata=None
Sequential.train_on_batch: sample_weight=None, n_threads=None
"""


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What users call, by its name: classes, functions, and a model's methods."""
    for module in (fastdnn, fastdnn.kernels, textbook, data, datasets, plots):
        own = [
            name
            for name, one in vars(module).items()
            if not name.startswith("_") and getattr(one, "__module__", "") == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            one = getattr(module, name)
            if callable(one) and one is not fastdnn.DivergenceError:  # which has no signature
                yield f"{module.__name__}.{name}".removeprefix("fastdnn."), one
    for name, one in inspect.getmembers(fastdnn.Sequential, inspect.isfunction):
        if not name.startswith("_"):
            yield f"Sequential.{name}", one


def defaults() -> dict[str, str]:
    """The defaults of each that has any, in the order of its parameters."""
    found = {}
    for name, one in public():
        parameters = inspect.signature(one).parameters.values()
        given = [f"{p.name}={p.default!r}" for p in parameters if p.default is not p.empty]
        if given:
            found[name] = ", ".join(given)
    return found


def test_defaults_are_what_they_were() -> None:
    lines = DEFAULTS.strip().replace("\n    ", " ").splitlines()
    wanted = dict(line.split(": ", 1) for line in lines)
    assert defaults() == wanted
