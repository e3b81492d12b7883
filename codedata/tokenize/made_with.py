"""The facts of a dataset -> the very tokenizer that made it, where it is now.

Facts name one of the hub by repository and commit. One of this machine they name by its name alone;
it is looked for where a caller, the environment, the root, the last run or the card of an older
codedata says, and known by its fingerprint.
"""

import os
from collections.abc import Sequence

from codedata.errors import TokenizerError
from codedata.format.facts import Facts
from codedata.format.without_paths import name_of
from codedata.layout import TOKENIZER_VARIABLE, Layout
from codedata.tokenize.remembered import remembered_tokenizer
from codedata.tokenize.tokenizer_files import (
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    TokenizerFiles,
    find_tokenizer,
    local_fingerprint,
)


def tokenizer_of(facts: Facts, layout: Layout, named: Sequence[str] = ()) -> TokenizerFiles:
    """The tokenizer that made a dataset; one of the hub is fetched.

    Args:
        facts: of the dataset.
        layout: the root.
        named: folders where it may lie.

    Raises:
        TokenizerError: it is gone, or is another one by now.
    """
    source, sha256 = facts.tokenizer.source, facts.tokenizer.sha256
    if in_store := _in_store(facts, layout):
        found = in_store
    elif commit := facts.tokenizer.revision:
        found = find_tokenizer(f"{source.partition('@')[0]}@{commit}")
        found = found if found.fingerprint == sha256 else None
    else:
        found = _of_this_machine(facts, layout, named)
    if found is None:
        name = source if facts.tokenizer.revision else name_of(source)
        raise TokenizerError(
            f"tokenizer {name} that made {facts.name!r} (sha256 {sha256}) is not where it was, or "
            f"is another one by now: name its folder with --tokenizer or {TOKENIZER_VARIABLE}, or "
            "make the dataset again"
        )
    return found


def tokenizer_here(facts: Facts, layout: Layout) -> TokenizerFiles | None:
    """The tokenizer that made a dataset, without asking the hub; None where it is not here."""
    if in_store := _in_store(facts, layout):
        return in_store
    commit = facts.tokenizer.revision
    if commit is None:
        return _of_this_machine(facts, layout, ())
    # Half a second of imports that one of this machine does not need.
    from codedata.hub.files import find_here
    from codedata.hub.refusals import NoSuchFileError

    repo = facts.tokenizer.source.partition("@")[0]
    try:
        if find_here(repo, TOKENIZER_JSON, kind="model", revision=commit) is None:
            return None
        if find_here(repo, TOKENIZER_CONFIG, kind="model", revision=commit) is None:
            return None
    except NoSuchFileError:
        pass  # the hub said before that it has no config
    return tokenizer_of(facts, layout)


def _in_store(facts: Facts, layout: Layout) -> TokenizerFiles | None:
    """The tokenizer as a root in an object store has it, by its fingerprint."""
    if layout.url is None:
        return None
    from codedata.store.roots import objects_of  # asyncio, which folders need not wait for
    from codedata.tokenize.stored_tokenizer import bring_tokenizer

    store, sha256 = objects_of(layout), facts.tokenizer.sha256
    folder = store and bring_tokenizer(store, sha256)
    is_it = folder is not None and local_fingerprint(str(folder)) == sha256
    return find_tokenizer(str(folder)) if is_it else None


def _of_this_machine(facts: Facts, layout: Layout, named: Sequence[str]) -> TokenizerFiles | None:
    source, sha256 = facts.tokenizer.source, facts.tokenizer.sha256
    places = [
        *named,
        os.environ.get(TOKENIZER_VARIABLE),
        str(layout.tokenizer(name_of(source))),
        remembered_tokenizer(sha256),
        source,
    ]
    for place in filter(None, places):
        if local_fingerprint(place) == sha256:
            return find_tokenizer(place)
    return None
