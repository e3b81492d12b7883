"""A YAML that does not fit is refused in one line: the file, the line, the field, the value."""

from pathlib import Path

import dagster as dg
import pytest

from codedata.cli.definition_errors import require_all_defined, user_error
from codedata.components import DatasetSplit
from codedata.errors import SettingsError
from codedata.resources import resources
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
TOKENIZER = """\
type: codedata.components.TrainedTokenizer
attributes:
  name: t
  corpus: c
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
        (
            "\nseq_length: 5",
            "8: there is no field 'seq_length'; there are type, attributes, template_vars_module, ",
        ),
        ("seq_length: yes", "7: seq_length is true, as YAML also reads yes, no, on and off; write"),
        ("files: off", "7: files is false, as YAML also reads yes, no, on and off; write a numb"),
        ("backfill:\n    partitions_per_run: 0", "8: partitions_per_run of backfill is 0; write 1"),
        ("backfill: {partitions_per_run: on}", "7: partitions_per_run is true, as YAML also reads"),
        ("backfill: 4", "7: backfill is 4: Input should be a valid dictionary"),
        ("tags: {a: b", "8: expected ',' or '}', but got '<stream end>'"),
    ],
)
def test_a_split_that_does_not_fit_is_refused_by_the_field_and_its_line(
    more: str, said: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, {"s": f"{SPLIT}  {more}\n"}).startswith(f"s/defs.yaml:{said}")


NO_CORPUS = "needs the asset 'c/raw_parquet', which nothing defines; did you mean cc?"
FILE_REFUSED = {
    "empty": ("", "1: it is empty; write a type and its attributes, or remove the file"),
    "a comment": ("# later\n", "1: it is empty; write a type and its attributes, or re"),
    "no mapping": ("- a\n", "1: what it says: Input should be"),
    "a slip in the type": (
        SPLIT.replace("DatasetSplit", "DatasetSplt"),
        ("2: type is 'codedata.components.DatasetSplt', and there is no 'DatasetSplt' in codedata."
         "components; did you mean codedata.components.DatasetSplit?"),
    ),
    "a module that there is not": (
        SPLIT.replace("components", "component"),
        ("2: type is 'codedata.component.DatasetSplit', and there is no module "
         "'codedata.component'; did you mean codedata.components.DatasetSplit?"),
    ),
    "no module": (
        SPLIT.replace("codedata.components.DatasetSplit", "own.Thing"),
        "2: type is 'own.Thing', and there is no module 'own'; correct its type, or install",
    ),
    "typ": (
        SPLIT.replace("type:", "typ:"),
        "2: type is missing; add it; s/defs.yaml:2: there is no field 'typ'; did you mean type? ",
    ),
    "a name that is none": (
        SPLIT.replace("name: s", "name: my train\n  seq_length: 0"),
        ("4: name of a split is 'my train'; write it with the letters A to Z, digits and "
         "underscores alone: it names assets and folders; s/defs.yaml:5: a split: seq_length "),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), FILE_REFUSED.values(), ids=FILE_REFUSED)
def test_a_yaml_that_is_no_component_is_refused_by_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, {"s": text}).startswith(f"s/defs.yaml:{said}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (SPLIT, "splits named 's'"),
        (f"{CORPUS}    path: c.parquet\n", "corpora named 'c'"),
        (TOKENIZER, "tokenizers named 't'"),
    ],
    ids=["split", "corpus", "tokenizer"],
)
def test_of_two_of_one_name_the_later_is_refused_and_the_other_told(
    text: str, what: str, tmp_path: Path
) -> None:
    line = 1 + text.splitlines().index(f"  name: {what[-2]}")
    said = refusal(tmp_path, {"a": text, "b": text})
    assert said == (
        f"b/defs.yaml:{line}: there are two {what}, here and in a/defs.yaml:{line}; rename one"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            SPLIT,
            5,
            f"split 's' {NO_CORPUS}",
        ),
        (
            TOKENIZER,
            4,
            f"tokenizer 't' {NO_CORPUS}",
        ),
        (
            SPLIT.replace("corpus: c", "corpus: cc\n  tokenizer_asset: tt"),
            6,
            "split 's' needs the asset 'tt', which nothing defines; correct corpus or tokenizer",
        ),
    ],
    ids=["corpus", "corpus of a tokenizer", "tokenizer"],
)
def test_what_nothing_defines_is_told_where_it_is_named(
    text: str, line: int, said: str, tmp_path: Path
) -> None:
    corpus = f"{CORPUS}    path: c.parquet\n".replace("name: c", "name: cc")
    defs = tree_of(tmp_path, {"s": text, "c": corpus}).build_defs()
    with pytest.raises(SettingsError) as refused:
        require_all_defined(dg.Definitions.merge(defs, dg.Definitions(resources=resources)))
    found = str(refused.value).partition(f"own_{tmp_path.name}/")[2]
    assert found.startswith(f"s/defs.yaml:{line}: {said}")


def test_a_field_that_is_missing_is_told_where_it_would_be(tmp_path: Path) -> None:
    without = SPLIT.replace("  corpus: c\n", "")
    assert refusal(tmp_path / "one", {"s": without}) == (
        "s/defs.yaml:3: corpus is missing; add it, or corpora, of several"
    )
    none = SPLIT.partition("  name")[0]
    assert refusal(tmp_path / "all", {"s": none}) == "s/defs.yaml:3: name is missing; add it"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "  path: c.parquet\n    first_chars: many",
            f"8: source of corpus 'c' (kind: hub): first_chars is 'many': {INT}",
        ),
        ("  split: 3", f"7: source of corpus 'c' (kind: hub): split is 3: {TEXT}"),
        ("  path: c.parquet\n  owners: [1]", f"8: owners.0 is 1: {TEXT}"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused_by_the_nested_field(
    more: str, said: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, {"c": f"{CORPUS}  {more}\n"}).startswith(f"c/defs.yaml:{said}")


def test_too_little_of_a_corpus_is_told_where_the_corpus_says_so(tmp_path: Path) -> None:
    corpus = f"{CORPUS}    path: c.parquet\n    first_chars: 1000\n"
    split = f"{SPLIT}  chars_to_tokenize: 100000000\n"
    assert refusal(tmp_path, {"s": split, "c": corpus}).startswith(
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
