"""The textbook's network, function by function: hidden layers of relu, an output of sigmoid.

The *textbook convention* is that of the course "Neural Networks and Deep Learning" by Ng,
Katanforoosh and Bensouda (deeplearning.ai, 2017): its names, shapes and functions.

Samples are columns: X is (n[0], m) and Y (1, m), of 0 and 1. For each layer, with m samples,

    Z = W A_prev + b      A = g(Z)
    dZ = dA * g'(Z)       dW = dZ A_prev^T / m      db = sum(dZ) / m      dA_prev = W^T dZ

where W[l] is (n[l], n[l-1]), b[l] is (n[l], 1), and Z[l] and A[l] are (n[l], m); dW, db, dZ and dA
have the shapes of W, b, Z and A. Parameters are a dict "W1", "b1", "W2", …. The compiled kernels
compute all products, in float32 where every array is float32, else in float64.

A matrix of a wrong shape raises ValueError with the rule that it breaks. So do an empty array, a
label that is neither 0 nor 1 and a missing entry of a dict; what holds no numbers raises TypeError.
"""

from .equations import (
    L_model_backward,
    L_model_forward,
    compute_cost,
    initialize_parameters,
    initialize_parameters_deep,
    linear_activation_backward,
    linear_activation_forward,
    linear_backward,
    linear_forward,
    update_parameters,
)
from .models import L_layer_model, predict, two_layer_model

__all__ = [
    "L_layer_model",
    "L_model_backward",
    "L_model_forward",
    "compute_cost",
    "initialize_parameters",
    "initialize_parameters_deep",
    "linear_activation_backward",
    "linear_activation_forward",
    "linear_backward",
    "linear_forward",
    "predict",
    "two_layer_model",
    "update_parameters",
]
