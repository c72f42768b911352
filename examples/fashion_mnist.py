"""The best network for Fashion-MNIST found so far: 0.9065 of the test images are right.

    python examples/fashion_mnist.py /usr/share/datasets/fashion-mnist

Layers 512 and 256 with batch normalisation, relu and dropout, AdamW with a cosine schedule after a
warm-up, 16 epochs, two to three minutes on two cores. The folder holds the four IDX files (Debian's
package dataset-fashion-mnist).
"""

import argparse

import fastdnn

EPOCHS, BATCH, WARM_UP = 16, 128, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()

    data = fastdnn.datasets.load(arguments.folder)
    steps = arguments.epochs * -(-len(data.X_train) // BATCH)
    schedule = fastdnn.CosineDecay(0.003, max(steps - WARM_UP, 1), warmup_steps=WARM_UP)
    model = fastdnn.Sequential(
        [
            fastdnn.Dense(512, kernel_initializer="he_normal"),
            fastdnn.BatchNormalization(),
            fastdnn.Activation("relu"),
            fastdnn.Dropout(0.3),
            fastdnn.Dense(256, kernel_initializer="he_normal"),
            fastdnn.BatchNormalization(),
            fastdnn.Activation("relu"),
            fastdnn.Dropout(0.3),
            fastdnn.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.compile(
        fastdnn.AdamW(schedule, weight_decay=0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(data.X_train, data.y_train, epochs=arguments.epochs, batch_size=BATCH)
    print(f"test accuracy {model.evaluate(data.X_test, data.y_test)['accuracy']:.4f}")


if __name__ == "__main__":
    main()
