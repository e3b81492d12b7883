"""docs/howto/troubleshooting.md: the messages that it explains are those that people meet."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata import (
    PackedCollator,
    PaddingCollator,
    PickledTrainerDataset,
    ResumableLoader,
    build,
    load_dataset,
)
from codedata.recipe.settings import Settings
from codedata_tests import scenario
from codedata_tests.howto_pages import PAGES, ROOT
from codedata_tests.script_runs import PAD_ID

PAGE = (PAGES / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)
VALUE = "…"


def texts_of(node: ast.AST) -> Iterator[str]:
    """Every string of a syntax tree but docstrings, `…` for each value that is put into one."""
    for field, each in ((f, v) for f, value in ast.iter_fields(node) for v in as_list(f, value)):
        if isinstance(each, ast.Expr) and field == "body" and isinstance(each.value, ast.Constant):
            continue
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
        elif isinstance(each, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else VALUE for part in each.values
            ]
            yield "".join(map(str, parts))
            for part in each.values:
                if isinstance(part, ast.FormattedValue):
                    yield from texts_of(ast.Expr(part.value))
        elif isinstance(each, ast.AST):
            yield from texts_of(each)


def as_list(field: str, value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


MESSAGES = [
    text
    for path in sorted((ROOT / "codedata").rglob("*.py"))
    for text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
]


def says(message: str, quoted: str) -> bool:
    """Whether a message holds a quoted part; a value of the part at its end may be cut off."""
    return quoted.strip(f"{VALUE} ") in message


def test_the_page_explains_many_messages_each_once() -> None:
    assert len(QUOTED) == len(set(QUOTED)) >= 15
    assert len(QUOTED) == len(re.findall(r"^###", PAGE, re.MULTILINE))
    assert len(MESSAGES) > 1000


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_message_of_the_page_is_one_of_the_source(quoted: str) -> None:
    assert any(says(message, quoted) for message in MESSAGES)
    assert len(quoted.strip(f"{VALUE} ")) >= 15, "long enough to be recognised"


def test_people_meet_the_messages_of_the_page(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    folder = scenario.write_dataset(tmp_path / "set", [[[1, 2, 3]] * 4])
    other = scenario.write_dataset(tmp_path / "other", [[[1, 2]] * 4])
    changed = scenario.write_dataset(tmp_path / "changed", [[[1, 2]] * 4])
    scenario.write_dataset(tmp_path / "datasets" / "old", [[[1, 2]]])
    shard = changed / "dump-0.pkl"
    shard.write_bytes(shard.read_bytes().replace(b"M\x01", b"M\x03"))
    parquet = tmp_path / "c.parquet"
    pq.write_table(pa.table({"code": ["int x;"]}), parquet)
    dataset = PickledTrainerDataset(folder, quiet=True)
    loader = ResumableLoader(dataset, global_batch_size=2)
    state = ResumableLoader(dataset[:3], global_batch_size=2).state_dict()
    texts, to = ["int x;\n" * 9], tmp_path / "new"
    made = partial(build, tokenizer_base=str(tokenizer_folder), pad_token=PAD_ID)
    met: dict[str, Callable[[], object]] = {
        "must be … to …, not": lambda: Settings(seq_length=0),
        "its columns are": lambda: made(parquet, to),
        "name a file with documents": lambda: made([""], to),
        "is not in the vocabulary of": lambda: made(texts, to, pad_token="<|none|>"),
        "chunks of the window give no sample": lambda: made(texts, to),
        "does not exist here, and is no name of a hub repository": lambda: made(
            texts, to, tokenizer_base="./none"
        ),
        "has no dataset in": lambda: load_dataset("train"),
        "the mark of a whole dataset": lambda: PickledTrainerDataset(tmp_path),
        "does not have the sha256 that its meta states": lambda: PickledTrainerDataset(
            changed, verify=True
        ),
        "leave one out, or make one again with the other's": lambda: PickledTrainerDataset(
            [folder, other]
        ),
        "their numbers are 0 to": lambda: dataset[4],
        "a sample's index is a whole number": lambda: dataset[True],
        "cannot be shared equally by": lambda: ResumableLoader(
            dataset, global_batch_size=3, rank=0, world_size=2
        ),
        "the state is of": lambda: loader.load_state_dict(state),
        "does not say which tokenizer made it": lambda: dataset.vocab_size,
        "or load it with mask_padding=False": lambda: load_dataset("old"),
        "do not tell padding from text": lambda: PaddingCollator(dataset),
        "does not say where documents lie in its samples": lambda: PackedCollator(dataset),
    }
    assert set(met) <= set(QUOTED)
    for quoted, does in met.items():
        with pytest.raises((ValueError, IndexError, TypeError)) as refusal:
            does()
        assert re.search(".*".join(map(re.escape, quoted.split(VALUE))), str(refusal.value)), quoted
