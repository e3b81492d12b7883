"""A `pad_token` that nobody named, and a recipe's tokens, are judged before the corpus is fetched.

The corpus comes first in a split's job, and the tokenizer after it. So the job carries, as tags,
the tokenizer that they must fit; the corpus's step and `codedata materialize` look at them.
"""

import json
from collections.abc import Mapping
from functools import partial

from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.progress import Reporter
from codedata.recipe.documents import DocumentRecipe
from codedata.store import state
from codedata.tokenize.padding import why_not_default
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

DEFAULT_PAD_TAG = "codedata/pads_with_the_default"
"""On a split's job: the tokenizer, where its pad_token is the default that nobody named."""


RECIPE_TAG = "codedata/recipe"
"""On a split's job: tokenizer and recipe, as JSON, where there is one."""


def require_fitting_tokens(
    tags: Mapping[str, str], layout: Layout, reporter: Reporter, *, update: bool = False
) -> None:
    """Refuse a run whose default pad token, or whose recipe, does not fit its tokenizer.

    Args:
        tags: of the job, or of a run of it.
        layout: the root.
        reporter: told what has to be fetched or waited for.
        update: take the newest commit of a tokenizer of the hub.

    Raises:
        TokenizerError: the tokenizer cannot be had.
        SettingsError: it does not fit; the message has the tokenizer's own.
    """
    padded, told = tags.get(DEFAULT_PAD_TAG), tags.get(RECIPE_TAG)
    source, recipe = (padded, None) if told is None else json.loads(told)
    if source is None:
        return
    pins = layout.tokenizer_pins
    find = partial(find_tokenizer, source, pins=pins, update=update, reporter=reporter)
    loaded = load_tokenizer(state.kept(layout, pins, find))
    if padded is not None and (why := why_not_default(source, loaded)) is not None:
        raise SettingsError(why)
    if recipe is not None:
        with_ids(DocumentRecipe.of(recipe), loaded)
