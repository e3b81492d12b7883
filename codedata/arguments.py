"""What the two command lines share: how a switch's text becomes its value."""

import argparse

from codedata.io.files import shortened


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
