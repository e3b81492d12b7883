"""What users write of a mixture -> its plan, or one line that says all they need."""

import re
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from codedata.errors import SettingsError
from codedata.recipe.mixture import MixturePlan, digest_of_plan, plan_of, share_of


def plan(
    sources: dict[str, dict[str, Any]], sizes: list[int], num_samples: int | None = None
) -> MixturePlan:
    shares = [share_of({"dataset": name, **each}, name, name) for name, each in sources.items()]
    return plan_of(shares, sizes, num_samples)


def test_weights_of_any_sum_are_what_was_written_to_the_last_digit() -> None:
    for scale in (1, 10, np.float64(0.5), np.int64(3)):
        given = {"code": {"weight": 7 * scale}, "docs": {"weight": 3 * scale}}
        assert [each.weight for each in plan(given, [10, 10], 10).sources] == [
            Fraction(7, 10),
            Fraction(3, 10),
        ]
    tenths = plan({"code": {"weight": 0.7}, "docs": {"weight": np.float64(0.3)}}, [10, 10], 10)
    assert [each.weight for each in tenths.sources] == [Fraction(7, 10), Fraction(3, 10)]


def test_without_num_samples_there_are_as_many_as_every_source_allows() -> None:
    given = {"code": {"weight": 0.7}, "docs": {"weight": 0.3, "max_epochs": 1.5, "start": 20}}
    made = plan(given, [700, 100])
    assert made.num_samples == 434
    assert [each.draws for each in made.sources] == [304, 130]
    assert made.why_not is None
    assert plan(given, [700, 100], 435).why_not is not None
    assert [each.shown for each in made.sources] == [
        "code 70.0%: 304 of 700 samples, 0.43 epochs",
        "docs 30.0%: after 20 130 of 100 samples, 1.50 epochs",
    ]


def test_samples_that_would_come_again_are_refused_with_all_that_mends_it() -> None:
    given = {"code": {"weight": 1}, "docs": {"weight": 1, "max_epochs": 2, "start": 50}}
    assert plan(given, [1000, 100], 2000).why_not == (
        "source 'docs': 50 + 1,000 draws of 100 samples are 10.50 epochs, more than its "
        "max_epochs 2: of 2,000 samples; num_samples 301 fits, or give 'docs' a smaller weight, "
        "or a larger max_epochs if samples shall come again"
    )
    both = plan(given, [10, 100], 2000).why_not
    assert both is not None
    assert both.startswith("source 'code': 1,000 draws of 10 samples are 100.00 epochs")
    assert "; source 'docs': " in both
    assert "num_samples 20 fits, or give 'code' and 'docs' a smaller weight" in both
    done = plan({"code": {"weight": 1, "start": 11}}, [10], 5).why_not
    assert done is not None
    assert done.endswith("no num_samples fits: give 'code' a larger max_epochs, or leave them out")


def test_of_many_sources_that_come_too_often_the_worst_are_told_and_the_others_counted() -> None:
    given = {f"s{number:02}": {"weight": 1} for number in range(64)}
    why = plan(given, [*range(1, 65)], 64 * 64 - 1).why_not
    assert why is not None
    assert [f"source 's{number:02}': " in why for number in range(4)] == [True, True, True, False]
    assert "more than its max_epochs 1; 60 more: of 4,095 samples; num_samples" in why
    assert "give 's00' and 's01' and 's02' and 60 more a smaller weight" in why


def test_weights_of_a_millionth_are_kept_and_shown_and_give_their_share_of_a_billion() -> None:
    given = {f"s{number:02}": {"weight": 1e-6, "max_epochs": 1e9} for number in range(63)}
    given["most"] = {"weight": 0.999937, "max_epochs": 1e9}
    made = plan(given, [100] * 64, 10**9)
    assert {each.draws for each in made.sources[:-1]} == {1000}
    assert made.sources[0].shown == "s00 0.0001%: 1,000 of 100 samples, 10.00 epochs"
    assert made.sources[-1].draws == 10**9 - 63_000
    halves = plan({"a": {"weight": 1, "max_epochs": 0.5}, "b": {"weight": 1}}, [9, 9])
    assert [each.draws for each in halves.sources] == [4, 4]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "has no weight; it is its share"),
        ({"weight": 0}, "weight of source 'a' is 0; write a finite number of more than 0"),
        ({"weight": -0.5}, "weight of source 'a' is -0.5;"),
        ({"weight": float("nan")}, "weight of source 'a' is nan;"),
        ({"weight": float("inf")}, "weight of source 'a' is inf;"),
        (
            {"weight": "1e-6"},
            "is the text '1e-6'; write a number without quotes, in YAML 0.1 or 1.0e-6 and not",
        ),
        ({"weight": True}, "weight of source 'a' is True;"),
        ({"weight": 1, "max_epochs": 0}, "max_epochs of source 'a' is 0;"),
        (
            {"weight": 1, "start": -1},
            "start of source 'a' is -1; write a whole number of 0 or more",
        ),
        ({"weight": 1, "start": 2.0}, "start of source 'a' is 2.0; .* or more, without a point"),
        ({"weight": 1, "start": "2"}, "start of source 'a' is '2'; .* or more, without quotes"),
        ({"weight": 1, "start": 2**63}, "write a whole number of 9223372036854775807 at most"),
        ({"wieght": 1}, "has no 'wieght'; did you mean weight?"),
        ({"weight": 1, "name": 3}, "name of source 1 is 3; write a word"),
    ],
)
def test_what_a_source_cannot_be_is_refused_by_its_name(
    source: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        share_of({"dataset": "a", **source}, "source 1", "a")
    assert re.search(message, str(refused.value))


def test_no_source_two_of_a_name_and_one_without_samples_are_refused() -> None:
    one = {"weight": 1}
    share = share_of({"dataset": "a", **one}, "source 1", "a")
    for shares, sizes, message in (
        ([], [], "has no sources; name one at least"),
        ([share, share], [1, 1], "two sources of the mixture are named 'a'; give one of them"),
        ([share], [0], "source 'a' of the mixture has no samples; leave it out"),
    ):
        with pytest.raises(SettingsError, match=message):
            plan_of(shares, sizes, 1)
    with pytest.raises(SettingsError, match=r"after its start, max_epochs of 'a' allows none"):
        plan({"a": {"weight": 1, "start": 10}, "b": one}, [10, 10])


def test_a_source_of_so_small_a_weight_that_none_of_it_would_come_is_refused() -> None:
    given = {"a": {"weight": 1}, "b": {"weight": 1e-30}, "c": {"weight": 1e-3, "start": 5}}
    said = r"of 400 samples of the mixture none is of 'b' and 'c', by its weight; give it a larger"
    with pytest.raises(SettingsError, match=said):
        plan(given, [1000, 9, 9], 400)
    with pytest.raises(SettingsError, match=r"none is of 'b', by its weight"):
        plan(given, [4000, 9, 9])
    del given["b"]
    assert [each.draws for each in plan(given, [1000, 9], 1000).sources] == [999, 1]
    with pytest.raises(SettingsError, match=r"max_epochs of 'c' allows none"):
        plan(given, [400, 5])


def test_the_digest_is_of_what_decides_the_samples_and_their_order_alone() -> None:
    def digest(sources: dict[str, dict[str, Any]], *, seed: int = 0, shuffle: Any = True) -> str:
        made = plan(sources, [100, 100], 100)
        return digest_of_plan(made, ["d1", "d2"], seed=seed, shuffle=shuffle)

    given: dict[str, dict[str, Any]] = {"a": {"weight": 1}, "b": {"weight": 2}}
    said = b'["mixture", [["d1", "1/3", 0], ["d2", "2/3", 0]], 100, 0, true]'
    assert digest(given) == sha256(said).hexdigest()
    assert digest({"x": {"weight": 0.5, "max_epochs": 9}, "b": {"weight": 1}}) == digest(given)
    others = [
        digest({"a": {"weight": 1}, "b": {"weight": 3}}),
        digest({"a": {"weight": 1, "start": 1}, "b": {"weight": 2}}),
        digest(given, seed=1),
        digest(given, shuffle=False),
        digest(given, shuffle="blocks"),
    ]
    assert len({digest(given), *others}) == 6
