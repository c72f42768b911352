"""scikit-learn's face: estimators with its parameters, attributes and habits."""

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
