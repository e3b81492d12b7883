"""NVIDIA NeMo's permutation, which is that of bigcode's Megatron, with our draws gives our pieces.

Its package asks for much else: it gets an environment of its own on top of this one, made by pip
without dependencies, and the one module is loaded from its file. That needs a package index.

    pytest -m long codedata_tests/tokenize/test_fim_of_others.py
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from codedata.tokenize.fim_forms import PERMUTED, draws
from codedata.tokenize.undo_fim import undone
from codedata_tests import scenario
from codedata_tests.export.test_own_readers import environment_with
from codedata_tests.tokenize.fim_documents import fim_tokenizer, hash_of
from codedata_tests.tokenize.twins import TWINS

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PERMUTE = """
import json, sys, types
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
import numpy as np
from tokenizers import Tokenizer

place = "collections/nlp/data/language_modeling/megatron/gpt_fim_dataset.py"
[folder] = find_spec("nemo").submodule_search_locations
for name in ("nemo", "nemo.utils", "nemo.collections", "nemo.collections.nlp",
             "nemo.collections.nlp.modules", "nemo.collections.nlp.modules.common",
             "nemo.collections.nlp.modules.common.megatron",
             "nemo.collections.nlp.modules.common.megatron.utils", "megatron"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["nemo.utils"].logging = None
sys.modules["nemo.collections.nlp.modules.common.megatron.utils"].ApexGuardDefaults = type(
    "ApexGuardDefaults", (), {})
spec = spec_from_file_location("gpt_fim_dataset", Path(folder) / place)
module = module_from_spec(spec)
spec.loader.exec_module(module)

library = Tokenizer.from_file(sys.argv[1])
given = json.loads(Path(sys.argv[2]).read_text())

class Theirs:
    def ids_to_text(self, ids):
        return library.decode([int(each) for each in ids], skip_special_tokens=False)
    def text_to_ids(self, text):
        return library.encode(text, add_special_tokens=False).ids

class Drawn:
    def __init__(self, case):
        self.coins, self.places = iter((1, case["spm"])), case["places"]
    def binomial(self, trials, rate):
        return next(self.coins)
    def randint(self, low, high, size):
        assert (low, size) == (0, 2)
        return [number * high >> 64 for number in self.places]

made = []
for case in given["cases"]:
    sample = np.array(library.encode(case["text"], add_special_tokens=False).ids)
    made.append(module.GPTFIMDataset._permute(
        None, sample, Drawn(case), 0.5, 0.5, Theirs(), truncate_or_pad=False,
        prefix_tok_id=given["prefix"], suffix_tok_id=given["suffix"],
        middle_tok_id=given["middle"]).tolist())
print(json.dumps(made))
"""


def test_the_permutation_of_nemo_and_bigcode_is_ours(tmp_path: Path) -> None:
    tokenizer = fim_tokenizer(TWINS["llama3"](), tmp_path)
    recipe = tokenizer.recipe(bos=False, rate=0.6)
    assert recipe.fim is not None
    texts = [*scenario.c_documents(120, seed=6), "x", "\r\n", "计算🙂é" * 40]
    cases: list[dict[str, object]] = []
    ours: list[list[int]] = []
    for text, pieces in zip(texts, tokenizer.pieces(recipe, texts, 200), strict=True):
        for number, (ids, form) in enumerate(pieces):
            if form in PERMUTED:
                own = ids[:-1] if number == len(pieces) - 1 else ids
                of_piece = undone(tokenizer.loaded, recipe, [(np.append(own, recipe.eos), form)])
                drawn = draws(0, hash_of(text), number)
                places = [drawn.first, drawn.second]
                spm = int(drawn.spm < 2**63)
                cases.append({"text": of_piece.decode(), "places": places, "spm": spm})
                ours.append(own.tolist())
    assert len(cases) > 300
    assert {case["spm"] for case in cases} == {0, 1}
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"cases": cases, **vars(recipe.fim)}), encoding="utf-8")
    python = environment_with(tmp_path / "venv", "nemo_toolkit==2.2.1")
    arguments = [python, "-c", PERMUTE, str(tmp_path / "tokenizer.json"), str(given)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    theirs = json.loads(run.stdout.splitlines()[-1])
    assert theirs == ours
