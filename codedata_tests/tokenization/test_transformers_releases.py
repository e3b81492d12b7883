"""The ids do not depend on the release of transformers: three, in environments of their own."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codedata_tests import scenario

ROOT = Path(__file__).parents[2]
TOKENIZER_VARIABLE = "CODEDATA_TEST_TOKENIZER"
"""A folder of another tokenizer to try, such as the real default one's files."""

PROGRAM = """
import json, sys
from pathlib import Path
import transformers
from codedata.tokenization.engine import as_utf8, choose_engine
from codedata.tokenization.loading import find_tokenizer, load_tokenizer

texts = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
loaded = load_tokenizer(find_tokenizer(sys.argv[1]))
found = {"transformers": transformers.__version__}
for name in ("auto", "whole"):
    engine = choose_engine(loaded, name)
    found[name] = [engine.encode(as_utf8(text)).ids.tolist() for text in texts]
automatic = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
found["AutoTokenizer"] = [automatic(text)["input_ids"] for text in texts]
print(json.dumps(found))
"""

HARD = [
    "int main(void)\n{\n\treturn 0;\n}\n",
    "hello world",
    "  a  b\t\tc   \r\nd\r\n\n\n",
    "x" * 300 + " " * 300,
    "naïve œuvre — “quoted” 中文 🙂\u200d\n",
    f"literal {scenario.PAD} and {scenario.BOS} in a comment",
    "\ufeff#include <stdio.h>\n",
    "0x1234 + 3.14e-10f; 'c' \"s\\n\"",
]


def pinned_release() -> str:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(r"^transformers==([\d.]+)", constraints, re.MULTILINE)
    assert found
    return found[1]


RELEASES = {"4.57": "transformers==4.57.*", "5.3": "transformers==5.3.*"}


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Interpreters, by release, each with what that release of transformers brings along."""
    made: dict[str, Path] = {}
    for release, requirement in {**RELEASES, "pinned": f"transformers=={pinned_release()}"}.items():
        folder = tmp_path_factory.mktemp("environment") / release
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        made[release] = folder / "bin" / "python"
        needed = [requirement, "numpy", "numba", "pyarrow", "tqdm", "sentencepiece", "protobuf"]
        pip = [str(made[release]), "-m", "pip", "install", "-q", *needed]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with the structure and the config of deepseek-coder's."""
    if TOKENIZER_VARIABLE in os.environ:
        return Path(os.environ[TOKENIZER_VARIABLE])
    return scenario.save_tokenizer(
        scenario.train_tokenizer(scenario.deepseek_like()),
        tmp_path_factory.mktemp("deepseek-like"),
        tokenizer_class="LlamaTokenizerFast",
        add_bos_token=True,
        add_eos_token=False,
        bos_token=scenario.BOS,
        eos_token=scenario.EOT,
        pad_token=scenario.PAD,
        unk_token=None,
        legacy=True,
        clean_up_tokenization_spaces=False,
        model_max_length=16384,
    )


def run(python: Path, tokenizer: Path, texts: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-c", PROGRAM, str(tokenizer), str(texts)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_release_of_transformers_gives_the_same_ids(
    environments: dict[str, Path], tokenizer: Path, tmp_path: Path
) -> None:
    texts = [*HARD, *scenario.c_documents(300)]
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    found = {
        release: run(python, tokenizer, tmp_path / "texts.json")
        for release, python in environments.items()
    }
    versions = {release: each["transformers"] for release, each in found.items()}
    assert versions["4.57"].startswith("4.57.")
    assert versions["5.3"].startswith("5.3.")
    assert versions["pinned"] == pinned_release()
    reference = found["4.57"]["AutoTokenizer"]
    for release, each in found.items():
        for engine in ("auto", "whole"):
            assert each[engine] == reference, (release, engine)
    assert found["5.3"]["AutoTokenizer"] != reference, "the release that is known to be broken"
    digest = hashlib.sha256(json.dumps(reference).encode()).hexdigest()
    print(versions, f"{sum(map(len, reference))} ids of {len(texts)} texts, sha256 {digest}")
