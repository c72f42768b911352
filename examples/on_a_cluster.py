"""A search and an ensemble on the machines of a Dask or Ray cluster.

    python examples/on_a_cluster.py dask [--address tcp://scheduler:8786]
    python examples/on_a_cluster.py ray [--address ray://head:10001]

Without an address it starts a cluster on this machine. fastdnn must be installed on each machine of
the cluster: pip install 'fastdnn[dask]' or 'fastdnn[ray]'.
"""

import argparse
from contextlib import contextmanager

import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastdnn
from fastdnn.model_selection import GridSearchCV


@contextmanager
def cluster(kind: str, address: str | None):
    """Have joblib's backend of this name work, on a cluster that is there or a local one."""
    if kind == "dask":
        from dask.distributed import Client

        local = {"dashboard_address": ":0", "threads_per_worker": 1}
        with Client(address) if address else Client(**local):
            yield
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(address, include_dashboard=False if address is None else None)
        register_ray()
        try:
            yield
        finally:
            ray.shutdown()


def make_search() -> GridSearchCV:
    network = fastdnn.MLPClassifier(learning_rate_init=0.01, tol=0.001, random_state=0)
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(10,), (30,)],
        "mlpclassifier__alpha": [1e-4, 1e-2],
    }
    return GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=3)


def make_networks(count: int) -> list[fastdnn.Sequential]:
    networks = []
    for seed in range(count):
        layers = [fastdnn.Dense(32, "relu"), fastdnn.Dense(1, "sigmoid")]
        network = fastdnn.Sequential(layers, seed=seed)
        network.compile("adam", "binary_crossentropy")
        networks.append(network)
    return networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("dask", "ray"))
    parser.add_argument("--address", help="of the cluster; without it a local one is started")
    parser.add_argument("--networks", type=int, default=20)
    given = parser.parse_args()
    X, y = load_breast_cancer(return_X_y=True)
    scaled = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    networks, own = make_networks(given.networks), make_networks(1)
    with cluster(given.kind, given.address), joblib.parallel_config(given.kind):
        search = make_search().fit(X, y)
        fastdnn.fit_many(networks, scaled[:400], y[:400], epochs=20, batch_size=64)
    print(f"best of the search: {search.best_score_:.4f}, {search.best_params_}")
    A = fastdnn.Ensemble(networks).predict(scaled[400:])[:, 0]
    print(f"accuracy of {len(networks)} networks: {np.mean((A > 0.5) == y[400:]):.4f}")
    own[0].fit(scaled[:400], y[:400], epochs=20, batch_size=64, verbose=0)
    same = np.array_equal(own[0].parameters, networks[0].parameters)
    print(f"the bits are those of a fit here: {'yes' if same else 'no'}")


if __name__ == "__main__":  # the processes of a local cluster read this file too
    main()
