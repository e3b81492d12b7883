"""A `pad_token` that nobody named is judged before the corpus is fetched.

The corpus comes first in a split's job, and the tokenizer after it. So the job carries, as a tag,
the tokenizer that the default must fit; the corpus's step and `codedata materialize` look at it.
"""

from collections.abc import Mapping
from functools import partial

from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.progress import Reporter
from codedata.store import state
from codedata.tokenize.padding import why_not_default
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

DEFAULT_PAD_TAG = "codedata/pads_with_the_default"
"""On a split's job: the tokenizer, where its pad_token is the default that nobody named."""


def require_fitting_default(
    tags: Mapping[str, str], layout: Layout, reporter: Reporter, *, update: bool = False
) -> None:
    """Refuse a run whose default pad token does not fit its tokenizer.

    Args:
        tags: of the job, or of a run of it.
        layout: the root.
        reporter: told what has to be fetched or waited for.
        update: take the newest commit of a tokenizer of the hub.

    Raises:
        TokenizerError: the tokenizer cannot be had.
        SettingsError: it does not fit; the message has the tokenizer's own.
    """
    source = tags.get(DEFAULT_PAD_TAG)
    if source is None:
        return
    pins = layout.tokenizer_pins
    find = partial(find_tokenizer, source, pins=pins, update=update, reporter=reporter)
    files = state.kept(layout, pins, find)
    if (why := why_not_default(source, load_tokenizer(files))) is not None:
        raise SettingsError(why)
