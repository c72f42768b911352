"""What fastdnn has and PyTorch has not, as modules; test_pytorch.py compares their outputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the modules are PyTorch's: pip install torch")


def test_the_modules_compute_their_formulas() -> None:
    from fastdnn.interop import torch_modules as own

    X = torch.tensor([[0.5, 1.0], [-1.0, 0.0]])
    assert torch.equal(own.Exponential()(X), torch.exp(X))
    assert torch.equal(own.Residual(torch.nn.ReLU())(X), X + torch.relu(X))
    embedding = own.ColumnEmbedding(2, (1,), [torch.tensor([[7.0], [8.0]])])
    assert embedding(X).tolist() == [[8.0, 0.5], [7.0, -1.0]]
    periodic = own.PeriodicEmbedding(2, (0,), torch.tensor([[0.5]]), 0.1)
    want = [[np.sin(np.pi / 2), np.cos(np.pi / 2), 1.0], [np.sin(-np.pi), np.cos(-np.pi), 0.0]]
    np.testing.assert_allclose(periodic(X).detach(), want, atol=1e-6)
    shares = own.PiecewiseLinearEmbedding(2, (0,), [[0.0, 1.0, 3.0]], torch.float32)
    assert shares(X).tolist() == [[0.5, 0.0, 1.0], [-1.0, 0.0, 0.0]]
