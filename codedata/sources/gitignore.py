"""Lines of .gitignore -> whether git would leave a file or folder out, entry by entry of a walk.

As git judges: of a file's lines the last one that matches counts, then those of the files above it;
what lies in a folder that is left out is not asked for. Names are bytes, and capitals count. After
git's documentation and its wildmatch.c: https://git-scm.com/docs/gitignore

The library `pathspec` judges whole paths, and otherwise than git: `!build/keep/a.c` brings a file
back out of `build/**` there, `*/` with `!a/` loses those in `a`, and [[:digit:]] is no digit.

A pattern becomes an expression that walks over a path once: of the stars in one part of a path, and
of several `**/`, all but the last stay at their first match, so that a hostile pattern takes no
longer than others.
"""

import os
import re
import stat
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codedata.store.files import open_no_link

_NAME = ".gitignore"
_BOM = b"\xef\xbb\xbf"

_TOKEN = re.compile(rb"(?P<stars>\*+)|(?P<any>\?)|(?P<set>\[[!^]?)|\\?+(?P<char>.)", re.DOTALL)
_SPECIAL = re.compile(rb"[*?\[\\]")
_MEMBER = re.compile(
    rb"\[:(?P<kind>[^]]*):]|(?P<first>\\.|[^\\])(?:-(?P<last>\\.|[^]\\]))?", re.DOTALL
)

_GRAPH = string.digits + string.ascii_letters + string.punctuation
_KINDS = {
    kind.encode(): frozenset(chars.encode())
    for kind, chars in {
        "alnum": string.digits + string.ascii_letters, "alpha": string.ascii_letters,
        "blank": " \t", "cntrl": "".join(map(chr, [*range(32), 127])), "digit": string.digits,
        "graph": _GRAPH, "lower": string.ascii_lowercase, "print": f"{_GRAPH} ",
        "punct": string.punctuation, "space": " \t\n\r", "upper": string.ascii_uppercase,
        "xdigit": string.hexdigits,
    }.items()
}  # fmt: skip

_STAR, _SLASH, _FOLDERS = b"[^/]*", b"/", b"(?:[^/]*/)*"
"""What stands for `*`, for `/` and for `**/`."""


class _MatchesNothingError(Exception):
    """A pattern is damaged; git takes it for one that matches nothing."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The patterns of one file.

    Attributes:
        of_files: an expression with a group a pattern, the last pattern first.
        of_folders: the same, with those too that end with a slash.
        kept: of each group, whether the pattern takes back what others leave out.
    """

    of_files: re.Pattern[bytes]
    of_folders: re.Pattern[bytes]
    kept: Sequence[bool]

    def is_ignored(self, path: bytes, *, is_folder: bool) -> bool | None:
        """What the last pattern that matches says; None where none does.

        Args:
            path: below the folder that the patterns are of, without a slash at its ends.
            is_folder: whether a folder lies there; a link to one is none.
        """
        found = (self.of_folders if is_folder else self.of_files).fullmatch(path)
        return None if found is None else not self.kept[(found.lastindex or 0) - 1]


def read_rules(data: bytes) -> Rules:
    """The patterns of a file's bytes."""
    of_files, of_folders, kept = list[bytes](), list[bytes](), list[bool]()
    for line in reversed(data.removeprefix(_BOM).split(b"\n")):
        if line.startswith(b"#"):
            continue
        pattern = _without_spaces(line.removesuffix(b"\r"))
        is_kept = pattern.startswith(b"!")
        pattern = pattern[is_kept:]
        try:
            expression = b"(%s)" % _expression(pattern.removesuffix(b"/"))
        except _MatchesNothingError:
            continue
        of_folders.append(expression)
        of_files.append(b"((?!))" if pattern.endswith(b"/") else expression)
        kept.append(is_kept)
    files, folders = (re.compile(b"|".join(each), re.DOTALL) for each in (of_files, of_folders))
    return Rules(of_files=files, of_folders=folders, kept=kept)


def _without_spaces(line: bytes) -> bytes:
    """A line up to the spaces at its end, but for one after a backslash."""
    bare = line.rstrip(b" ")
    num_backslashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + num_backslashes % 2]


def _expression(pattern: bytes) -> bytes:
    """A pattern, without `!` and the slash at its end, as an expression for whole paths."""
    if b"/" not in pattern:  # a name, in whatever folder
        return b"(?:.*/)?+" + _joined(_tokens(pattern, 0))
    anchored = pattern.removeprefix(b"/")
    special = _SPECIAL.search(anchored)
    return _joined(_tokens(anchored, special.start() if special else 0))


def _tokens(pattern: bytes, begins: int) -> Iterator[bytes]:
    """The expressions of a pattern's parts.

    Args:
        pattern: as above.
        begins: where `**` counts as if the pattern began there: git compares what stands before the
            first special character by itself.

    Raises:
        _MatchesNothingError: the pattern is damaged.
    """
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise _MatchesNothingError
        start, at = token.span()
        if token["stars"]:
            is_whole = at - start > 1 and (start == begins or pattern[start - 1 : start] == _SLASH)
            rest = pattern[at:]
            if is_whole and rest.startswith(b"/"):
                at += 1
                yield _FOLDERS
            elif is_whole and rest.startswith(b"\\/"):
                at += 2
                yield from (_STAR, _SLASH, _FOLDERS)
            elif is_whole and not rest:
                yield from (_FOLDERS, _STAR)
            else:
                yield _STAR
        elif token["any"]:
            yield b"[^/]"
        elif token["set"]:
            chars, at = _set(pattern, at)
            chars = (set(range(256)) - chars if len(token["set"]) > 1 else chars) - {ord("/")}
            yield b"[%s]" % b"".join(b"\\x%02x" % each for each in chars) if chars else b"(?!)"
        else:
            yield _SLASH if token["char"] == _SLASH else re.escape(token["char"])


def _set(pattern: bytes, at: int) -> tuple[set[int], int]:
    """The bytes between brackets, and where the pattern goes on.

    Raises:
        _MatchesNothingError: there is no closing bracket, or no such kind of characters.
    """
    chars, first = set[int](), at
    while at == first or pattern[at : at + 1] != b"]":
        member = _MEMBER.match(pattern, at)
        if member is None or member["kind"] not in (None, *_KINDS):
            raise _MatchesNothingError
        if member["kind"] is not None:
            chars |= _KINDS[member["kind"]]
        else:
            first_char, last_char = member["first"][-1], (member["last"] or member["first"])[-1]
            chars |= {first_char, *range(first_char, last_char + 1)}
        at = member.end()
    return chars, at + 1


def _joined(tokens: Iterator[bytes]) -> bytes:
    pieces = [
        b"/".join(
            _held(_STAR, [b"".join(run) for run in _split(segment, _STAR)])
            for segment in _split(piece, _SLASH)
        )
        for piece in _split(tokens, _FOLDERS)
    ]
    return _held(_FOLDERS, pieces)


def _split(tokens: Iterator[bytes] | list[bytes], border: bytes) -> list[list[bytes]]:
    parts = [list[bytes]()]
    for token in tokens:
        if token == border:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _held(gap: bytes, parts: Sequence[bytes]) -> bytes:
    """Parts with gaps between them, each gap but the last the shortest that will do."""
    first, *others = parts
    if not others:
        return first
    *inner, last = others
    return b"".join([first, *(b"(?>%s?%s)" % (gap, part) for part in inner), gap, last])


@dataclass(frozen=True)
class Ignored:
    """What is left out of a folder that a walk is in.

    Attributes:
        within: the folder's path below the outermost that rules are of, with a slash at its end.
        rules: from that one on inwards, each with the length of its folder's path.
    """

    within: bytes = b""
    rules: Sequence[tuple[int, Rules]] = field(default=())

    def has(self, name: str, *, is_folder: bool) -> bool:
        """Whether git leaves out what has that name in the folder."""
        path = self.within + os.fsencode(name)
        for start, rules in reversed(self.rules):
            verdict = rules.is_ignored(path[start:], is_folder=is_folder)
            if verdict is not None:
                return verdict
        return False

    def entered(self, name: str, folder: Path) -> "Ignored":
        """What is left out of a folder in it, with the rules that lie there.

        Raises:
            OSError: they cannot be read.
        """
        within = self.within + os.fsencode(name) + b"/" if name else self.within
        return Ignored(within, (*self.rules, *_rules_at(folder / _NAME, len(within))))


def ignored_in(folder: Path) -> Ignored:
    """What is left out of a folder: by its rules, and those of the repository that it lies in.

    Of that, `.git/info/exclude` too; not what a user's own configuration of git names.

    Raises:
        OSError: rules cannot be read.
    """
    folder = folder.resolve()
    top = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)
    exclude = _git_folder(top / ".git") / "info" / "exclude"
    ignored = Ignored(rules=_rules_at(exclude.resolve(), 0)).entered("", top)
    for name in folder.relative_to(top).parts:
        top /= name
        ignored = ignored.entered(name, top)
    return ignored


def _rules_at(path: Path, start: int) -> tuple[tuple[int, Rules], ...]:
    """The rules of a plain file; none of a link, which git does not follow there."""
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    if not is_file:
        return ()
    with open(path, "rb", opener=open_no_link) as opened:
        return ((start, read_rules(opened.read())),)


def _git_folder(git: Path) -> Path:
    """Where a repository's own files are, of a worktree those of the repository that it is of."""
    if not git.is_file():
        return git
    place = git.read_text(encoding="utf-8", errors="surrogateescape")
    own = git.parent / place.removeprefix("gitdir:").strip()
    common = own / "commondir"
    return own / common.read_text(encoding="utf-8").strip() if common.is_file() else own
