"""`codedata corpus` of datasets of the hub."""

import pytest
import yaml

from codedata.cli import main
from codedata_tests import scenario
from codedata_tests.hub.server import Hub
from codedata_tests.hub.test_howto_corpora import FINEWEB, SHAPES, STACK_V2, parquet
from codedata_tests.hub.test_listing import card

FILES = {f"sample/10BT/{n:03d}_00000.parquet": scenario.c_documents(3, n) for n in range(2)}


@pytest.fixture
def fineweb(hub: Hub) -> Hub:
    """A hub with a dataset of FineWeb's shape."""
    files = {name: parquet(FINEWEB, texts) for name, texts in FILES.items()}
    hub.add_repo("owner/web", files | card(*SHAPES["fineweb"].card))
    return hub


def test_a_dataset_is_looked_at_and_of_its_files_no_more_than_the_first_is_read(
    fineweb: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["owner/web", "--config", "sample-10BT", "--split", "train", "--documents", "0"]
    assert main(["corpus", *named]) == 0
    printed = capsys.readouterr().out
    first, last = FILES
    texts = FILES[first]
    assert printed.startswith("looked at   owner/web: kind hub, 2 files, ")
    assert f"first file  {first}\n" in printed
    assert "columns     text: string  (the documents)\n" in printed
    assert f"documents   3, {sum(map(len, texts)):,} characters\n" in printed
    assert yaml.safe_load(printed[printed.index("type: ") :])["attributes"] == {
        "name": "owner_web",
        "source": {
            "kind": "hub", "repo": "owner/web", "config": "sample-10BT", "split": "train",
            "text_column": "text",
        },
    }  # fmt: skip
    assert not [path for path in fineweb.asked() if last in path]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["owner/none"], "does not list the files of owner/none at 'main'"),
        (["owner/web", "--config", "sample"], "did you mean sample-10BT? there are default, "),
        (["owner/web", "--split", "dev"], "split is 'dev', which owner/web does not have; there"),
        (["owner/splits"], "owner/splits has 2 splits: test, train; say which (split)"),
        (["owner/names"], "of its columns these are text: blob_id, src_encoding; say which"),
        (["owner/gated"], "its terms must be accepted first: log in and accept them on "),
    ],
)
def test_what_a_dataset_does_not_give_is_said_in_one_line(
    named: list[str], said: str, fineweb: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = parquet(FINEWEB, ["text"])
    fineweb.add_repo("owner/splits", {"train.parquet": rows, "test.parquet": rows})
    fineweb.add_repo("owner/names", {"train.parquet": parquet(STACK_V2, ["text"])})
    fineweb.add_repo("owner/gated", {"train.parquet": rows}).gated = True
    assert main(["corpus", *named]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [line] = [line for line in err.splitlines() if line.startswith("codedata: error: ")]
    assert said in line
