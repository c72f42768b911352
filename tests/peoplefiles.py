"""Tables of made-up people: like Adult (income) and like Titanic, gaps and quirks included."""

import csv
from pathlib import Path

import numpy as np

WORK = ["Private", "Self-emp-not-inc", "Local-gov", "State-gov"]
SCHOOL = {"HS-grad": 9, "Some-college": 10, "Bachelors": 13, "Masters": 14, "11th": 7}
COUNTRIES = ["United-States", "Mexico", "Philippines", "Germany"]
ADULT = ["age", "workclass", "fnlwgt", "education", "education-num", "sex", "hours-per-week"]
TITANIC = ["PassengerId", "Survived", "Pclass", "Name", "Sex", "Age", "SibSp", "Parch", "Ticket"]


def write_adult(path: Path, m: int = 400, seed: int = 0) -> Path:
    """Write a table as UCI's, with a blank after each comma and "?" for what is not known."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(m):
        age, hours = int(rng.integers(18, 80)), int(rng.integers(10, 70))
        school = str(rng.choice(list(SCHOOL)))
        work = "?" if rng.random() < 0.1 else str(rng.choice(WORK))
        country = "?" if rng.random() < 0.05 else str(rng.choice(COUNTRIES, p=[0.7, 0.1, 0.1, 0.1]))
        sex = str(rng.choice(["Male", "Female"]))
        rich = SCHOOL[school] / 3 + hours / 20 + age / 40 + (work == "Private") + rng.normal() > 8
        weight = int(rng.integers(10_000, 900_000))
        income = ">50K" if rich else "<=50K"
        rows.append([age, work, weight, school, SCHOOL[school], sex, hours, country, income])
    head = [*ADULT, "native-country", "income"]
    path.write_text("\n".join(", ".join(map(str, row)) for row in [head, *rows]) + "\n")
    return path


def write_titanic(path: Path, m: int = 400, seed: int = 0) -> Path:
    """Write a table as Kaggle's: names with commas, unknown ages, few cabins."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*TITANIC, "Fare", "Cabin", "Embarked"])
        for i in range(1, m + 1):
            female, place = rng.random() < 0.4, int(rng.integers(1, 4))
            age = "" if rng.random() < 0.2 else round(float(rng.uniform(1, 70)), 1)
            fare = round(float(rng.exponential(90 / place**2)), 4)
            survived = int(2.5 * female - place + 2 + rng.normal() * 0.5 > 1)
            cabin = f"C{rng.integers(1, 999)}" if rng.random() < 0.2 else ""
            name = f'Number{i}, {"Mrs." if female else "Mr."} "Jo" É.'
            ticket = f"A/5 {rng.integers(1000, 999_999)}" if i % 3 else str(rng.integers(10**5))
            sex, port = (
                "female" if female else "male",
                rng.choice(["S", "C", "Q", ""], p=[0.7, 0.18, 0.1, 0.02]),
            )
            siblings, parents = rng.integers(0, 4), rng.integers(0, 3)
            writer.writerow(
                [i, survived, place, name, sex, age, siblings, parents, ticket, fare, cabin, port]
            )
    return path
