"""What the two command lines share: how a switch's text becomes its value."""

import argparse
from pathlib import Path

from codedata.errors import SettingsError
from codedata.places import local_path
from codedata.printable import shortened


def whole_number(text: str) -> int:
    """The type of a switch that takes a whole number.

    Raises:
        ArgumentTypeError: it is none; argparse puts the switch's name before the message.
    """
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)!r} is not a whole number; write its digits alone, as in 1536"
        ) from error


def path(text: str) -> Path:
    """The type of a switch that takes a file or folder of this machine.

    Raises:
        ArgumentTypeError: it is a URL, or below a home folder that there is not.
    """
    try:
        return local_path(text, "the path")
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
