"""datatrove's DocumentTokenizer over a parquet: tokenized and merged, not packed.

    python benchmarks/datatrove_script.py PARQUET FOLDER TOKENIZER_JSON NUM_TASKS

Needs datatrove in the Python that runs it.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer


def main() -> None:
    """Tokenize."""
    parquet, folder, tokenizer_json, num_tasks = sys.argv[1:]
    path = Path(parquet)
    executor = LocalPipelineExecutor(
        pipeline=[
            ParquetReader(
                str(path.parent), glob_pattern=path.name, text_key="content", id_key="hexsha"
            ),
            DocumentTokenizer(
                output_folder=folder,
                tokenizer_name_or_path=tokenizer_json,
                shuffle_documents=False,
                eos_token=None,
            ),
        ],
        tasks=int(num_tasks),
        workers=int(num_tasks),
        logging_dir=f"{folder}-logs",
    )
    executor.run()


if __name__ == "__main__":
    main()
