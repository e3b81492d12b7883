"""A YAML that does not fit is refused in one line: the file, the line, the field, the value."""

from pathlib import Path

import pytest

from codedata.cli.definition_errors import user_error
from codedata.components import DatasetSplit
from codedata_tests.components.yamls import tree_of

SPLIT = """\
# A comment, so that lines are not those of the attributes.
type: codedata.components.DatasetSplit
attributes:
  name: s
  corpus: c
  pad_token: 1
"""
CORPUS = """\
type: codedata.components.RawCorpus
attributes:
  name: c
  source:
    kind: hub
    repo: me/mine
"""
FIELDS = ", ".join(DatasetSplit.model_fields)


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


def refusal(folder: Path, yamls: dict[str, str]) -> str:
    tree = tree_of(folder, yamls)
    with pytest.raises(Exception) as found:  # noqa: PT011  (Dagster's own)
        tree.build_defs()
    said = str(user_error(found.value))
    return said.replace(f"{folder}/own_{folder.name}/", "")


INT = "Input should be a valid integer, unable to parse string as an integer"
TEXT = "Input should be a valid string"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("seq_length: abc", f"7: seq_length is 'abc': {INT}"),
        (
            "chars_to_tokenize: 5\n  seq_length: 0",
            "8: split 's': seq_length must be 1 to 16777216, not 0",
        ),
        ("tags:\n    team: a\n    year: 2026", f"9: tags.year is 2026: {TEXT}"),
        ("held_out_from:\n    - s\n    - [t]", f"9: held_out_from.1 is ['t']: {TEXT}"),
        (
            "seq_lenght: 5",
            f"7: there is no field 'seq_lenght'; did you mean seq_length? there are {FIELDS}",
        ),
        ("files: 3-1", "7: files of split 's' is '3-1'; write numbers and ranges of 0 to 9999"),
        ("held_out_from:\n  - nope", "8: split 's': held_out_from names 'nope', but "),
        (
            "chunk_size: 5",
            "7: split 's': chars_to_tokenize 100000000 in chunks of 5 are more than 10000 parti",
        ),
        ("\nseq_length: 5", "8: Extra inputs are not permitted, and here is 5"),
        ("tags: {a: b", "8: expected ',' or '}', but got '<stream end>'"),
    ],
)
def test_a_split_that_does_not_fit_is_refused_by_the_field_and_its_line(
    more: str, said: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, {"s": f"{SPLIT}  {more}\n"}).startswith(f"s/defs.yaml:{said}")


def test_a_field_that_is_missing_is_told_where_it_would_be(tmp_path: Path) -> None:
    without = SPLIT.replace("  corpus: c\n", "")
    assert refusal(tmp_path / "one", {"s": without}) == "s/defs.yaml:3: corpus is missing; add it"
    none = SPLIT.partition("  name")[0]
    assert refusal(tmp_path / "all", {"s": none}) == (
        "s/defs.yaml:3: name is missing; add it; s/defs.yaml:3: corpus is missing; add it"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "  path: c.parquet\n    first_chars: many",
            f"8: source of corpus 'c' (kind: hub): first_chars is 'many': {INT}",
        ),
        ("", "4: source of corpus 'c' (kind: hub): path is missing; add it"),
        ("  path: c.parquet\n  owners: [1]", f"8: owners.0 is 1: {TEXT}"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused_by_the_nested_field(
    more: str, said: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, {"c": f"{CORPUS}  {more}\n"}).startswith(f"c/defs.yaml:{said}")


def test_too_little_of_a_corpus_is_told_where_the_corpus_says_so(tmp_path: Path) -> None:
    corpus = f"{CORPUS}    path: c.parquet\n    first_chars: 1000\n"
    assert refusal(tmp_path, {"s": SPLIT, "c": corpus}).startswith(
        "c/defs.yaml:8: split 's' takes characters up to 100000000, but of corpus 'c' only the "
        "first 1000 are fetched; raise first_chars"
    )


def test_templates_are_resolved_before_fields_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENGTH", "64")
    yaml = f'{SPLIT}  seq_length: "{{{{ env.LENGTH }}}}"\n'
    [split] = tree_of(tmp_path, {"s": yaml}).get_all_components(of_type=DatasetSplit)
    assert split.seq_length == 64
