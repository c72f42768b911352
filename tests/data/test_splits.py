import numpy as np
import pytest

from fastdnn.data.splits import Shares, count_of, split_rows

Y = np.arange(100) % 4
CLASSES = np.arange(4)


def test_parts_share_no_row_and_hold_each_class_by_its_share() -> None:
    train, validation, test = split_rows(Y, CLASSES, Shares(0.2, 0.25, 0), None)
    assert [len(part) for part in (train, validation, test)] == [60, 20, 20]
    assert sorted([*train, *validation, *test]) == list(range(100))
    for part in (train, validation, test):
        assert len(set(np.bincount(Y[part]))) == 1


def test_the_validation_part_is_taken_from_the_training_part() -> None:
    whole, none, test = split_rows(Y, CLASSES, Shares(0.2, 0, 0), None)
    train, validation, same = split_rows(Y, CLASSES, Shares(0.2, 0.1, 0), None)
    assert len(none) == 0
    np.testing.assert_array_equal(test, same)
    assert set(whole) == {*train, *validation}


def test_a_files_own_test_part_is_kept() -> None:
    train, validation, test = split_rows(Y, CLASSES, Shares(0.2, 0.5, 0), 10)
    assert test.tolist() == list(range(90, 100))
    assert (len(train), len(validation)) == (45, 45)


def test_rare_classes_need_no_validation_sample() -> None:
    y = np.array([0] * 50 + [1] * 50 + [2, 2])
    train, validation, _ = split_rows(y, CLASSES[:3], Shares(0.2, 0.1, 0), None)
    assert (len(train), len(validation)) == (72, 9)


@pytest.mark.parametrize(
    ("share", "m", "n"),
    [(0.07, 100, 7), (0.2, 1797, 360), (0.1, 10, 1), (0.29, 100, 29), (0.1, 11, 2)],
)
def test_shares_are_exact(share: float, m: int, n: int) -> None:
    assert count_of(share, m) == n


@pytest.mark.parametrize(
    ("y", "classes", "shares", "message"),
    [
        ([0] * 9 + [1], [0, 1], Shares(0.2, 0, 0), "labels: 1 stands once, .* task 'regression'"),
        ([0, 1] * 5, [0, 1], Shares(0.1, 0, 0), "test_size: 0.1 of 10 samples makes 9 to train"),
        ([1.5] * 10, None, Shares(0.1, 0, 0), "each part needs 2$"),
        ([1.5] * 10, None, Shares(0.2, 0.95, 0), "validation_split: 0.95 of 8 training samples"),
    ],
)
def test_too_few(y: list, classes: list | None, shares: Shares, message: str) -> None:
    known = None if classes is None else np.array(classes)
    with pytest.raises(ValueError, match=message):
        split_rows(np.array(y), known, shares, None)
