"""Which engines there are, in the order in which they are asked; a tokenizer -> its engine.

One from outside the package is a class of its own module, derived from `PieceEngine`. A package
names it as an entry point of the group `codedata.engines`, and it is there wherever that package is
installed; code that runs in this process may `register` it. Such engines are asked before those of
codedata, the library itself comes last: it is exact for every tokenizer.
"""

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from codedata.errors import SettingsError
from codedata.tokenize.engines.base import Engine, NotProvenError, PieceEngine
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.structure import Pretokenizer, find_pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer

logger = logging.getLogger(__name__)

GROUP = "codedata.engines"
AUTO = "auto"

_HERE = "codedata.tokenize.engines"
_OWN = (
    EntryPoint("gigatoken", f"{_HERE}.gigatoken:GigatokenEngine", GROUP),
    EntryPoint("pretokens", f"{_HERE}.pretokens:PretokensEngine", GROUP),
    EntryPoint("words", f"{_HERE}.words:WordsEngine", GROUP),
    EntryPoint("blocks", f"{_HERE}.blocks:BlocksEngine", GROUP),
)
"""Fastest first; named and not imported, since compiled code is costly where it is not used."""

_LIBRARY_ALONE = ("blocks", WholeTextEngine.name)

_registered: dict[str, type[PieceEngine]] = {}


def register(engine: type[PieceEngine]) -> type[PieceEngine]:
    """Add an engine to those of this process; also as a decorator of its class."""
    _registered[engine.name] = engine
    return engine


def engine_choices() -> list[str]:
    """What may be chosen: `auto`, and the names of all engines as they are asked."""
    return [AUTO, *_engines(), WholeTextEngine.name]


def known_choice(choice: str) -> str:
    """Return what may be chosen, or refuse it.

    Raises:
        SettingsError: no engine has that name; the message has those that there are.
    """
    if choice not in engine_choices():
        raise SettingsError(
            f"engine {choice!r} is not known; choose one of {', '.join(engine_choices())}"
        )
    return choice


def choose_engine(loaded: LoadedTokenizer, choice: str = AUTO) -> Engine:
    """The first engine that is proven exact for a tokenizer.

    Args:
        loaded: the tokenizer.
        choice: `auto`, or the name of the one to take.

    Raises:
        SettingsError: the choice is not known, or not proven exact for this tokenizer.
    """
    engine, _ = explain_choice(loaded, choice)
    return engine


def explain_choice(
    loaded: LoadedTokenizer, choice: str = AUTO
) -> tuple[Engine, list[tuple[str, str]]]:
    """The engine that `choose_engine` gives, and those before it, each with what is against it.

    Where no cut is proven none is asked, and the same is against all.
    """
    found = find_pretokenizer(loaded.structure)
    engine, against = _first_exact(loaded, found, known_choice(choice))
    if choice not in (AUTO, engine.name):
        best, _ = _first_exact(loaded, found, AUTO)
        raise SettingsError(
            f"engine {choice!r} is not proven exact for {loaded.files.tokenizer_json}: "
            f"{engine.reason}; choose {AUTO!r} or {best.name!r}"
        )
    source = loaded.files.source
    is_slow = choice == AUTO and engine.name in _LIBRARY_ALONE
    helps = f"; `codedata tokenizer {source}` says what would be faster" if is_slow else ""
    logger.info("engine of %s: %s (%s)%s", source, engine.name, engine.reason, helps)
    return engine, against


def _first_exact(
    loaded: LoadedTokenizer, found: Pretokenizer | str, choice: str
) -> tuple[Engine, list[tuple[str, str]]]:
    """The first engine of the choice that is exact; its reason says what is against the others."""
    against: list[tuple[str, str]] = []
    for name, load in _engines().items():
        if choice not in (AUTO, name):
            continue
        if isinstance(found, str):
            against.append((name, found))
            continue
        try:
            kind = load()
            if (why := kind.why_not(loaded.structure, found)) is None:
                engine = kind(loaded, found)
                engine.reason = _joined(against) or found.what
                return engine, against
        except NotProvenError as error:
            why = str(error)
        except ModuleNotFoundError as error:
            why = f"{error.name} is not installed"
        except ImportError as error:
            why = f"it cannot be loaded: {error}"
        against.append((name, why))
    engine = WholeTextEngine(loaded)
    engine.reason = found if isinstance(found, str) else _joined(against) or "it was asked for"
    return engine, against


def _joined(against: list[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in against)


def _engines() -> dict[str, Callable[[], type[PieceEngine]]]:
    """What imports each engine but the library itself, as they are asked."""
    outside = {name: lambda kind=kind: kind for name, kind in _registered.items()}
    outside |= _installed()
    own = {each.name: each.load for each in _OWN}
    if taken := outside.keys() & {AUTO, WholeTextEngine.name, *own}:
        raise SettingsError(
            f"an engine from outside codedata is named {min(taken)!r}, as one of its own; rename it"
        )
    return outside | own


@cache
def _installed() -> dict[str, Callable[[], type[PieceEngine]]]:
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return {each.name: each.load for each in found}
