"""The Hessian times a vector, against PyTorch, the specification's differences and its rules."""

from __future__ import annotations

import gc
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import hessian
from fastdnn.activations import ACTIVATIONS
from fastdnn.kernels.engine.engine import Engine
from fastdnn.losses import LOSSES
from tests import naive
from tests.cases import draw
from tests.nets import WAYS, classifier, fingerprint, samples, wide

Array = np.ndarray[Any, Any]
REGULARIZERS = [fastdnn.L1(0.02), fastdnn.L2(0.05), fastdnn.L1L2(0.01, 0.03)]
PENALTIES = [(0.02, 0.0), (0.0, 0.05), (0.01, 0.03)]
WEIGHTS = np.array([0.5, 2.0, 0.25, 1.0, 3.0])


def relative(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def flat(pairs: Any) -> Array:
    """(dW, db) of naive or of a model as one vector like `parameters`."""
    return np.concatenate([part for dW, db in pairs for part in (dW.T.ravel(), np.ravel(db))])


def network(
    sizes: tuple[int, ...], hidden: str, output: str | None, loss: Any, **options: Any
) -> tuple[fastdnn.Sequential, Array, Array]:
    """A compiled network with 24 samples."""
    rng = np.random.default_rng(1)
    layers = [fastdnn.Dense(n, hidden) for n in sizes[1:-1]] + [fastdnn.Dense(sizes[-1], output)]
    model = fastdnn.Sequential(layers, input_size=sizes[0], seed=3, **options)
    model.compile("adam", loss)
    model.parameters[:] += 0.1 * rng.standard_normal(model.parameters.size)  # b too
    X = rng.standard_normal((24, sizes[0]))
    y = rng.standard_normal((24, sizes[-1]))
    return model, X, y if model.loss.entry.kind == "any" else y.argmax(axis=1)


# ------------------------------------------------------------------------------- against PyTorch
def of_torch(
    model: fastdnn.Sequential, X: Array, y: Array, v: Array, weights: Array | None = None
) -> Array:
    """PyTorch's product, in float64; l2 of a layer's regulariser is added."""
    torch = pytest.importorskip("torch", reason="the comparison with PyTorch needs it")
    functional = torch.nn.functional
    functions = {
        "identity": lambda Z: Z, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "gelu": functional.gelu, "softplus": functional.softplus, "relu": torch.relu,
        "silu": functional.silu, "elu": functional.elu,
    }  # fmt: skip
    sizes = [model.input_size, *(layer.units for layer in model.layers)]
    given, targets = torch.tensor(np.asarray(X, float)), torch.tensor(y)
    factors = torch.ones(len(X)) if weights is None else torch.tensor(weights)

    def loss(p: Any) -> Any:
        A, at = given, 0
        penalty = 0.0
        for layer, (n_prev, n) in zip(model.layers, pairwise(sizes), strict=True):
            W, b = p[at : at + n_prev * n].reshape(n_prev, n), p[at + n_prev * n :][:n]
            at += (n_prev + 1) * n
            A = A @ W + b
            if layer.activation != "softmax":
                A = functions[layer.activation](A)
            if layer.kernel_regularizer is not None:
                penalty = penalty + layer.kernel_regularizer.l2 * (W**2).sum()
        if y.ndim == 1:
            each = functional.cross_entropy(A, targets, reduction="none")
        else:
            each = ((A - targets) ** 2).mean(dim=1)
        return (factors * each).sum() / len(X) + penalty

    start = torch.tensor(model.parameters.astype(float))
    found: Array = torch.autograd.functional.hvp(loss, start, torch.tensor(v))[1].numpy()
    return found


CASES = {
    "tiny": (5, 7, 6, 3),
    "resident": (9, 40, 30, 4),
    "blocked": (30, 600, 150, 5),
    "deep": (6, *(12,) * 10, 2),
}


@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid", "gelu", "softplus", "silu", "relu"])
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_the_product_is_pytorchs(sizes: tuple[int, ...], hidden: str, loss: str) -> None:
    output = None if loss == "mse" else "softmax"
    model, X, y = network(sizes, hidden, output, loss, dtype="float64")
    rng = np.random.default_rng(0)
    v = rng.standard_normal(model.parameters.size)
    assert relative(model.hvp(X, y, v), of_torch(model, X, y, v)) < 1e-9


@pytest.mark.parametrize("hidden", ["tanh", "relu"])
def test_the_size_of_v_does_not_matter(hidden: str) -> None:
    model, X, y = network(CASES["resident"], hidden, None, "mse", dtype="float64")
    v = np.random.default_rng(0).standard_normal(model.parameters.size)
    wanted = of_torch(model, X, y, v)
    for size in (1e-300, 1e-9, 1e9, 1e250):
        assert relative(model.hvp(X, y, size * v) / size, wanted) < 1e-9
    for i in (0, 9 * 40, v.size - 1):  # a W of the first layer, a b, the last b
        one = np.eye(1, v.size, i)[0]
        assert relative(model.hvp(X, y, one), of_torch(model, X, y, one)) < 1e-9


def test_large_inputs() -> None:
    model, X, y = network(CASES["resident"], "tanh", None, "mse", dtype="float64")
    v = np.random.default_rng(0).standard_normal(model.parameters.size)
    assert relative(model.hvp(100 * X, y, v), of_torch(model, 100 * X, y, v)) < 1e-9


@pytest.mark.parametrize("hidden", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_a_float32_model_has_the_product_of_its_parameters(
    sizes: tuple[int, ...], hidden: str
) -> None:
    model, X, y = network(sizes, hidden, "softmax", "sparse_categorical_crossentropy")
    X = X.astype(np.float32)
    v = np.random.default_rng(0).standard_normal(model.parameters.size, np.float32)
    found = model.hvp(X, y, v)
    assert found.dtype == np.float32
    assert relative(found, of_torch(model, X, y, v.astype(float))) < 1e-7


def test_penalties_and_weights() -> None:
    rng = np.random.default_rng(0)
    layers = [
        fastdnn.Dense(n, g, kernel_regularizer=of)
        for n, g, of in zip((6, 5, 3), ("tanh", "relu", "softmax"), REGULARIZERS, strict=True)
    ]
    model = fastdnn.Sequential(layers, input_size=4, dtype="float64", seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    X, y = rng.standard_normal((5, 4)), np.array([0, 1, 2, 1, 0])
    layers[0].W[0, 0] = layers[1].W[0, 0] = 0.0  # at the kink of l1
    v = rng.standard_normal(model.parameters.size)
    assert relative(model.hvp(X, y, v, WEIGHTS), of_torch(model, X, y, v, WEIGHTS)) < 1e-9
    assert relative(model.hvp(X, y, v), of_torch(model, X, y, v)) < 1e-9


# --------------------------------------------------- against differences of the specification
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_product_is_that_of_the_specification(activation: str, loss: str) -> None:
    case = draw(("tanh", activation, activation), loss)
    model, X = case.model(regularizers=REGULARIZERS), np.ascontiguousarray(case.X.T)
    rng, h = np.random.default_rng(0), 1e-4
    v = [(rng.standard_normal(W.shape), rng.standard_normal(b.shape)) for W, b in case.parameters]

    def gradient(t: float) -> Array:
        moved = [
            (W + t * vW, b + t * vb) for (W, b), (vW, vb) in zip(case.parameters, v, strict=True)
        ]
        found = naive.loss_and_gradients(
            case.X, case.Y, moved, case.activations, loss, weights=WEIGHTS, regularizers=PENALTIES
        )
        return flat(found[1])

    before, after = gradient(h) - gradient(-h), gradient(2 * h) - gradient(-2 * h)
    wanted = (8 * before - after) / (12 * h)
    pairs = [(vW, vb[:, 0]) for vW, vb in v]
    found = model.hvp(X, case.y, pairs, WEIGHTS)
    assert [(vW.shape, vb.shape) for vW, vb in found] == [(vW.shape, vb.shape) for vW, vb in pairs]
    assert relative(flat(found), wanted) < 1e-6
    vector = model.hvp(X, case.y, flat(v), WEIGHTS)
    np.testing.assert_array_equal(vector, flat(found))


# ---------------------------------------------------------------------------------------- rules
def test_a_hessian_is_symmetric_and_that_of_the_gradient() -> None:
    model = classifier(dtype="float64")
    X, y = samples(20)
    P = model.parameters.size
    H = np.array([model.hvp(X, y, row) for row in np.eye(P)])
    np.testing.assert_allclose(H, H.T, atol=1e-10)
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, P))
    np.testing.assert_allclose(model.hvp(X, y, v), H @ v, atol=1e-9)
    assert u @ model.hvp(X, y, v) == pytest.approx(v @ model.hvp(X, y, u), rel=1e-9)
    # of a softmax's biases alone: diag(p) - p p^T, averaged
    p = model.predict(X)
    wanted = np.mean([np.diag(row) - np.outer(row, row) for row in p], axis=0)
    np.testing.assert_allclose(H[-3:, -3:], wanted, atol=1e-10)


def test_the_square_of_a_linear_model() -> None:
    """L = mean (x w + b - y)^2: H = 2 / m [X 1]^T [X 1], wherever the parameters are."""
    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=4, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    ones = np.c_[X, np.ones(30)]
    for scale in (1.0, 0.0):
        model.parameters[:] *= scale
        v = rng.standard_normal(5)
        assert relative(model.hvp(X, y, v), 2 / 30 * ones.T @ (ones @ v)) < 1e-10


def test_a_layer_without_b_and_dropout() -> None:
    layers = [fastdnn.Dense(3, "tanh", use_bias=False), fastdnn.Dropout(0.5), fastdnn.Dense(2)]
    model = fastdnn.Sequential(layers, input_size=4, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    X, y = np.random.default_rng(0).standard_normal((6, 4)), np.zeros((6, 2))
    v = [(np.ones((3, 4)), None), (np.ones((2, 3)), np.zeros(2))]
    (HvW, nothing), (_, Hvb) = model.hvp(X, y, v)
    assert (HvW.shape, nothing, Hvb.shape) == ((3, 4), None, (2,))
    assert HvW.flags.c_contiguous
    np.testing.assert_array_equal(HvW, model.hvp(X, y, v)[0][0])  # nothing is dropped by chance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_times_the_hessian_is_nothing(dtype: str) -> None:
    model, (X, y) = classifier(dtype=dtype), samples(5)
    assert not model.hvp(X, y, np.zeros(model.parameters.size)).any()
    gradients = model.loss_and_gradients(X, y)[1]
    nothing = [(0 * dW, 0 * db) for dW, db in gradients]
    assert not any(part.any() for pair in model.hvp(X, y, nothing) for part in pair)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits_and_changes_nothing(
    way: str, dtype: str
) -> None:
    make, m = WAYS[way]
    model = make(dtype=dtype)
    X, y = samples(m)
    model.train_on_batch(X, y)
    v = np.random.default_rng(0).standard_normal(model.parameters.size)
    before, outputs = fingerprint(model), model.predict(X).tobytes()
    found = {model.hvp(X, y, v, n_threads=n).tobytes() for n in (1, 2, 4)}
    assert len(found) == 1
    assert fingerprint(model) == before
    assert model.predict(X).tobytes() == outputs
    loss = model.loss_and_gradients(X, y)[0]
    assert loss == pytest.approx(model.evaluate(X, y)["loss"], rel=1e-5)


def test_another_network_leaves_no_trace() -> None:
    """A model's double is its own, and follows its parameters and its loss."""
    X, y = samples(12)
    one, other = classifier(dtype="float64"), classifier(dtype="float64", seed=1)
    v = np.random.default_rng(0).standard_normal(one.parameters.size)
    first = one.hvp(X, y, v)
    other.hvp(X, y, v)
    np.testing.assert_array_equal(one.hvp(X, y, v), first)
    one.fit(X, y, verbose=0)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.hvp(X, y, v), one.hvp(X, y, v))
    assert relative(one.hvp(X, y, v), first) > 1e-3
    one.compile("sgd", "categorical_crossentropy")
    smooth = fastdnn.CategoricalCrossentropy(label_smoothing=0.5)
    one.compile("sgd", smooth)
    again.compile("sgd", smooth)
    np.testing.assert_array_equal(again.hvp(X, np.eye(3)[y], v), one.hvp(X, np.eye(3)[y], v))


def test_the_memory_goes_with_the_model() -> None:
    gc.collect()
    before = len(hessian._doubles)
    model, (X, y) = classifier(), samples(12)
    model.hvp(X, y, np.ones(model.parameters.size))
    assert len(hessian._doubles) == before + 1
    del model
    gc.collect()
    assert len(hessian._doubles) == before


def test_a_product_within_a_training_leaves_it_alone() -> None:
    X, y = samples(40)

    def trained(looks: bool) -> Any:
        model = classifier()

        def look(*_: Any) -> None:
            if looks:
                model.hvp(X[:7], y[:7], np.ones(model.parameters.size))

        callback = fastdnn.LambdaCallback(on_epoch_end=look)
        history = model.fit(X, y, 16, epochs=3, callbacks=[callback], verbose=0).history
        return history, model.parameters.tobytes()

    assert trained(True) == trained(False)


class InterruptionError(Exception):
    pass


def test_an_interruption_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (X, y) = classifier(dtype="float64"), samples(20)
    v = np.ones(model.parameters.size)
    wanted, before = model.hvp(X, y, v), fingerprint(model)
    calls, plain = [], Engine.differentiate

    def interrupted(self: Engine, *arguments: Any, **options: Any) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptionError
        return plain(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "differentiate", interrupted)
        with pytest.raises(InterruptionError):
            model.hvp(X, y, v)
    assert fingerprint(model) == before
    np.testing.assert_array_equal(model.hvp(X, y, v), wanted)


# ----------------------------------------------------------------------------------------- kinks
def test_a_kink_beside_the_parameters_is_seen() -> None:
    """A Z that is 0 to 8 digits: a step to its other side would double that unit's share."""
    model, X, y = network(CASES["resident"], "relu", None, "mse", dtype="float64")
    v = np.random.default_rng(0).standard_normal(model.parameters.size)
    layer = model.layers[0]
    Z = layer.W @ X[3] + layer.b
    dZ = v[: 9 * 40].reshape(9, 40).T @ X[3] + v[9 * 40 : 10 * 40]
    h = hessian.OF_KINKED * np.linalg.norm(model.parameters) / np.linalg.norm(v)
    j = int(np.argmax(np.abs(dZ)))
    layer.b[j] += -Z[j] + 0.3 * h * abs(dZ[j])  # within the first steps, beyond the nearer ones
    assert relative(model.hvp(X, y, v), of_torch(model, X, y, v)) < 1e-7


@pytest.mark.parametrize(
    ("hidden", "loss", "dtype", "count"),
    [
        ("tanh", "mse", "float64", 4),
        ("relu", "mse", "float64", 3),
        ("tanh", "mae", "float64", 3),
        ("tanh", "mse", "float32", 2),
        ("relu", "mse", "float32", 2),
    ],
)
def test_the_cost(
    hidden: str, loss: str, dtype: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In gradients: of float32, twice as long ones."""
    model, X, y = network(CASES["resident"], hidden, None, loss, dtype=dtype)
    plain, calls = Engine.differentiate, []

    def counted(self: Engine, X: Any, *arguments: Any, **options: Any) -> float:
        calls.append(len(X))
        return plain(self, X, *arguments, **options)

    monkeypatch.setattr(Engine, "differentiate", counted)
    model.hvp(X, y, np.ones(model.parameters.size))
    assert calls == [len(X)] * count
    # where each step finds a kink
    monkeypatch.setattr(hessian, "KINK", -1.0)
    calls.clear()
    model.hvp(X, y, np.ones(model.parameters.size))
    assert len(calls) <= 5


# ------------------------------------------------------------------------------ losses of one's own
def test_functions_of_ones_own() -> None:
    def square(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        e = y_pred - y_true
        return (e**2).mean(axis=1), 2 * e / e.shape[1]

    for dtype, bound in (("float64", 1e-9), ("float32", 1e-6)):
        model, X, y = network(CASES["tiny"], "tanh", None, "mse", dtype=dtype)
        X = X.astype(dtype)
        v = np.random.default_rng(0).standard_normal(model.parameters.size)
        wanted = model.hvp(X, y, v)
        model.compile("sgd", fastdnn.ArrayLoss(square))
        assert relative(model.hvp(X, y, v), wanted) < bound
        own = fastdnn.ScalarLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="own")
        model.compile("sgd", own)
        assert relative(model.hvp(X, y, v), wanted) < bound


# -------------------------------------------------------------------------------------- mistakes
GOOD = [(np.ones((6, 4)), np.ones(6)), (np.ones((3, 6)), np.ones(3))]
P = 4 * 6 + 6 + 6 * 3 + 3


@pytest.mark.parametrize(
    ("v", "error", "message"),
    [
        (np.ones(P - 1), ValueError, rf"^v: want shape \({P},\), as the model's parameters, got "),
        (np.ones((P, 1)), ValueError, rf"^v: want shape \({P},\)"),
        (np.full(P, np.nan), ValueError, r"^v: want finite numbers of float32, got nan at v\[0\]"),
        (np.full(P, 1e60), ValueError, r"^v: want finite numbers of float32"),
        (np.full(P, 1j), TypeError, r"^v: want real numbers"),
        (GOOD[:1], ValueError, r"^v: want \(vW, vb\) for 2 layers, got 1"),
        ([GOOD[0], (GOOD[1][0], None)], ValueError, r"^v\[1\]\[1\]: want shape \(3,\), got None"),
        ([GOOD[0], (np.ones((6, 3)), GOOD[1][1])], ValueError, r"^v\[1\]\[0\]: want shape \(3, 6"),
        ([GOOD[0], (np.full((3, 6), np.inf), GOOD[1][1])], ValueError, r"^v\[1\]\[0\]: want finit"),
        ([1.0, 2.0], TypeError, r"^v\[0\]: want \(vW, vb\), got 1.0"),
        (3.0, TypeError, r"^v: want a list of \(vW, vb\), got 3.0"),
        (None, TypeError, r"^v: want a list of \(vW, vb\), got None"),
    ],
)
def test_a_wrong_v_is_refused(
    v: Any, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (X, y) = classifier(), samples(5)
    before = fingerprint(model)
    monkeypatch.delattr(Engine, "differentiate")
    with pytest.raises(error, match=message):
        model.hvp(X, y, v)
    assert fingerprint(model) == before


def test_other_mistakes_are_refused() -> None:
    X, y = samples(5)
    with pytest.raises(RuntimeError, match=r"call compile first"):
        fastdnn.Sequential([fastdnn.Dense(2)], input_size=4).hvp(X, y, np.ones(10))
    with pytest.raises(RuntimeError, match=r"no parameters yet"):
        classifier(input_size=None).hvp(X, y, np.ones(P))
    for wrong, at in (((X[:, :2], y), "X"), ((X, y + 7), "y"), ((X, y[:2]), "y")):
        with pytest.raises(ValueError, match=f"^{at}: "):
            wide().hvp(*wrong, np.ones(P))
    with pytest.raises(ValueError, match=r"^n_threads: "):
        classifier().hvp(X, y, np.ones(P), n_threads=0)


def test_parameters_that_are_not_finite_give_no_number() -> None:
    model, (X, y) = classifier(dtype="float64"), samples(5)
    for wrong in (np.nan, np.inf):
        model.parameters[0] = wrong
        assert np.isnan(model.hvp(X, y, np.ones(P))).any()
