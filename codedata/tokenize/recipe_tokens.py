"""A recipe's tokens by their names, and the tokenizer in use -> their ids, or why it has none.

None is added to a vocabulary: a model has no row for it.
"""

from codedata.errors import SettingsError
from codedata.printable import shortened
from codedata.recipe.documents import (
    AUTO,
    FIM_TOKENS,
    DocumentRecipe,
    Fim,
    FimIds,
    ResolvedRecipe,
)
from codedata.tokenize.padding import proposals
from codedata.tokenize.tokenizer import LoadedTokenizer, declared_token

FIM_FAMILIES = {
    "DeepSeek": ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001
    "StarCoder, Granite": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "SantaCoder": ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    "Qwen, CodeGemma": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "CodeLlama": ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    "GLM": ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
}
"""Prefix, suffix and middle tokens of those whose three names are known.

Source: what `llama_vocab::impl::load` looks for in src/llama-vocab.cpp of
https://github.com/ggml-org/llama.cpp
"""

_BEFORE = ("", "x", "\n", " ", "  ")
"""What a token is tried behind: at its start a text may have other ones, and decoders strip it."""


def with_ids(recipe: DocumentRecipe, loaded: LoadedTokenizer) -> ResolvedRecipe:
    """The recipe with the ids that a tokenizer has for its tokens.

    Raises:
        SettingsError: it has none of one, or text has it, or two are one where they may not be;
            the message has those that it has.
    """
    eos = _id_of(recipe.eos, "recipe.documents.eos", loaded, kind="eos")
    bos = None
    if recipe.bos is not None:
        bos = _id_of(recipe.bos, "recipe.documents.bos", loaded, kind="bos")
    fim = None if recipe.fim is None else _fim_ids(recipe.fim, loaded)
    others = tuple(sorted(_own_control_ids(loaded)))
    resolved = ResolvedRecipe(recipe=recipe, bos=bos, eos=eos, fim=fim, others=others)
    if fim is not None and len(resolved.used_ids) != len({bos, eos} - {None}) + 3:
        names = [
            loaded.tokenizer.id_to_token(each) for each in (fim.prefix, fim.suffix, fim.middle)
        ]
        raise SettingsError(
            f"recipe.fim.tokens {names} of {loaded.files.source} are not three tokens beside eos "
            f"{recipe.eos!r} and bos {recipe.bos!r}; name a prefix, a suffix and a middle token of "
            "its own"
        )
    return resolved


def _own_control_ids(loaded: LoadedTokenizer) -> set[int]:
    """The BOS and EOS that a tokenizer declares, and the tokens of each family that it has."""
    declared = (declared_token(loaded.config, kind) for kind in ("bos", "eos"))
    names = [token for token in declared if token is not None]
    names += [name for family in _families_of(loaded).values() for name in family]
    ids = {loaded.tokenizer.token_to_id(name) for name in names}
    return {each for each in ids if each is not None and not _text_has(each, loaded)}


def _fim_ids(fim: Fim, loaded: LoadedTokenizer) -> FimIds:
    names = _family_of(loaded) if fim.tokens == AUTO else fim.tokens
    ids = [
        _id_of(name, f"recipe.fim.tokens, the {field},", loaded)
        for field, name in zip(FIM_TOKENS, names, strict=True)
    ]
    return FimIds(**dict(zip(FIM_TOKENS, ids, strict=True)))


def _families_of(loaded: LoadedTokenizer) -> dict[str, tuple[str, str, str]]:
    """The families all three of whose tokens a tokenizer's vocabulary has."""
    token_to_id = loaded.tokenizer.token_to_id
    return {
        family: names
        for family, names in FIM_FAMILIES.items()
        if all(token_to_id(name) is not None for name in names)
    }


def _family_of(loaded: LoadedTokenizer) -> tuple[str, str, str]:
    """The three names that a tokenizer's vocabulary has all of."""
    found = _families_of(loaded)
    if len(found) == 1:
        return next(iter(found.values()))
    remedy = "name them: tokens: {prefix: ..., suffix: ..., middle: ...}"
    if found:
        which = "; ".join(f"{family}: {', '.join(names)}" for family, names in found.items())
        raise SettingsError(
            f"recipe.fim.tokens is auto, and {loaded.files.source} has those of {len(found)} "
            f"families ({which}); {remedy}"
        )
    raise SettingsError(
        f"recipe.fim.tokens is auto, and {loaded.files.source} has the three tokens of no family "
        f"that is known ({'; '.join(FIM_FAMILIES)}); {remedy}, leave fim out, or take a tokenizer "
        "that has them; none is added to its vocabulary"
    )


def _id_of(token: str, what: str, loaded: LoadedTokenizer, *, kind: str | None = None) -> int:
    kinds = () if kind is None else (kind,)
    source, tokenizer = loaded.files.source, loaded.tokenizer
    token_id = tokenizer.token_to_id(token)
    if token_id is None:
        raise SettingsError(
            f"{what} {shortened(token)!r} is not in the vocabulary of {source}; name one of its "
            f"tokens: {proposals(loaded, near=token, kinds=kinds)}"
        )
    if _text_has(token_id, loaded):
        raise SettingsError(
            f"{what} {shortened(token)!r} (id {token_id}) is a token of text of {source}, so that "
            "most documents would have it; name one of its added tokens: "
            f"{proposals(loaded, near=token, kinds=kinds)}"
        )
    return token_id


def _text_has(token_id: int, loaded: LoadedTokenizer) -> bool:
    """Whether text that holds no added token may have an id."""
    tokenizer = loaded.tokenizer
    if token_id in tokenizer.get_added_tokens_decoder():
        return False
    text = tokenizer.decode([token_id], skip_special_tokens=False)
    return any(
        token_id in tokenizer.encode(before + text, add_special_tokens=False).ids
        for before in _BEFORE
    )
