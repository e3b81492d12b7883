"""A process of its own: the installed transformers' AutoTokenizer against ids that it should give.

    python -m codedata.tokenize.transformers_child FOLDER NAME [COMMIT]

FOLDER/NAME holds the tokenizer's files; the name is the repository's where there is one, since
transformers goes by that too, and config.json is then fetched. Whoever started this process writes
a JSON object to its stdin: `texts`, a list of [name, text, ids], and `has_documents`, whether those
ids are bare, since a recipe frames documents; if stdin ends without one, nobody waits any more. The
answer is the last line of stdout, a JSON object:

    no_config       why there is no config.json; null where there is one
    is_final        whether the same answer would come again
    outcome         what is to be said: passed, description, numbers

It fails where ids of a text differ, and where that is not known for certain. That only the special
tokens differ that frame a text is said, and fails nothing.

transformers is imported before there is a job, which is nearly all of the work; and without torch,
which would double that.
"""

import gc
import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from codedata.parallel import exit_process
from codedata.tokenize.agreement import Difference, Framing, compare_with

LOCAL_NAME = "tokenizer"

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
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores are the run's
    no_config, is_final = None, True
    if commit is not None:
        no_config, is_final = _fetch_others(name, commit)
    elif not Path(name, MODEL_CONFIG).exists():
        no_config = "the files have none; put the model's into the tokenizer's folder and name it"
    outcome = _refused(Path(name)) or _compare(name, no_config)
    print(f"\n{json.dumps({'no_config': no_config, 'is_final': is_final, 'outcome': outcome})}")


def not_compared(why: str) -> dict[str, Any]:
    """That nothing is known, and why."""
    release = version("transformers")
    said = f"not compared with AutoTokenizer of transformers {release}: {why}"
    return {"passed": False, "description": said, "numbers": {"transformers": release}}


def _fetch_others(repo: str, commit: str) -> tuple[str | None, bool]:
    """Bring the files to the tokenizer's two by which transformers goes too.

    Returns:
        Why there is no config.json, and whether that stays so.
    """
    from codedata.hub.client import limit_client
    from codedata.hub.files import fetch_file
    from codedata.hub.refusals import HubError, NoSuchFileError
    from codedata.progress import SILENT

    limit_client()
    no_config = None
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
            no_config = str(error) if name == MODEL_CONFIG else no_config
        except HubError as error:
            return str(error), False
        else:
            Path(repo, name).symlink_to(found.path.resolve())
    return no_config, True


def _refused(folder: Path) -> dict[str, Any] | None:
    """What is said where the tokenizer is a class of the repository's own code."""
    names: list[str] = []
    for path in (folder / "tokenizer_config.json", folder / MODEL_CONFIG):
        config = json.loads(path.read_bytes()) if path.exists() else {}
        classes = config.get("auto_map", {}) if isinstance(config, dict) else {}
        if isinstance(classes, list) or "AutoTokenizer" in cast("dict[str, Any]", classes):
            names.append(path.name)
    if not names:
        return None
    own = f"code of its own (auto_map in {' and '.join(names)})"
    return not_compared(f"the tokenizer is {own}, and that is never run here")


def _compare(name: str, no_config: str | None) -> dict[str, Any]:
    """Load the tokenizer, and compare its ids once there are any to compare with."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  (as if it were not installed)
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    given = sys.stdin.buffer.read()
    if not given:
        shutil.rmtree(Path.cwd())  # a run that was killed cannot
        sys.exit(1)
    job = json.loads(given)
    found = [(what, compare_with(tokenizer, text, ids)) for what, text, ids in job["texts"]]
    different = [(what, each) for what, each in found if isinstance(each, Difference)]
    framed = [each for _, each in found if isinstance(each, Framing)]
    release, kind = transformers.__version__, type(tokenizer).__name__
    said = "the same ids"
    if different:
        what, first = different[0]
        said = (
            f"other ids: in {what}, from id {first.place} on, {first.found}, where the dataset has "
            f"{first.expected}; load the tokenizer by PreTrainedTokenizerFast"
            "(tokenizer_file='tokenizer.json') where the dataset is used"
        )
    elif job["has_documents"]:
        said += " for the text; the frame of documents is the recipe's"
    elif framed:
        (before, after), (own_before, own_after) = framed[0].expected, framed[0].found
        said += (
            f" for the text, but frames it otherwise: it puts {own_before} before and {own_after} "
            f"after it, and chunks of the dataset have {before} and {after}"
        )
    same_frame = {} if job["has_documents"] else {"same frame": str(not framed)}
    if no_config is not None:
        said += f"; but without {MODEL_CONFIG}, by which it chooses the tokenizer's class too: "
        said += no_config
    return {
        "passed": not different and no_config is None,
        "description": f"AutoTokenizer of transformers {release} ({kind}) gives {said}",
        "numbers": {"transformers": release, "class": kind, **same_frame},
    }


if __name__ == "__main__":
    gc.disable()  # for a second of imports
    main(*sys.argv[1:])
    exit_process(0)  # somebody waits: a third of a second of taking transformers apart
