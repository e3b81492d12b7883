"""`pad_token` as it was written, and the tokenizer in use -> its id, or why it is none to pad with.

A token that text may have is a bad one to pad with: what fills up a sample would be read as text.
So a default that nobody chose holds only where it is one of the tokenizer's special or added
tokens. Whoever names a token may name any.
"""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from codedata.errors import SettingsError
from codedata.printable import shortened
from codedata.recipe.settings import DEFAULT_PAD_TOKEN, Settings
from codedata.tokenize.tokenizer import LoadedTokenizer, declared_token

_SHOWN_NEAR = 3


def with_pad_id(settings: Settings, loaded: LoadedTokenizer) -> Settings:
    """The same switches, `pad_token` the id that the tokenizer has for it.

    Raises:
        SettingsError: it has none; the message has those that it has.
    """
    pad, tokenizer = settings.pad_token, loaded.tokenizer
    named = pad if isinstance(pad, str) else tokenizer.id_to_token(pad)
    pad_id = None if named is None else tokenizer.token_to_id(named)
    if named is None or pad_id is None:
        shown = shortened(pad) if isinstance(pad, str) else pad
        raise SettingsError(
            f"pad_token {shown!r} is not in the vocabulary of {settings.tokenizer_base} "
            f"({len(tokenizer.get_vocab())} tokens); name the id of one of its tokens, or the "
            f"token: {proposals(loaded, near=pad if isinstance(pad, str) else None)}"
        )
    return settings if isinstance(pad, int) else replace(settings, pad_token=pad_id)


def why_not_default(tokenizer_base: str, loaded: LoadedTokenizer) -> str | None:
    """Why the default pad token does not fit a tokenizer, and which of its own would; or None."""
    tokenizer = loaded.tokenizer
    if DEFAULT_PAD_TOKEN in tokenizer.get_added_tokens_decoder():
        return None
    token = tokenizer.id_to_token(DEFAULT_PAD_TOKEN)
    what = "is not in the vocabulary" if token is None else f"is {token!r}, a token of text,"
    return (
        f"pad_token is not named, and its default {DEFAULT_PAD_TOKEN} {what} of {tokenizer_base}; "
        f"name the id of one of its tokens, or the token: {proposals(loaded)}"
    )


def proposals(
    loaded: LoadedTokenizer, *, near: str | None = None, kinds: Sequence[str] = ("pad", "eos")
) -> str:
    """The tokenizer's own tokens of some kinds and what is spelt alike, names and ids."""
    added = {t.content: i for i, t in sorted(loaded.tokenizer.get_added_tokens_decoder().items())}
    found: dict[str, str] = {}
    for kind in kinds:
        token = declared_token(loaded.config, kind)
        if token is not None and loaded.tokenizer.token_to_id(token) is not None:
            found.setdefault(token, f"its {kind.upper()} token ")
    alike = get_close_matches(near, added, _SHOWN_NEAR) if near else []
    for token in alike or ([] if found else list(added)[-_SHOWN_NEAR:]):
        found.setdefault(token, "")
    if not found:
        return "it has no special token; take one that occurs in no text"
    return ", ".join(
        f"{kind}{token!r} (id {loaded.tokenizer.token_to_id(token)})"
        for token, kind in found.items()
    )
