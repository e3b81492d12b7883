"""A text that has control tokens in it -> ids in which they are text like any other.

The tokenizers library knows added tokens by their content, wherever it stands. It passes over those
that are special where `encode_special_tokens` is set; so here the control tokens are the special
ones of a second tokenizer, which is the first one in all else. (deepseek-coder's tokens of
fill-in-the-middle are added and not special, so that the switch alone does not do.)
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import numpy as np

from codedata.format.packing import IdArray, id_dtype
from codedata.format.ranges import Utf8
from codedata.format.texts import Texts
from codedata.recipe.documents import ResolvedRecipe
from codedata.tokenize.bare_ids import bare_ids
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.tokenizer_json import with_parts


def as_plain_text(loaded: LoadedTokenizer, recipe: ResolvedRecipe, text: Utf8) -> IdArray | None:
    """The ids of a text, its control tokens read as text; None where the tokenizer cannot.

    Args:
        loaded: the tokenizer.
        recipe: says which are control tokens.
        text: any.
    """
    tokenizer = plain_tokenizer(loaded, recipe.control_ids)
    found = tokenizer.encode(str(text.data, "utf-8"), add_special_tokens=False).ids
    if not set(recipe.control_ids).isdisjoint(found):
        return None
    return np.array(found, id_dtype(loaded.vocab_size - 1))


def ids_as_text(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    texts: Texts,
    *,
    threads: int = 1,
) -> list[IdArray | None]:
    """The bare ids of texts; None where a control token stands in one, and is not to be text.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: says which are control tokens, and what becomes of them.
        texts: any.
        threads: that may work on them.
    """
    found = bare_ids(engine, texts, threads=threads)
    each: list[IdArray | None] = [
        found.ids[start:stop] for start, stop in pairwise([0, *found.ends.tolist()])
    ]
    reads = recipe.recipe.control_tokens == "text"
    for place in found.holding(recipe.control_ids).tolist():
        each[place] = as_plain_text(loaded, recipe, texts[place]) if reads else None
    return each


@lru_cache(maxsize=4)
def plain_tokenizer(loaded: LoadedTokenizer, control_ids: tuple[int, ...]) -> LibraryTokenizer:
    """The tokenizer that reads some of its added tokens as text, and gives the other bare ids too.

    It has no post-processor, which may put some blanks out of the tokens' offsets.
    """
    declared = cast("list[dict[str, Any]]", loaded.structure.get("added_tokens") or [])
    control = {loaded.tokenizer.id_to_token(control_id) for control_id in control_ids}
    added = [token | {"special": token["content"] in control} for token in declared]
    data = with_parts(loaded.json_bytes, {"added_tokens": added, "post_processor": None})
    return LibraryTokenizer(data, str(loaded.files.tokenizer_json), special_as_text=True)
