"""A process of its own: the installed transformers' AutoTokenizer against ids that it should give.

    python -m codedata.tokenize.transformers_child FOLDER NAME [COMMIT]

FOLDER/NAME holds the tokenizer's files; the name is the repository's where there is one, since
transformers goes by that too, and config.json is then fetched. Whoever started this process writes
FOLDER/job.json, a list of [text, ids], and then a line to stdin; if that ends without one, nobody
waits any more. The answer is FOLDER/answer.json:

    own_code        files that name a class of the tokenizer's own code, which is never run
    no_config       why there is no config.json; null where there is one
    is_final        whether the same answer would come again
    transformers    the release
    class           of the tokenizer that it made
    difference      [number of the text, a Difference], of the first that differs, or null
    framing         a Framing, of the first text that is framed otherwise, or null

transformers is imported before there is a job, which is nearly all of the work; and without torch,
which would double that.
"""

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from codedata.parallel import exit_process
from codedata.tokenize.agreement import Difference, compare_with

LOCAL_NAME, JOB, ANSWER = "tokenizer", "job.json", "answer.json"

MODEL_CONFIG = "config.json"
"""The model's, whose type decides together with tokenizer_config.json which class is taken."""

OTHER_FILES = (MODEL_CONFIG, "special_tokens_map.json", "added_tokens.json")
"""What transformers reads of a tokenizer's folder besides its two files."""

_CONFIG_SECONDS = 3
"""For a hub that is not reached: a run that is done by then waits for this process."""

_MAX_CONFIG_BYTES = 1 << 20


def main(folder: str, name: str, commit: str | None = None) -> None:
    """Answer the job of a folder."""
    os.chdir(folder)
    answer: dict[str, Any] = {"no_config": None, "is_final": True}
    if commit is not None:
        answer |= _fetch_others(name, commit)
    elif not Path(name, MODEL_CONFIG).exists():
        answer["no_config"] = (
            "the files have none; put the model's into the tokenizer's folder, and name that"
        )
    answer["own_code"] = _own_code(Path(name))
    if not answer["own_code"]:
        answer |= _compare(name)
    Path(ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _fetch_others(repo: str, commit: str) -> dict[str, Any]:
    """Bring the files to the tokenizer's two by which transformers goes too."""
    from codedata.hub.client import limit_client
    from codedata.hub.files import fetch_file
    from codedata.hub.refusals import HubError, NoSuchFileError
    from codedata.progress import SILENT

    limit_client()
    told: dict[str, Any] = {}
    for name in OTHER_FILES:
        try:
            found = fetch_file(
                repo,
                name,
                kind="model",
                revision=commit,
                reporter=SILENT,
                patient=False,
                within=_CONFIG_SECONDS,
                most_bytes=_MAX_CONFIG_BYTES,
            )
        except NoSuchFileError as error:
            if name == MODEL_CONFIG:
                told["no_config"] = str(error)
        except HubError as error:
            return {"no_config": str(error), "is_final": False}
        else:
            Path(repo, name).symlink_to(found.path.resolve())
    return told


def _own_code(folder: Path) -> list[str]:
    """The files by which the tokenizer is a class of the repository's own code."""
    names: list[str] = []
    for path in (folder / "tokenizer_config.json", folder / MODEL_CONFIG):
        config = json.loads(path.read_bytes()) if path.exists() else {}
        classes = config.get("auto_map", {}) if isinstance(config, dict) else {}
        if isinstance(classes, list) or "AutoTokenizer" in cast("dict[str, Any]", classes):
            names.append(path.name)
    return names


def _compare(name: str) -> dict[str, Any]:
    """Load the tokenizer, and compare its ids once there are any to compare with."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  (as if it were not installed)
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if not sys.stdin.readline():
        shutil.rmtree(Path.cwd())  # a run that was killed cannot
        sys.exit(1)
    difference = framing = None
    for number, (text, ids) in enumerate(json.loads(Path(JOB).read_bytes())):
        found = compare_with(tokenizer, text, ids)
        if isinstance(found, Difference):
            difference = difference or (number, asdict(found))
        elif found is not None:
            framing = framing or asdict(found)
    return {
        "transformers": transformers.__version__,
        "class": type(tokenizer).__name__,
        "difference": difference,
        "framing": framing,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
    exit_process(0)  # somebody waits: a third of a second of taking transformers apart
