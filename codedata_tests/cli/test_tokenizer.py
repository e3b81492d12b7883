"""`codedata tokenizer`: structure, engine, ids with their texts, round trip, speed; and JSON."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from codedata.cli import main
from codedata.format.ranges import Utf8
from codedata.tokenize.engines import registry
from codedata.tokenize.engines.base import Encoded, reference_ids
from codedata.tokenize.engines.blocks import BlocksEngine
from codedata.tokenize.probe import PROBE
from codedata.tokenize.structure import find_pretokenizer
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.howto_pages import PAGES
from codedata_tests.tokenize.structures import unknown

ADDED = "177 'õ', 184 'ü', 533 '<|begin|>', 534 '<|pad|>', 535 '<|EOT|>'"

Said = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 45,000 characters, of which two thirds are timed."""
    documents = scenario.c_documents(14)
    return scenario.write_parquet(tmp_path_factory.mktemp("small") / "c.parquet", documents)


@pytest.fixture
def said(small: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command says of a tokenizer, measured on a small corpus: status, stdout, stderr."""

    def run(folder: Path | str, *switches: str) -> tuple[int, list[str], list[str]]:
        status = main(["tokenizer", str(folder), "--corpus", str(small), *switches])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return run


def changed(folder: Path, target: Path, normalizer: normalizers.Normalizer) -> Path:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizer
    return scenario.save_tokenizer(tokenizer, target)


def test_it_says_what_a_tokenizer_is_made_of_its_engine_ids_and_speed(
    tokenizer_folder: Path, small: Path, said: Said
) -> None:
    status, lines, errors = said(tokenizer_folder, "--text", "int x;\nü")
    assert (status, errors) == (0, [])
    assert lines[:13] == [
        f"tokenizer       {tokenizer_folder}/tokenizer.json and its config",
        "normalizer      none",
        r"pre_tokenizer   Split, Regex '[\r\n]', behavior 'Isolated'",
        r"                Split, Regex '\s?\p{L}+', behavior 'Isolated'",
        r"                Split, Regex '\s?\p{P}+', behavior 'Isolated'",
        r"                Split, Regex '[一-龥ࠀ-一가-\ud7ff]+', behavior 'Isolated'",
        "                Digits, individual_digits",
        "                ByteLevel, trim_offsets",
        "model           BPE, 533 vocab, 277 merges",
        "decoder         ByteLevel, add_prefix_space, trim_offsets, use_regex",
        "vocabulary      536 tokens, ids up to 535",
        f"added tokens    5, of them 2 special: {ADDED}",
        "chunks begin    with '<|begin|>', id 533, by its add_bos_token",
    ]
    loaded = load_tokenizer(find_tokenizer(str(tokenizer_folder)))
    ids = reference_ids(loaded, "int x;\nü")
    shown = zip(ids[:-1], [scenario.BOS, "int", " ", "x", ";", "\n"], strict=True)
    assert lines[13:15] == ["chunks end      none", "engine          pretokens"]
    assert lines[15].startswith("  not proven    gigatoken: ")
    assert lines[16:19] == [
        "ids of the text: 7 tokens, each with its text",
        "".join(f"  {each} {text!r}" for each, text in shown),
        "  184 '\ufffd'",
    ]
    texts = f"codedata's sample of C, the text and the start of {small}"
    assert lines[19:22] == [
        f"decoded again   {texts} come back as they are",
        "  but for       'ü': added tokens that the decoder does not give back",
        f"speed           on {small}",
    ]
    assert [line[:16].strip() for line in lines[22:]] == ["pretokens", "encode", "ratio"]
    assert lines[-1].endswith(" bytes are the same")


def test_json_has_every_id_with_its_text_and_figures_in_units(
    tokenizer_folder: Path, said: Said
) -> None:
    status, lines, _ = said(tokenizer_folder, "--json")
    found = json.loads("\n".join(lines))
    files = find_tokenizer(str(tokenizer_folder))
    tokens = found["sample"]["tokens"]
    ids = [each for token in tokens for each in token["ids"]]
    assert ids == reference_ids(load_tokenizer(files), PROBE)
    assert "".join(token["text"] for token in tokens) == scenario.BOS + found["sample"]["text"]
    assert found["before"] == [{"id": 533, "asked_by": "add_bos_token"}]
    assert (found["after"], [*found["not_proven"]], found["refused"]) == ([], ["gigatoken"], None)
    assert (status, found["engine"], found["sha256"]) == (0, "pretokens", files.fingerprint)
    speed = found["speed"]
    rates = speed["engine_bytes_per_second"] / speed["encode_bytes_per_second"]
    assert speed["ratio"] == pytest.approx(rates, rel=0.01, abs=0.01)
    assert 0 < speed["tokens"] < speed["bytes"]


def test_engines_that_are_not_proven_are_named_with_the_reason_and_the_page(
    tmp_path: Path, said: Said
) -> None:
    folder = scenario.save_tokenizer(unknown(), tmp_path)
    status, lines, _ = said(folder)
    why = find_pretokenizer(load_tokenizer(find_tokenizer(str(folder))).structure)
    place = lines.index("engine          whole")
    assert lines[place + 1 : place + 3] == [
        f"  not proven    {', '.join(registry.engine_choices()[1:-1])}: {why}",
        "  what helps    docs/howto/own-tokenizer.md, Speed",
    ]
    assert status == 0
    assert "\n## Speed\n" in (PAGES / "own-tokenizer.md").read_text(encoding="utf-8")


def test_of_one_that_loses_text_all_the_rest_is_said_and_then_the_place(
    tokenizer_folder: Path, tmp_path: Path, said: Said
) -> None:
    folder = changed(tokenizer_folder, tmp_path / "lower", normalizers.Lowercase())
    status, lines, [error] = said(folder)
    assert status == 1
    assert error.startswith("codedata: error: the tokenizer ")
    lost = r"'>\n#define MAX_SIZE 0x7FFF\n\n\nin' comes back as '>\n#define max_size"
    [row] = [line for line in lines if line.startswith("decoded again ")]
    assert lost in row
    assert lost in error
    assert "are the same" in lines[-1]
    status, lines, errors = said(folder, "--json")
    found = json.loads(lines[0])
    assert (status, errors) == (1, [])
    assert f"codedata: error: {found['refused']}" == error
    assert lost in found["lost"][0]


def test_losses_that_no_run_refuses_are_said_too(tmp_path: Path, said: Said) -> None:
    """A model with an id for what it does not know is meant to lose it."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "int": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = scenario.save_tokenizer(tokenizer, tmp_path)
    status, lines, errors = said(folder, "--text", "int x;")
    assert (status, errors) == (0, [])
    loss = f"the tokenizer {folder} loses text: in the text, 'int x;' comes back as 'int [UNK]'"
    assert f"{'':16}{loss} (character 4)" in lines


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_one_that_is_none_ends_in_one_line(content: str | None, tmp_path: Path, said: Said) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    status, lines, [error] = said(tmp_path)
    assert (status, lines) == (1, [])
    assert error.startswith("codedata: error: ")


def test_one_of_the_hub_is_said_with_its_commit(tokenizer_folder: Path, said: Said) -> None:
    commit = "e" * 40
    snapshot = Path(constants.HF_HUB_CACHE) / "models--me--examined" / "snapshots" / commit
    shutil.copytree(tokenizer_folder, snapshot)
    status, lines, _ = said(f"me/examined@{commit}")
    assert status == 0
    assert lines[0].endswith(f"tokenizer.json and its config, commit {commit}")


class _WrongAtTheEnd(BlocksEngine):
    """Its mistake stands where no run's sample of a text's start meets it."""

    name = "wrong_at_the_end"

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:
        encoded = super().encode(text, threads=threads)
        if len(text) > 20_000:
            encoded.ids[-1] += 1
        return encoded


@pytest.fixture
def wrong_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(_WrongAtTheEnd)


def test_a_speed_whose_ids_differ_is_none(
    wrong_engine: None, tokenizer_folder: Path, said: Said
) -> None:
    status, lines, [error] = said(tokenizer_folder)
    assert status == 1
    assert lines[-1].startswith("speed ")
    assert "engine 'wrong_at_the_end' and " in error


def test_a_text_that_is_no_utf_8_is_wrong_usage(
    tokenizer_folder: Path, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        said(tokenizer_folder, "--text", "caf\udce9")
    assert stop.value.code == 2
    assert "argument --text: the text is not UTF-8" in capsys.readouterr().err
