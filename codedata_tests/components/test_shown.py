"""What the UI would drop, or write without separators."""

import dagster as dg
import pytest

from codedata.components.raw_corpus import RawCorpus
from codedata.components.shown import as_written, with_separators

DESCRIPTIONS = {
    "<stdio.h> and vector<int>": r"\<stdio.h> and vector\<int>",
    "<!-- all of it -->": r"\<!-- all of it -->",
    "</b> <?xml?>": r"\</b> \<?xml?>",
    "1 < 2 <= 3 << 4 and *this*": "1 < 2 <= 3 << 4 and *this*",
    "`vector<int>` of <int>": r"`vector<int>` of \<int>",
    "``a ` <b>`` and `<c>\n<d>`": "``a ` <b>`` and `<c>\n<d>`",
}


@pytest.mark.parametrize(("written", "shown"), DESCRIPTIONS.items())
def test_what_looks_like_html_is_escaped_for_markdown_but_in_code(written: str, shown: str) -> None:
    assert as_written(written) == shown


def test_large_integers_stand_in_front_with_separators_and_stay_integers() -> None:
    figures = {"dagster/row_count": 9_999, "few": 999, "tokens": 1_234_567, "share": 5e6}
    shown = with_separators({**figures, "bytes": 1000, "reused": True})
    assert next(iter(shown)) == "in short"
    assert shown["in short"] == "tokens 1,234,567; bytes 1,000"
    assert type(shown["tokens"]) is int
    assert with_separators({"tokens": 0, "path": "p"}) == {"tokens": 0, "path": "p"}


def test_an_asset_s_description_is_shown_as_its_yaml_has_it() -> None:
    source = {"kind": "local", "path": "/nowhere.parquet"}
    corpus = RawCorpus(name="c", source=source, description="<stdio.h> and its users.")
    made = corpus.build_defs(dg.ComponentTree.for_test().load_context)
    [asset] = [each for each in made.assets or () if isinstance(each, dg.AssetsDefinition)]
    [spec] = asset.specs
    assert spec.description == r"\<stdio.h> and its users."
