"""The ids do not depend on the release of transformers: three, in environments of their own.

The reference is AutoTokenizer of 4.57. That of 5.3 is known to be wrong, and is held to be so: were
it right, this test would show nothing.
"""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codedata_tests import scenario
from codedata_tests.tokenize.hostile import hostile_text

ROOT = Path(__file__).parents[2]
TOKENIZER_VARIABLE = "CODEDATA_TEST_TOKENIZER"
"""A folder of another tokenizer to try besides, such as the real default one's files."""

NEEDED = ("numpy", "numba", "pyarrow", "tqdm")
"""What codedata.tokenize imports and transformers does not bring along."""

PROGRAM = """
import json, sys
from pathlib import Path
import huggingface_hub, tokenizers, transformers
from codedata.errors import SettingsError
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.registry import choose_engine, engine_choices
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

texts = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
loaded = load_tokenizer(find_tokenizer(sys.argv[1]))
engines = {}
for choice in engine_choices():
    try:
        engine = choose_engine(loaded, choice)
    except SettingsError:
        continue
    engines[engine.name] = [engine.encode(as_utf8(text)).ids.tolist() for text in texts]
automatic = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
rebuilt = json.loads(automatic.backend_tokenizer.to_str())
packages = (transformers, tokenizers, huggingface_hub)
print(json.dumps({
    "versions": {package.__name__: package.__version__ for package in packages},
    "prefixes": sorted({package.__file__.startswith(sys.prefix) for package in packages}),
    "engines": engines,
    "automatic": [automatic(text)["input_ids"] for text in texts],
    "pre_tokenizer": rebuilt["pre_tokenizer"]["type"],
}))
"""

HARD = [
    *("", "hello world", "x" * 300 + " " * 300, "\ufeff#include <stdio.h>\n"),
    *("int main(void)\n{\n\treturn 0;\n}\n", "  a  b\t\tc   \r\nd\r\n\n\n"),
    *("if (a)\r\n\t\tb();\r\n\r\n        c();\r\n", "0x1234 + 3.14e-10f; 'c' \"s\\n\""),
    "naïve œuvre — “quoted” 中文 🙂\u200d\n",
]


def texts_for(tokenizer: Path) -> list[str]:
    """Hard ones, each added token as literal text, C, mixtures, and long ones of many blocks."""
    structure = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    added = [token["content"] for token in structure["added_tokens"]]
    assert len(added) > 3, "literal tokens are a part of what is compared"
    literal = [f(token) for token in added for f in ("{0}".format, "a {0}b\n{0} {0}{0}".format)]
    random_ = random.Random(0)
    documents = scenario.c_documents(300)
    mixed = [hostile_text(random_, added) for _ in range(300)]
    one_line = re.sub(r"[\r\n]", " ", "".join(documents[:20]))
    long = ["\n".join(documents), "".join(mixed), one_line, "x" * 50_000]
    return [*HARD, *literal, *documents, *mixed, *long]


def checked(command: list[str], **environment: str) -> str:
    """What a command prints; where it fails, so does the test, with what the command said."""
    environment = environment or dict(os.environ)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def pinned_release() -> str:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(r"^transformers==([\d.]+)", constraints, re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Interpreters, by release, each with what that release of transformers brings along."""
    made: dict[str, Path] = {}
    for release, version in {"4.57": "4.57.*", "5.3": "5.3.*", "pinned": pinned_release()}.items():
        folder = tmp_path_factory.mktemp("environment") / release
        checked([sys.executable, "-m", "venv", str(folder)])
        made[release] = folder / "bin" / "python"
        pip = [str(made[release]), "-m", "pip", "install", "-q"]
        checked([*pip, f"transformers=={version}", *NEEDED])
    return made


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with the structure and the config of deepseek-coder's."""
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


def with_one_bos(ids: list[int], bos: int) -> list[int]:
    """4.57 puts BOS before a text that starts with BOS as well; codedata does not."""
    return ids[1:] if ids[:2] == [bos, bos] else ids


def num_differing(some: list[list[int]], others: list[list[int]]) -> int:
    return sum(one != other for one, other in zip(some, others, strict=True))


def compare_releases(environments: dict[str, Path], tokenizer: Path, tmp_path: Path) -> set[str]:
    """Hold every engine in every environment to 4.57's AutoTokenizer -> the engines' names."""
    texts = texts_for(tokenizer)
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for release, python in environments.items():
        command = [str(python), "-c", PROGRAM, str(tokenizer), str(path)]
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        found[release] = json.loads(checked(command, **variables).splitlines()[-1])

    versions = {release: each["versions"] for release, each in found.items()}
    assert versions["4.57"]["transformers"].startswith("4.57.")
    assert versions["5.3"]["transformers"].startswith("5.3.")
    assert versions["pinned"]["transformers"] == pinned_release()
    assert all(each["prefixes"] == [True] for each in found.values()), "packages from elsewhere"

    automatic = found["4.57"]["automatic"]
    [bos] = automatic[texts.index("")]
    reference = [with_one_bos(ids, bos) for ids in automatic]
    bos_token = texts[automatic.index([bos, bos])]
    doubled = [text for text, ids in zip(texts, automatic, strict=True) if ids[:2] == [bos, bos]]
    assert doubled == [text for text in texts if text.startswith(bos_token)]
    engines = set(found["pinned"]["engines"])
    for release, each in found.items():
        assert set(each["engines"]) == engines, release
        for engine, ids in each["engines"].items():
            wrong = [text[:80] for text, a, b in zip(texts, ids, reference, strict=True) if a != b]
            assert not wrong, (release, engine, len(wrong), wrong[:5])

    assert found["4.57"]["pre_tokenizer"] == "Sequence"
    assert found["5.3"]["pre_tokenizer"] == "Metaspace", "the release that is known to be broken"
    broken = [[bos, *ids] for ids in found["5.3"]["automatic"]]
    assert num_differing(broken, automatic) > len(texts) // 2, "more is lost than BOS"

    return engines


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_release_of_transformers_gives_the_same_ids(
    environments: dict[str, Path], trained_folder: Path, tmp_path: Path
) -> None:
    engines = compare_releases(environments, trained_folder, tmp_path)
    assert engines == {"pretokens", "blocks", "whole"}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(TOKENIZER_VARIABLE not in os.environ, reason=f"${TOKENIZER_VARIABLE} not set")
def test_so_it_is_with_the_tokenizer_that_the_environment_names(
    environments: dict[str, Path], tmp_path: Path
) -> None:
    compare_releases(environments, Path(os.environ[TOKENIZER_VARIABLE]), tmp_path)
