"""datatrove's DocumentTokenizer, in an environment of its own: the same ids and document ends."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codedata.recipe.documents import DocumentRecipe
from codedata.sources.documents import ORIGINS, ChosenDocuments
from codedata.tokenize.documents import tokenize_documents
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.export.test_own_readers import environment_with
from codedata_tests.tokenize.hostile import PROSE, hostile_text

pytestmark = pytest.mark.long

PACKAGES = ("datatrove==0.10.0", "humanize==4.17.0", "loguru==0.7.3", "multiprocess==0.70.19")

TOKENIZE = """
import json, sys
from datatrove.data import Document
from datatrove.pipeline.tokens import DocumentTokenizer

texts, tokenizer_json, folder, eos = sys.argv[1:]
documents = [
    Document(text=text, id=str(number))
    for number, text in enumerate(json.load(open(texts, encoding="utf-8")))
]
step = DocumentTokenizer(
    output_folder=folder, tokenizer_name_or_path=tokenizer_json, eos_token=eos,
    shuffle_documents=False, batch_size=100,
)
step.run(documents, rank=0, world_size=1)
"""

EOS = {"deepseek-coder": "<|EOT|>", "o200k": "<|endoftext|>", "llama2": "</s>"}


@pytest.mark.parametrize("name", EOS)
def test_datatrove_has_the_same_ids_and_document_ends(
    name: str, twin: Callable[[str], LoadedTokenizer], tmp_path: Path
) -> None:
    loaded, random_ = twin(name), random.Random(5)
    hostile = [hostile_text(random_) for _ in range(300)]
    every = (*scenario.c_documents(200), *PROSE, *hostile, " ", "\n")
    documents = [text for text in every if text and EOS[name] not in text]  # others are left out
    python = environment_with(tmp_path / "venv", *PACKAGES)
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(documents), encoding="utf-8")
    command = [python, "-c", TOKENIZE, texts, loaded.files.tokenizer_json, tmp_path / "theirs"]
    done = subprocess.run([*command, EOS[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [theirs] = (tmp_path / "theirs").glob("*.ds")
    made, _ = tokenize_documents(
        loaded,
        choose_engine(loaded),
        with_ids(DocumentRecipe(eos=EOS[name]), loaded),
        ChosenDocuments(
            file=0,
            texts=[as_utf8(text) for text in documents],
            rows=np.arange(len(documents)),
            num_chars=np.array([*map(len, documents)]),
            origins=dict.fromkeys(ORIGINS, [None] * len(documents)),
        ),
        seq_length=2048,
        threads=2,
        where="here",
    )
    assert theirs.read_bytes() == made.ids.tobytes()
    ends = np.fromfile(f"{theirs}.index", np.uint64)
    assert ends.tolist() == np.cumsum(made.pieces[:, 1]).tolist()
    assert len(ends) == len(documents)
