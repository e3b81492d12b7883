"""`codedata completion`: a script by which a shell completes commands, switches and files."""

import argparse
from collections.abc import Iterator

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import DATASET

_SHELLS = ["bash", "zsh", "tcsh"]

_DATASETS = """
_codedata_datasets() {
  compgen -d -- "$1"
  (cd "${CODEDATA_ROOT:-data}/datasets" 2>/dev/null && compgen -d -- "$1")
}
_codedata_splits() {
  local splits
  splits=$("${COMP_WORDS[0]}" list --json 2>/dev/null |
    sed -n 's/^      "name": "\\(.*\\)",$/\\1/p')
  compgen -W "$splits" -- "$1"
}
"""
"""Folders here and the splits that are made; or all splits of the project, which take a second."""

_HOW = """\
now, and in every new shell:
  bash   codedata completion bash > ~/.local/share/bash-completion/completions/codedata
  zsh    codedata completion zsh > ~/.zfunc/_codedata    (with ~/.zfunc in fpath)
  tcsh   codedata completion tcsh > ~/.codedata.csh      (and source it in ~/.tcshrc)
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print a script for your shell's completion",
        description="Print a script by which your shell completes commands, switches and files.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS, help="whose")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # only where it is used

    from codedata.cli import build_parser
    from codedata.cli.materialize import SPLIT
    from codedata.cli.tokenizer import TOKENIZER

    datasets = {**shtab.DIRECTORY, "bash": "_codedata_datasets", "preamble": {"bash": _DATASETS}}
    splits = {"bash": "_codedata_splits"}
    parser = build_parser(for_shell=True)
    for action in _actions(parser):
        if action.type is path or action.metavar == TOKENIZER:
            action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
        elif action.metavar == DATASET:
            action.complete = datasets  # pyright: ignore[reportAttributeAccessIssue]
        elif action.metavar == SPLIT:
            action.complete = splits  # pyright: ignore[reportAttributeAccessIssue]
    print(shtab.complete(parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The actions of all commands, of which argparse has no public list."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from _actions(each)
        else:
            yield action
