"""What a split's dataset is made of, for its facts: its corpus, and the command that repeats it."""

import shlex
from collections.abc import Mapping

from codedata.components.split_spec import SplitSpec
from codedata.environment import variables
from codedata.layout import CORPUS_VARIABLE, TOKENIZER_VARIABLE, switch_variable
from codedata.sources.columns import COLUMN
from codedata.sources.record import Corpus


def command_of(spec: SplitSpec) -> str:
    """The command that makes a split, with what the environment overrides of its YAML."""
    given = variables()
    overrides = [CORPUS_VARIABLE]
    own_tokenizer = switch_variable(spec.name, "tokenizer_base")
    if spec.tokenizer_asset is None and own_tokenizer not in given:
        overrides.append(TOKENIZER_VARIABLE)
    overrides += [switch_variable(spec.name, switch) for switch in spec.settings.as_dict()]
    set_here = [f"{name}={shlex.quote(given[name])}" for name in overrides if name in given]
    return " ".join([*set_here, "codedata", "materialize", spec.name])


def split_facts(
    spec: SplitSpec, records: Mapping[int, Corpus]
) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """What identifies the corpus of a split, or each of several by its files.

    Of a file of several corpora it is said which one's it is, and how many characters were taken
    where they are others than the switch says.

    Args:
        spec: the split.
        records: of its files, by number.
    """
    if len(spec.parts) == 1:
        return corpus_facts(records, is_one=spec.parts[0].corpus_files == 1)
    shared, files = corpus_facts(records, is_one=False)
    chars = str(spec.settings.as_dict()["chars_to_tokenize"])
    for number, known in files.items():
        part = spec.part_of(number)
        other = {} if part.chars == chars else {"chars_to_tokenize": part.chars}
        files[number] = {"corpus": part.corpus, **known, **other}
    return {"corpora": ", ".join(spec.corpora), **shared}, files


def corpus_facts(
    corpora: Mapping[int, Corpus], *, is_one: bool
) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """What identifies a corpus, elsewhere too where it is of the hub; and each file of several.

    Args:
        corpora: the files that the split takes, by number.
        is_one: whether the corpus has no more than one file, which needs no number.
    """
    files = {file: _file_facts(corpus) for file, corpus in corpora.items()}
    some, *others = files.values()
    if is_one:
        return some, {}
    # Files may be of different repositories, or of none.
    shared = {
        name: some[name]
        for name in ("repo", "commit")
        if name in some and all(each.get(name) == some[name] for each in others)
    }
    for each in files.values():
        for name in shared:
            del each[name]
    return shared, files


def _file_facts(corpus: Corpus) -> dict[str, str]:
    origin = corpus.origin
    known = {name: origin[name] for name in ("repo", "path", "commit") if name in origin}
    known = known or {"path": corpus.path}
    if corpus.text_column != COLUMN:
        known["text_column"] = corpus.text_column
    if corpus.file_sha256 is not None:
        return {**known, "file_sha256": corpus.file_sha256, "fingerprint": corpus.sha256}
    if corpus.part is None or corpus.is_of_file:
        return {**known, "sha256": corpus.sha256}
    first = f"the first {corpus.part.num_chars}"
    return {**known, "characters": first, "fingerprint": corpus.sha256}
