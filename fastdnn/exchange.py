"""Networks from and for scikit-learn, Keras, PyTorch and ONNX.

Each library is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Sequential

_NEEDS = {
    "pytorch": ("torch", "pip install torch"),
    "keras_models": ("keras", "pip install keras"),
    "onnx_file": ("onnx", "pip install 'fastdnn[onnx]'"),
}
_BACKENDS = ("tensorflow", "jax", "torch")  # of Keras


def _converter(room: str, method: str) -> Any:
    """Return what a file of `interop` has under the name of a method.

    Raises
    ------
    ImportError
        If its library is not installed.
    """
    if room in _NEEDS:
        module, command = _NEEDS[room]
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name in _BACKENDS and module == "keras":
                raise ImportError(
                    f"{method} needs {error.name}, as Keras is to compute with it, and it is not "
                    "installed: set the environment variable KERAS_BACKEND to another, like torch"
                ) from None
            if error.name != module:  # the library is there, and lacks one itself
                raise
            raise ImportError(
                f"{method} needs {module}, which is not installed: {command}"
            ) from None
    return getattr(import_module(f"fastdnn.interop.{room}"), method)


def from_torch(module: Any) -> Sequential:
    """Return a network of PyTorch as a `Sequential` that predicts what the module does.

    Parameters
    ----------
    module : torch.nn.Module
        A Linear, or a ``torch.nn.Sequential``, nested too, of Linear, Dropout, Flatten, LayerNorm,
        RMSNorm, BatchNorm1d, PReLU, the activations that fastdnn has, and what `to_torch` makes;
        an Embedding at the start becomes a `ColumnEmbedding` of each column.

    Returns
    -------
    Sequential
        With copies of the parameters, and not compiled; it computes what the module does in eval
        mode. A LeakyReLU of another slope than 0.01 is a `PReLU` there, whose slopes are trained.

    Raises
    ------
    TypeError
        If it is no module, or a module in it, which is named, has no counterpart.
    ValueError
        If a module's settings have none, it has forward hooks, or the parameters are of other
        dtypes than float32 or float64.
    ImportError
        If PyTorch is not installed.
    """
    model: Sequential = _converter("pytorch", "from_torch")(module)
    return model


def from_sklearn(mlp: Any) -> Sequential:
    """Return a fitted network of scikit-learn as a `Sequential` with the same outputs.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
        Of scikit-learn or of fastdnn.

    Returns
    -------
    Sequential
        With copies of the parameters, and not compiled; `predict` returns what ``predict_proba``
        does (of two classes the probability of the second alone), or what the regressor predicts.
        ``metadata["classes"]`` is a classifier's classes, as JSON; `to_sklearn` reads it. Dates
        are texts there, and ``metadata["classes_dtype"]`` says what they were.

    Raises
    ------
    TypeError
        If it is no such estimator.
    ValueError
        If it is not fitted.
    """
    model: Sequential = _converter("scikit_learn", "from_sklearn")(mlp)
    return model


def from_keras(model: Any) -> Sequential:
    """Return a network of Keras as a `Sequential` that predicts what it does.

    Parameters
    ----------
    model : keras.Sequential, str or path
        Or a ``.keras`` file of one. Built, and made of Dense, Activation and the activations that
        are layers, Dropout, Flatten, PReLU, BatchNormalization, LayerNormalization and
        RMSNormalization; an Embedding at the start becomes a `ColumnEmbedding` of each column.

    Returns
    -------
    Sequential
        With copies of the parameters, and not compiled. A leaky ReLU of another slope than 0.01,
        such as Keras's "leaky_relu", is a `PReLU` there, whose slopes are trained.

    Raises
    ------
    TypeError
        If it is no ``keras.Sequential``, or a layer, which is named, has no counterpart.
    ValueError
        If a layer's settings have none.
    OSError, ValueError
        If Keras cannot read the file.
    ImportError
        If Keras, or what it computes with, is not installed.

    Warns
    -----
    UserWarning
        If a layer has a regularizer or constraint that fastdnn has not.
    """
    found: Sequential = _converter("keras_models", "from_keras")(model)
    return found


class Exchange:
    """The ways out of a `Sequential`."""

    def to_torch(self) -> Any:
        """Return the network as a ``torch.nn.Sequential``, in eval mode.

        Returns
        -------
        torch.nn.Sequential
            With copies of the parameters, which can be trained; call ``train()`` before. Layers
            that PyTorch has not are modules of ``fastdnn.interop.torch_modules``. `from_torch`
            returns the same layers.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If an activation is a function of your own.
        ImportError
            If PyTorch is not installed.

        Warns
        -----
        UserWarning
            If the model has a `preparation`, which is left out.
        """
        return _converter("pytorch", "to_torch")(self)

    def to_sklearn(self) -> Any:
        """Return the network as a fitted estimator of scikit-learn.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            With copies of the parameters. A last layer with softmax, sigmoid (one output: two
            classes; more: several labels a sample), or logits that the compiled loss says to be
            such, makes a classifier; one without an activation or with "exponential" a regressor.
            A softmax of two outputs becomes one logistic output. The classes are those of the
            `preparation`, or of ``metadata["classes"]``, or 0, 1, …. ``partial_fit`` goes on from
            these parameters with ``alpha=0``. Dropout and penalties are left out.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If scikit-learn's networks cannot be this one; the layer is named.

        Warns
        -----
        UserWarning
            If the model has a `preparation`, of which the classes alone are taken over.
        """
        return _converter("scikit_learn", "to_sklearn")(self)

    def to_keras(self) -> Any:
        """Return the network as a ``keras.Sequential``, which Keras can save.

        Returns
        -------
        keras.Sequential
            With copies of the parameters, not compiled.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If a layer, which is named, is none that a ``keras.Sequential`` can have: embeddings,
            residual blocks, and activations of your own.
        ImportError
            If Keras is not installed.

        Warns
        -----
        UserWarning
            If the model has a `preparation`, which is left out.
        """
        return _converter("keras_models", "to_keras")(self)

    def load_weights(self, path: str | Path) -> None:
        """Read the parameters and moving averages from a file of Keras's ``save_weights``.

        Parameters
        ----------
        path : str or Path
            A ``.weights.h5`` file, of a ``keras.Sequential`` with the same layers.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If the file is none, or of other layers; the model is as before.
        FileNotFoundError
            If there is none.
        ImportError
            If Keras is not installed.
        """
        _converter("keras_models", "load_weights")(self, path)

    def to_onnx(self, path: str | Path) -> None:
        """Write the network to an ONNX file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The input is "X" (m, n_0), the output "A" (m, n_L), in the model's dtype. A
            `ColumnEmbedding` takes its categories as numbers in X, as `predict` does.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If an activation is a function of your own, or the parameters exceed the 2 GB that such
            a file can hold.
        OSError
            If it cannot be written.
        ImportError
            If onnx is not installed.

        Warns
        -----
        UserWarning
            If the model has a `preparation`, which is left out.
        """
        _converter("onnx_file", "to_onnx")(self, path)
