"""A callback for transformers' Trainer: the dataset's digest in each checkpoint, and compared.

It stands in the checkpoint's trainer_state.json, under stateful_callbacks.DatasetProvenance. A run
that goes on from a checkpoint with another dataset would skip as many batches as were trained on,
of other samples, and nobody would notice: so it is refused.
"""

import logging
from typing import Any

from codedata.errors import DatasetError

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise ImportError(
        "DatasetProvenance is for transformers' Trainer; pip install transformers accelerate"
    ) from error

logger = logging.getLogger(__name__)


class DatasetProvenance(TrainerCallback, ExportableState):
    """Records what the Trainer trains on, and refuses to resume a checkpoint of something else.

    It finds the dataset in the Trainer itself: `Trainer(..., callbacks=[DatasetProvenance()])`.

    Attributes:
        digest: of the train_dataset, once training has begun.
        folders: where it was read from, for people; it is the digest that is compared.
    """

    def __init__(self) -> None:
        self.digest: str | None = None
        self.folders: list[str] = []

    def state(self) -> dict[str, Any]:
        """What a checkpoint records."""
        return {"args": {}, "attributes": {"digest": self.digest, "folders": self.folders}}

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002  (as the Trainer calls it)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Compare the dataset with that of the checkpoint, if training goes on from one.

        Raises:
            DatasetError: it is another one, or has no digest.
        """
        dataset = kwargs["train_dataloader"].dataset
        digest: str | None = getattr(dataset, "digest", None)
        if digest is None:
            raise DatasetError(
                f"the train_dataset is a {type(dataset).__name__}, which has no digest to record; "
                "give a PickledTrainerDataset, whose slices are such too"
            )
        # What a checkpoint's trainer_state.json had, where training goes on from one.
        found: Any = state.stateful_callbacks
        recorded: dict[str, Any] = found.get(type(self).__name__, {}).get("attributes", {})
        folders = [str(each.folder) for each in dataset.datasets]
        if state.global_step and recorded.get("digest") is None:
            logger.warning(
                "the checkpoint does not say what it was trained on; from now on it will"
            )
        elif state.global_step and recorded["digest"] != digest:
            raise DatasetError(
                f"the checkpoint was trained on {_shown(recorded['folders'])} (digest "
                f"{recorded['digest']}), but train_dataset is {_shown(folders)} (digest {digest}); "
                "give the dataset that it was trained on, or start anew without "
                "resume_from_checkpoint"
            )
        self.digest, self.folders = digest, folders
        found[type(self).__name__] = self.state()


def _shown(folders: list[str]) -> str:
    return ", ".join(folders)
