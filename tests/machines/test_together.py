import signal

import pytest

from fastdnn.machines.together import Announced

from .mpi import told


def test_a_first_signal_waits_for_the_other_ranks_and_a_second_one_does_not() -> None:
    signals = Announced()
    signals.start()
    try:
        with signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.pending == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signals.taken()
    finally:
        signals.stop()
    assert signals.pending is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_after_the_last_step_is_raised_at_the_end() -> None:
    signals = Announced()
    signals.start()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signals.stop()


def test_shards_and_layers_of_other_kinds() -> None:
    for n in (3, 4):
        found = told(n, "others")
        assert found["uneven"][1] == 10  # two epochs of the largest shard's steps
        assert found["same logs"]
        assert found["uneven against one"] < 1e-12  # a rank has no samples at all, and an L2
        assert found["dropout"][0] == found["dropout"][1]
        assert found["clipnorm"] < 1e-12  # of the sum, not of each rank's gradient
        assert found["global_clipnorm"] < 1e-12
        distance, steps = found["short epochs"]
        assert distance < 1e-12
        assert steps == 8
        assert found["their losses"] < 1e-12
        assert found["moving averages"]
        assert found["stopped after"] == 2
