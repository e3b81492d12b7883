"""Trains the smallest of models on demo_train, and evaluates it on demo_validation.

What it takes of codedata is what yours will; the model is to be replaced.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from codedata import ResumableLoader, load_dataset

STEPS = 20
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

train, validation = load_dataset("demo_train"), load_dataset("demo_validation")
num_ids = train.vocab_size  # its tokenizer's; train.tokenizer is it, for transformers
model = nn.Sequential(nn.Embedding(num_ids, 64), nn.Linear(64, num_ids)).to(DEVICE)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)


def loss_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The mean loss of every token but the first and padding, given the one before it."""
    logits = model(batch["input_ids"][:, :-1].to(DEVICE))
    return cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten().to(DEVICE))


# Shuffled by its seed; its state_dict() lets training go on in the middle of an epoch.
loader = ResumableLoader(train, global_batch_size=min(4, len(train)), seed=0)
step = 0
while step < STEPS:
    for batch in loader:
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        print(f"step {step} loss {loss.item():.3f}", flush=True)
        if step == STEPS:
            break

with torch.no_grad():
    samples = validation[:16]
    losses = [loss_of({name: ids[None] for name, ids in sample.items()}) for sample in samples]
print(f"validation loss {torch.stack(losses).mean().item():.3f} over {len(losses)} samples")
