"""A tokenizer that is trained here: its tokens, and when it is trained again."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from codedata.components import TrainedTokenizer
from codedata.resources import DataRoot
from codedata.sources.record import record_corpus
from codedata.tokenize.train import BOS_TOKEN, train_tokenizer
from codedata_tests import scenario
from codedata_tests.components.yamls import tree_of

FIELDS: dict[str, Any] = {
    "name": "words",
    "corpus": "c",
    "vocab_size": 300,
    "chars_to_train_on": 3_000,
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic

MORE = ["<|endoftext|>", "<|fim_prefix|>"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, scenario.c_documents(4))
    return tmp_path


def put(root: Path, documents: list[str]) -> None:
    parquet = scenario.write_parquet(root / "c.parquet", documents)
    record_corpus(root / "corpora" / "c", parquet, {"kind": "local"})


def train(root: Path, **more: Any) -> dict[str, Any]:
    """What a run of the asset says."""
    corpus = {"name": "c", "source": {"kind": "local", "path": str(root / "c.parquet")}}
    yamls = {
        name: json.dumps({"type": f"codedata.components.{component}", "attributes": attributes})
        for name, component, attributes in (
            ("c", "RawCorpus", corpus),
            ("words", "TrainedTokenizer", FIELDS | more),
        )
    }
    made = tree_of(root / f"{root.name}_{len([*root.iterdir()])}", yamls).build_defs()
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [made.get_assets_def("words")],
            instance=instance,
            resources={"store": DataRoot(root=str(root))},
        )
    [event] = result.get_asset_materialization_events()
    return {name: each.value for name, each in event.materialization.metadata.items()}


def test_more_tokens_follow_the_others_which_stay_as_they_are() -> None:
    documents = scenario.c_documents(4)
    plain = train_tokenizer(iter(documents), 300)
    more = train_tokenizer(iter(documents), 300, MORE)
    assert more.get_vocab() == plain.get_vocab() | {MORE[0]: 300, MORE[1]: 301}
    ids = plain.encode(documents[1]).ids
    assert more.encode(documents[1] + MORE[0]).ids == [*ids, 300]


def test_it_is_trained_again_only_where_its_text_its_yaml_or_its_files_changed(root: Path) -> None:
    first = train(root)
    again = train(root)
    assert (first["reused"], again["reused"]) == (False, True)
    assert again["fingerprint"] == first["fingerprint"]
    more = train(root, more_tokens=MORE)
    assert (more["reused"], more["tokens"]) == (False, first["tokens"] + 2)
    (root / "tokenizers/words/tokenizer_config.json").write_text("{}", encoding="utf-8")
    mended = train(root, more_tokens=MORE)
    assert (mended["reused"], mended["fingerprint"]) == (False, more["fingerprint"])
    put(root, scenario.c_documents(4, seed=3))
    assert not train(root, more_tokens=MORE)["reused"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([BOS_TOKEN], "more_tokens of tokenizer 'words' has '<|begin|>', which it has already"),
        (["<a>", "<a>"], "more_tokens of tokenizer 'words' has '<a>', which it has already"),
        ([""], "more_tokens of tokenizer 'words' has an empty one; name it, or take it out"),
    ],
)
def test_more_tokens_that_it_has_are_refused(names: list[str], said: str) -> None:
    fields: dict[str, Any] = FIELDS | {"more_tokens": names}
    with pytest.raises(ValidationError) as found:
        TrainedTokenizer(**fields)
    assert said in str(found.value)
