import pytest

from fastdnn.data.headers import has_header, is_value

TABLES = [
    ("x,y,z", "1,2,a 3,4,b", True),
    ("1,2,a", "3,4,b", False),
    # Names that are numbers: pandas' own, and years.
    ("0,1,2,3,4", "0.1,0.2,0.3,0.4,0.5 0.2,0.3,0.4,0.5,0.6", True),
    ("0,1,2", "5,6,7 3,2,1", True),
    ("0,1", "0.5,0.7", True),
    ("0,1", "1,0 1,1", False),
    ("0,1,2", "3,4,5 6,7,8", False),
    ("0,1,2", "0,1,2 1,1,1", False),
    ("1,2,3,label", "5,6,7,a 3,2,1,b 4,4,4,a", True),
    ("1,2,3", "5,6,7 3,2,1", False),
    ("1,2,3,a", "4,5,6,b 7,8,9,b", False),
    (",0,1,2", "0,0.5,1.5,2.5 1,0.6,1.6,2.6", True),
    ("Unnamed: 0,0,1", "0,0.5,1.5", True),
    ("2019,2020,target", "1,2,3 4,5,6", True),
    ("2019,2020,target", "1,2,yes 3,4,no 3,5,no", True),
    ("2019,2020", "1,2 3,4", True),
    ("2019,2020", "2021,2022 2023,2024", False),
    ("2020,2019", "1,2 3,4", False),
    # of which one stands above the labels alone, whichever column they are
    ("size,2020", "a,1 b,3 a,2", False),
    ("u,v,2020", "1.5,2,1 2.5,3,3 0.5,4,2", True),
    ("2020,u,v", "1,1.5,2 3,2.5,3 2,0.5,4", True),
    ("2.5,3.5,setosa", "2.6,3.4,virginica 2.7,3.3,virginica", False),
    # Text alone: names are not repeated below.
    ("outlook,play", "rain,yes sunny,no rain,no", True),
    ("c,d", "c,x a,y a,x", True),
    ("sunny,no", "rain,yes sunny,no rain,no", False),
    ("date,y", "2024-01-02,1 2024-01-03,2", True),
    ("2024-01-01,5", "2024-01-02,1 2024-01-03,2", False),
    ("price,sold", '"$1.50",yes "$2.50",no', True),
    ("39,State-gov", "50,Private 38,Private", False),
    ("x,y", "?,1 NA,2 3,4", True),
    ("5,x", "red,y blue,z", False),
    ("a,b", "", True),
    ("1,2", "", False),
]


@pytest.mark.parametrize(("first", "rest", "want"), TABLES)
def test_header(first: str, rest: str, want: bool) -> None:
    below = [[cell.strip('"') for cell in row.split(",")] for row in rest.split()]
    assert has_header(first.split(","), below) is want


def test_short_rows_are_no_hindrance() -> None:
    assert has_header(["a", "b"], [["1"], ["1", "2"]])


@pytest.mark.parametrize(
    "cell", ["1", "-1.5e3", ".5", "1,5", "1.234,5", "1 234", "$5", "12 %", "-€3", "inf", "1/2/2024"]
)
def test_values(cell: str) -> None:
    assert is_value(cell)


@pytest.mark.parametrize("cell", ["x1", "setosa", "e5", "-", "B-12", "1st", ""])
def test_names(cell: str) -> None:
    assert not is_value(cell)
