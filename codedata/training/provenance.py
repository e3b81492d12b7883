"""A callback for transformers' Trainer: what a run trains on, in each checkpoint, and compared.

It stands in the checkpoint's trainer_state.json, under stateful_callbacks.DatasetProvenance. The
Trainer goes on from a checkpoint by the number of its steps: on another dataset, in another order
or with other samples a step it would skip samples that were never seen and train on others twice,
and nobody would notice: so that is refused. So is a tokenizer that is not the dataset's.
"""

# PyTorch and transformers are partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import logging
from typing import Any

from torch.utils.data import RandomSampler

from codedata.errors import DatasetError
from codedata.store.dataset_folder import Dataset
from codedata.training.collate import require_labels_kept
from codedata.training.identity import digest_of, masks_padding, parts_of, without_digest
from codedata.training.mixture import Mixture
from codedata.training.packed import require_documents_apart
from codedata.training.samples import StoredSamples

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState

    from codedata.training.probe import require_same_tokenizer
except ImportError as error:
    raise ImportError(
        "DatasetProvenance is for transformers' Trainer; pip install transformers accelerate"
    ) from error

logger = logging.getLogger(__name__)

_SET_BY = {
    "samples_a_step": "per_device_train_batch_size * gradient_accumulation_steps * ranks",
    "steps_an_epoch": "dataloader_drop_last, gradient_accumulation_steps, ranks",
    "sampler": "train_sampling_strategy",
    "seed": "data_seed, else seed",
}
"""What decides the samples of a step, and where the caller sets it."""


class DatasetProvenance(TrainerCallback, ExportableState):
    """Records what the Trainer trains on, and refuses to resume a checkpoint of something else.

    It finds the dataset in the Trainer itself: `Trainer(..., callbacks=[DatasetProvenance()])`.
    Before a step it also refuses a tokenizer (`processing_class`) whose ids are not the dataset's,
    a collator that would undo `with_padding_masked()`, and what would let the documents of a sample
    see each other though its batches keep them apart: an attention mask, or a cache.

    Attributes:
        digest: of the train_dataset, once training has begun.
        sources: of a mixture, each one's name, digest, weight, start, draws and epochs, for people.
        folders: where it was read from, for people; it is the digest that is compared.
        order: what decides the samples of each step.
        masks_padding: whether labels of padding are -100; None where it is not known.
        restarted: whether an epoch was begun anew in its middle (`ignore_data_skip`), so that the
            number of steps no longer says where training is.
    """

    def __init__(self) -> None:
        self.digest: str | None = None
        self.sources: list[dict[str, Any]] = []
        self.folders: list[str] = []
        self.order: dict[str, Any] = {}
        self.masks_padding: bool | None = None
        self.restarted = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint records."""
        names = ["digest", "folders", "order", "restarted", *(["sources"] if self.sources else [])]
        names += [] if self.masks_padding is None else ["masks_padding"]
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  (as the Trainer calls it)
        **kwargs: Any,
    ) -> None:
        """Compare dataset and order with those of the checkpoint, if training goes on from one.

        Raises:
            DatasetError: they are others; the dataset has no digest; or tokenizer or collator do
                not fit it.
        """
        loader = kwargs["train_dataloader"]
        dataset = loader.dataset
        require_labels_kept(dataset, loader.collate_fn)
        require_documents_apart(
            dataset, loader.collate_fn, getattr(kwargs.get("model"), "config", None)
        )
        digest = digest_of(dataset)
        if digest is None:
            raise DatasetError(
                f"the train_dataset is a {without_digest(dataset)}, which has no digest to record; "
                "give a PickledTrainerDataset, or torch's Subset or ConcatDataset of such, or give "
                "the dataset an attribute `digest`, or leave DatasetProvenance out"
            )
        opened = _opened(dataset)
        for each in opened:
            probe = each.facts.tokenizer.probe if each.facts else None
            require_same_tokenizer(probe, kwargs.get("processing_class"), each.folder)
        # What a checkpoint's trainer_state.json had, where training goes on from one.
        found: Any = state.stateful_callbacks
        states = found.get(type(self).__name__, {})
        if isinstance(states, list):  # of a Trainer that had two of these callbacks
            states = states[-1]
        recorded: dict[str, Any] = states.get("attributes", {}) if state.global_step else {}
        folders, order = [each.where for each in opened], _order(args, loader)
        mixtures = [part for part in parts_of(dataset) if isinstance(part, Mixture)]
        if mixtures:
            _require_once(args, state, loader, order)
        self.restarted = bool(recorded.get("restarted"))
        if state.global_step:
            _require_same_dataset(recorded, digest, folders)
            _require_same_labels(recorded, masks_padding(dataset))
            if args.ignore_data_skip:
                before = recorded.get("order") or order
                if any(state.global_step % each["steps_an_epoch"] for each in (before, order)):
                    self.restarted = True
                    logger.warning(
                        "ignore_data_skip: the epoch begins anew, with samples that the checkpoint "
                        "was trained on already"
                    )
            else:
                _require_same_order(recorded, order)
        self.digest, self.folders, self.order = digest, folders, order
        self.masks_padding = masks_padding(dataset)
        self.sources = [source for each in mixtures for source in each.provenance]
        found[type(self).__name__] = self.state()


def _opened(dataset: Any) -> list[Dataset]:
    """The opened folders that a dataset reads, each part's in turn."""
    parts = [part for part in parts_of(dataset) if isinstance(part, StoredSamples)]
    return [each for part in parts for each in part.datasets]


def _sampler(loader: Any) -> Any:
    """What draws the samples of the loader that will be iterated."""
    return loader.get_sampler() if hasattr(loader, "get_sampler") else loader.sampler


def _order(args: TrainingArguments, loader: Any) -> dict[str, Any]:
    """What decides the samples of each step, as the loader that will be iterated has it."""
    per_batch = getattr(loader, "total_batch_size", None)  # accelerate's, over all ranks
    whole, rest = divmod(len(loader), args.gradient_accumulation_steps)
    sampler = _sampler(loader)
    return {
        "samples_a_step": per_batch and per_batch * args.gradient_accumulation_steps,
        "steps_an_epoch": max(1, whole + bool(rest)),
        "sampler": type(sampler).__name__,
        "seed": getattr(sampler, "initial_seed", None),
    }


def _require_once(
    args: TrainingArguments, state: TrainerState, loader: Any, order: dict[str, Any]
) -> None:
    """Refuse to give out samples of a mixture oftener than it says, which is once.

    Raises:
        DatasetError: there are more steps than it has samples for, or what draws them repeats some.
    """
    steps, sampler = order["steps_an_epoch"], _sampler(loader)
    number = f"the mixture has {len(loader.dataset):,} samples, {steps:,} steps"
    if state.max_steps > steps:
        raise DatasetError(
            f"{number}, but training has {state.max_steps:,}, which would give samples again that "
            f"its max_epochs do not allow; set num_train_epochs=1, or max_steps={steps} at most, "
            "or mix more samples (num_samples, max_epochs)"
        )
    if args.ignore_data_skip and state.global_step:
        raise DatasetError(
            f"{number}; ignore_data_skip would begin it anew, with samples that the checkpoint was "
            "trained on already; leave it out, or give a mixture whose sources start at "
            "mixture.drawn(samples that are done)"
        )
    if getattr(sampler, "replacement", False):
        raise DatasetError(
            f"{number}; the Trainer's {type(sampler).__name__} draws with replacement, so that "
            "samples come again; leave it out"
        )
    if args.world_size > 1 and not args.dataloader_drop_last:
        raise DatasetError(
            f"{number}, the last of which {args.world_size} ranks fill up with samples from its "
            "beginning; set dataloader_drop_last=True"
        )
    if isinstance(sampler, RandomSampler):
        raise DatasetError(
            f"{number}, and stands in the order of training, which the Trainer would shuffle: its "
            "weights would hold for the whole and for no part of it; set "
            'TrainingArguments(train_sampling_strategy="sequential")'
        )


def _require_same_dataset(recorded: dict[str, Any], digest: str, folders: list[str]) -> None:
    if recorded.get("digest") is None:
        logger.warning("the checkpoint does not say what it was trained on; from now on it will")
    elif recorded["digest"] != digest:
        raise DatasetError(
            f"the checkpoint was trained on {_shown(recorded['folders'])} (digest "
            f"{recorded['digest']}), but train_dataset is {_shown(folders)} (digest {digest}); "
            "give the dataset that it was trained on, or start anew without "
            "resume_from_checkpoint"
        )


def _require_same_labels(recorded: dict[str, Any], masked: bool | None) -> None:
    before = recorded.get("masks_padding")
    if None not in (before, masked) and before != masked:
        raise DatasetError(
            f"the checkpoint was trained with masks_padding {before}, now it is {masked}: the loss "
            "would be of other tokens from here on; give "
            f"{'train_dataset.with_padding_masked()' if before else 'it without masking'}, or "
            "start anew without resume_from_checkpoint"
        )


def _require_same_order(recorded: dict[str, Any], order: dict[str, Any]) -> None:
    if recorded.get("restarted"):
        raise DatasetError(
            "the run of the checkpoint began an epoch anew in its middle (ignore_data_skip), so "
            "its steps do not say which samples are done; go on with ignore_data_skip=True, or "
            "start anew without resume_from_checkpoint"
        )
    before: dict[str, Any] = recorded.get("order") or {}
    if not before:
        logger.warning(
            "the checkpoint does not say how many samples a step had and in which order; with "
            "another batch size, number of ranks or seed than it had, samples come twice or never"
        )
    for name, set_by in _SET_BY.items():
        if name in before and before[name] != order[name]:
            raise DatasetError(
                f"the checkpoint was trained with {name} {before[name]!r}, now it is "
                f"{order[name]!r} ({set_by}): the Trainer finds its place by the number of steps, "
                "so that samples would come twice or never; set what it had, or "
                "ignore_data_skip=True to begin the epoch anew, or start anew without "
                "resume_from_checkpoint"
            )


def _shown(folders: list[str]) -> str:
    return ", ".join(folders)
