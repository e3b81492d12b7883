"""transformers' Trainer over dataset folders: training, evaluation, checkpoints, going on.

    codedata materialize demo_train demo_validation
    python examples/train_trainer.py                     # 20 steps on the demo
    torchrun --standalone --nproc-per-node 2 examples/train_trainer.py --batch_size 2 --max_steps 40
    python examples/train_trainer.py --real              # on train and validation
    python examples/train_trainer.py --dataset_paths data/datasets/train /disk/more \
        --validation_paths data/datasets/validation --output runs/more

Start it again and it goes on from its last checkpoint, with the very batches that would have come,
as long as batch_size times the number of ranks is the same; and not at all on another dataset.
"""

import argparse
import gc
import json
import sys
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from codedata import CodedataError, DatasetProvenance, PickledTrainerDataset
from codedata.layout import Layout


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", action="store_true", help="train and validation, not the demo's")
    parser.add_argument("--dataset_paths", nargs="+", type=Path, help="folders to train on")
    parser.add_argument("--validation_paths", nargs="+", type=Path, help="folders to evaluate on")
    parser.add_argument(
        "--output", type=Path, help="for checkpoints: runs/trainer, with --real runs/trainer-real"
    )
    parser.add_argument("--max_steps", type=int, default=20, help="where to end, by all runs")
    parser.add_argument("--save_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--batch_size", type=int, default=4, help="samples of each rank")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that load")
    parser.add_argument("--eval_samples", type=int, default=32)
    parser.add_argument("--tokenizer", help="the datasets' own, where it is not found by itself")
    parser.add_argument(
        "--count_padding",
        action="store_true",
        help="the loss counts padding, as with the reference",
    )
    options = parser.parse_args()
    options.output = options.output or Path("runs/trainer-real" if options.real else "runs/trainer")
    prefix = "" if options.real else "demo_"
    layout = Layout.from_environment()
    options.dataset_paths = options.dataset_paths or [layout.dataset(f"{prefix}train")]
    options.validation_paths = options.validation_paths or [layout.dataset(f"{prefix}validation")]
    return options


def newest_whole_checkpoint(output: Path) -> Path | None:
    """The last one that no kill tore: the Trainer writes its trainer_state.json last."""
    found = [path for path in output.glob("checkpoint-*") if path.name[11:].isdecimal()]
    for checkpoint in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        try:
            json.loads((checkpoint / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            continue
        return checkpoint
    return None


def run(options: argparse.Namespace) -> None:
    checkpoint = newest_whole_checkpoint(options.output)
    step = int(checkpoint.name[11:]) if checkpoint else 0
    if step >= options.max_steps:
        print(
            f"{checkpoint} is at step {step} already: --max_steps {step + 20} goes on from there, "
            "another --output begins anew"
        )
        return
    train = PickledTrainerDataset(options.dataset_paths, quiet=True)
    validation = PickledTrainerDataset(options.validation_paths, quiet=True)
    if not options.count_padding:
        train, validation = train.with_padding_masked(), validation.with_padding_masked()
    if options.tokenizer is not None:
        train.load_tokenizer(options.tokenizer)

    set_seed(0)
    config = LlamaConfig(
        vocab_size=train.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=train.seq_length,
        bos_token_id=None,
        eos_token_id=None,
    )
    arguments = TrainingArguments(
        output_dir=str(options.output),
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        learning_rate=3e-3,
        logging_steps=5,
        eval_strategy="steps",
        eval_steps=options.save_every,
        save_steps=options.save_every,
        save_total_limit=2,
        prediction_loss_only=True,
        # Else the ends of epochs repeat samples on several ranks. Evaluation, too, leaves out its
        # last batch then, unless eval_samples fill it, as 32 do.
        dataloader_drop_last=True,
        dataloader_num_workers=options.num_workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=LlamaForCausalLM(config),
        args=arguments,
        train_dataset=train,
        eval_dataset=validation[: options.eval_samples],
        processing_class=train.tokenizer,  # into checkpoints; DatasetProvenance tries it, too
        data_collator=default_data_collator,
        callbacks=[DatasetProvenance()],
    )
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    trainer.save_model()


def main() -> None:
    try:
        run(parse_arguments())
    except CodedataError as error:
        sys.exit(f"train_trainer.py: error: {error}")
    if torch.distributed.is_initialized():
        gc.collect()  # a model that ends after its group may wait for gloo's threads for ever
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
