"""transformers' Trainer with a model of no use, as small as one can be, on samples of a dataset.

The data, their order and what stands in checkpoints are those of any Trainer.
"""

from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from codedata import DatasetProvenance


def tiny_model(vocab_size: int, **sizes: Any) -> LlamaForCausalLM:
    names = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    smallest: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, **dict.fromkeys(names, 1)}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **(smallest | sizes)))


def tiny_trainer(
    dataset: Any,
    output: Path,
    *,
    vocab_size: int = 700,
    model: LlamaForCausalLM | None = None,
    batch_size: int = 4,
    collator: Any = None,
    tokenizer: Any = None,
    of: type[Trainer] = Trainer,
    evaluation: Any = None,
    **options: Any,
) -> Trainer:
    """A Trainer that has not begun, with our callback; the options are TrainingArguments'."""
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=batch_size,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **options,
    )
    return of(
        model=model or tiny_model(vocab_size),
        args=arguments,
        train_dataset=dataset,
        eval_dataset=evaluation,
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=[DatasetProvenance()],
    )
