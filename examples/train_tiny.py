"""A plain PyTorch loop: train a small model, on one process or several, stop it, go on.

    codedata materialize demo_train demo_validation
    python examples/train_tiny.py                                        # the demo, on a CPU
    torchrun --standalone --nproc-per-node 2 examples/train_tiny.py      # the same, on two ranks
    python examples/train_tiny.py --real                                 # train and validation

Kill it and start it again, on as many ranks as you like: it goes on from its last checkpoint with
the very batches that would have come. The model is a transformer of one layer, to be replaced.
"""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from codedata import PickledTrainerDataset, ResumableLoader, load_dataset


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


def loss_of(model: nn.Module, batch: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    """The mean over all tokens that have one before them; labels of -100 do not count."""
    logits = model(batch["input_ids"].to(device))[:, :-1]
    labels = batch["labels"].to(device)[:, 1:]
    return cross_entropy(logits.flatten(0, 1), labels.flatten())


def evaluate(
    model: nn.Module, dataset: PickledTrainerDataset, batch_size: int, device: torch.device
) -> float:
    """The mean loss of all samples, each taken once, whatever the number of ranks."""
    loader = ResumableLoader(
        dataset,
        global_batch_size=batch_size,
        shuffle=False,
        drop_last=False,
    )
    total = torch.zeros(2, device=device)  # sum of losses, number of samples
    with torch.no_grad():
        for batch in loader:
            num_samples = len(batch["input_ids"])
            loss = loss_of(model, batch, device) * num_samples
            total += torch.stack([loss, torch.tensor(float(num_samples), device=device)])
    if dist.is_initialized():
        dist.all_reduce(total)
    return (total[0] / total[1]).item()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", action="store_true", help="train and validation, not the demo's")
    parser.add_argument("--output", type=Path, default=Path("runs/tiny"), help="for checkpoints")
    parser.add_argument("--max_steps", type=int, default=30)
    parser.add_argument("--save_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--global_batch_size", type=int, default=4, help="samples of all ranks")
    parser.add_argument("--micro_batch_size", type=int, default=1, help="samples at once, a rank")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that load")
    parser.add_argument("--eval_samples", type=int, default=32)
    parser.add_argument("--mask_padding", action="store_true", help="leave padding out of the loss")
    parser.add_argument("--seed", type=int, default=0, help="of the model and of the order")
    return parser.parse_args()


def open_datasets(options: argparse.Namespace) -> list[PickledTrainerDataset]:
    """What to train on, and what to evaluate on."""
    splits = ["train", "validation"] if options.real else ["demo_train", "demo_validation"]
    datasets = [load_dataset(split) for split in splits]
    if options.mask_padding:
        datasets = [dataset.with_padding_masked() for dataset in datasets]
    return [datasets[0], datasets[1][: options.eval_samples]]


def mean_over_ranks(value: torch.Tensor) -> float:
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value.item()


def main() -> None:
    options = parse_arguments()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
    if "RANK" in os.environ:  # started by torchrun
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank = dist.get_rank() if dist.is_initialized() else 0

    train, validation = open_datasets(options)
    torch.manual_seed(options.seed)
    vocab_size = 1 + max(int(ids.max()) for each in train.datasets for ids in each.shards)
    model = TinyModel(vocab_size, train.seq_length).to(device)
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
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])  # refuses if it is of another dataset
        step = state["step"]
        print(f"rank {rank} goes on from step {step}", flush=True)

    parallel = DistributedDataParallel(model) if dist.is_initialized() else model
    while step < options.max_steps:
        losses: list[torch.Tensor] = []
        for batch in loader:  # an epoch, or the rest of one
            loss = loss_of(parallel, batch, device)
            (loss / loader.micro_batches).backward()  # gradients are the mean over all ranks
            losses.append(loss.detach())
            if len(losses) < loader.micro_batches:
                continue
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            mean = mean_over_ranks(torch.stack(losses).mean())
            losses.clear()
            if rank == 0:
                print(f"step {step} loss {mean:.4f}", flush=True)
                if step % options.save_every == 0 or step == options.max_steps:
                    save(checkpoint, model, optimizer, loader, step)
            if step == options.max_steps:
                break
    loss = evaluate(model, validation, options.global_batch_size, device)
    if rank == 0:
        print(f"evaluated {len(validation)} samples: loss {loss:.4f}", flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


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


if __name__ == "__main__":
    main()
