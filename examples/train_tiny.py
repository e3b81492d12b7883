"""A plain PyTorch loop: train a small model, on one process or several, stop it, go on.

    codedata materialize demo_train demo_validation
    python examples/train_tiny.py                        # 30 steps on the demo
    torchrun --standalone --nproc-per-node 2 examples/train_tiny.py --max_steps 60  # 30 more
    python examples/train_tiny.py --real                 # on train and validation

Kill it and start it again, on as many ranks as you like: it goes on from its last checkpoint with
the very batches that would have come. The model is a transformer of one layer, to be replaced.
"""

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from codedata import CodedataError, PickledTrainerDataset, ResumableLoader, load_dataset
from codedata.pickle_dataset import IGNORED_LABEL


class TinyModel(nn.Module):
    """Token and position embeddings, one layer of attention, the logits of the next token."""

    def __init__(self, vocab_size: int, seq_length: int, width: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(torch.zeros(seq_length, width))
        self.layer = nn.TransformerEncoderLayer(
            width, nhead=2, dim_feedforward=2 * width, dropout=0.0, batch_first=True
        )
        self.head = nn.Linear(width, vocab_size)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        length = input_ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=input_ids.device)
        hidden = self.tokens(input_ids) + self.positions[:length]
        return self.head(self.layer(hidden, src_mask=mask, is_causal=True))


def loss_sum(model: nn.Module, batch: dict[str, torch.Tensor], device: torch.device):
    """The loss of all tokens that have one before them, added up; labels of -100 do not count."""
    logits = model(batch["input_ids"].to(device))[:, :-1]
    labels = batch["labels"].to(device)[:, 1:]
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


def count_targets(batch: dict[str, torch.Tensor]) -> int:
    """How many tokens `loss_sum` adds up."""
    return int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())


def sum_over_ranks(*values: float | torch.Tensor, device: torch.device) -> list[float]:
    total = torch.tensor([float(value) for value in values], dtype=torch.float64, device=device)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.tolist()


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[dict[str, torch.Tensor]],
    device: torch.device,
) -> float:
    """A step over the micro-batches of all ranks; the mean loss of their tokens."""
    num_ranks = dist.get_world_size() if dist.is_initialized() else 1
    [num_targets] = sum_over_ranks(sum(map(count_targets, batches)), device=device)
    total = 0.0
    for batch in batches:
        loss = loss_sum(model, batch, device)
        # DDP divides gradients by the number of ranks; wanted is the mean over all their tokens.
        (loss * (num_ranks / num_targets)).backward()
        total += loss.item()
    optimizer.step()
    optimizer.zero_grad()
    [total] = sum_over_ranks(total, device=device)
    return total / num_targets


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: PickledTrainerDataset, batch_size: int, device: torch.device
) -> float:
    """The mean loss of all tokens, each sample taken once, whatever the number of ranks."""
    loader = ResumableLoader(dataset, global_batch_size=batch_size, shuffle=False, drop_last=False)
    model.eval()
    loss = num_targets = 0.0
    for batch in loader:
        loss += loss_sum(model, batch, device).item()
        num_targets += count_targets(batch)
    model.train()
    loss, num_targets = sum_over_ranks(loss, num_targets, device=device)
    return loss / num_targets


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", action="store_true", help="train and validation, not the demo's")
    parser.add_argument(
        "--output", type=Path, help="for checkpoints: runs/tiny, with --real runs/tiny-real"
    )
    parser.add_argument("--max_steps", type=int, default=30, help="where to end, by all runs")
    parser.add_argument("--save_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--global_batch_size", type=int, default=4, help="samples of all ranks")
    parser.add_argument("--micro_batch_size", type=int, default=1, help="samples at once, a rank")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that load")
    parser.add_argument("--eval_samples", type=int, default=32)
    parser.add_argument(
        "--count_padding",
        action="store_true",
        help="the loss counts padding, as with the reference",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the model and of the order")
    options = parser.parse_args()
    options.output = options.output or Path("runs/tiny-real" if options.real else "runs/tiny")
    return options


def open_datasets(options: argparse.Namespace) -> list[PickledTrainerDataset]:
    """What to train on, and what to evaluate on."""
    splits = ["train", "validation"] if options.real else ["demo_train", "demo_validation"]
    mask_padding = not options.count_padding
    train, validation = (load_dataset(split, mask_padding=mask_padding) for split in splits)
    return [train, validation[: options.eval_samples]]


def start_process() -> torch.device:
    """Join the other ranks, where torchrun started this one; the device to train on."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The last checkpoint; None where there is none. All ranks must find the same."""
    state = None
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
    if dist.is_initialized():
        steps: list[int | None] = [None] * dist.get_world_size()
        dist.all_gather_object(steps, state and state["step"])
        if len(set(steps)) > 1:
            raise SystemExit(f"ranks find checkpoints of steps {steps}; share {path.parent}")
    return state


def run(options: argparse.Namespace, device: torch.device) -> None:
    rank = dist.get_rank() if dist.is_initialized() else 0
    num_ranks = dist.get_world_size() if dist.is_initialized() else 1

    train, validation = open_datasets(options)
    torch.manual_seed(options.seed)
    model = TinyModel(train.vocab_size, train.seq_length).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loader = ResumableLoader(
        train,
        global_batch_size=options.global_batch_size,
        micro_batch_size=options.micro_batch_size,
        seed=options.seed,
        num_workers=options.num_workers,
    )
    step = 0
    checkpoint = options.output / "checkpoint.pt"
    state = load_checkpoint(checkpoint, device)
    if state is not None:
        loader.load_state_dict(state["loader"])  # refuses if it is of another dataset
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        if step >= options.max_steps:
            if rank == 0:
                print(
                    f"{checkpoint} is at step {step} already: --max_steps {step + 30} goes on from "
                    "there, another --output begins anew"
                )
            return
        # One write a line: the ranks share one output.
        print(f"rank {rank} goes on from step {step}\n", end="", flush=True)
    if rank == 0:
        print(
            f"training to step {options.max_steps} on {len(train)} samples of {train.seq_length} "
            f"tokens (ranks: {num_ranks}, device: {device.type})\n",
            end="",
            flush=True,
        )

    parallel = DistributedDataParallel(model) if dist.is_initialized() else model
    while step < options.max_steps:
        batches: list[dict[str, torch.Tensor]] = []
        for batch in loader:  # an epoch, or the rest of one
            batches.append(batch)
            if len(batches) < loader.micro_batches:
                continue
            loss = train_step(parallel, optimizer, batches, device)
            batches.clear()
            step += 1
            if rank == 0:
                print(f"step {step} loss {loss:.4f}", flush=True)
                if step % options.save_every == 0 or step == options.max_steps:
                    save(checkpoint, model, optimizer, loader, step)
            if step == options.max_steps:
                break
    loss = evaluate(model, validation, options.global_batch_size, device)
    if rank == 0:
        print(f"evaluated {len(validation)} samples: loss {loss:.4f}", flush=True)


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: ResumableLoader,
    step: int,
) -> None:
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loader": loader.state_dict(),
        "step": step,
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    options = parse_arguments()
    try:
        run(options, start_process())
    except CodedataError as error:
        sys.exit(f"train_tiny.py: error: {error}")
    if dist.is_initialized():
        gc.collect()  # a model that ends after its group may wait for gloo's threads for ever
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
