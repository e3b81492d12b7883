"""What a run says, kept for a test."""

from codedata.progress import Reporter


class Said(list[str]):
    """Lines for the log and for the terminal alike."""

    @property
    def reporter(self) -> Reporter:
        """What a run is given."""
        return Reporter(self.append, in_terminal=False)
