"""A recipe's tokens by their names, and the tokenizer in use -> their ids, or why it has none."""

from codedata.errors import SettingsError
from codedata.recipe.documents import AUTO, DocumentRecipe, FimIds, ResolvedRecipe
from codedata.tokenize.tokenizer import LoadedTokenizer


def with_ids(recipe: DocumentRecipe, loaded: LoadedTokenizer) -> ResolvedRecipe:
    """The recipe with the ids that a tokenizer has for its tokens.

    Raises:
        SettingsError: it has none of one; the message has those that it has.
    """

    def id_of(token: str, what: str) -> int:
        token_id = loaded.tokenizer.token_to_id(token)
        if token_id is None:
            raise SettingsError(
                f"{what} of the recipe is {token!r}, which is not in the vocabulary of "
                f"{loaded.files.source}"
            )
        return token_id

    fim = recipe.fim
    names = None if fim is None else fim.tokens
    if names == AUTO:
        raise NotImplementedError
    ids = [id_of(name, "a token of fim") for name in names or ()]
    return ResolvedRecipe(
        recipe=recipe,
        bos=None if recipe.bos is None else id_of(recipe.bos, "bos"),
        eos=id_of(recipe.eos, "eos"),
        fim=FimIds(prefix=ids[0], suffix=ids[1], middle=ids[2]) if ids else None,
    )
