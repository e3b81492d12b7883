"""The demo's tokenizer: trained on the demo corpus, so that nothing has to be fetched."""

import dagster as dg

from codedata.format.ranges import CharRange
from codedata.resources import DataRoot
from codedata.sources.record import read_corpus
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata.tokenize.train import save_tokenizer, train_tokenizer

VOCAB_SIZE = 4096
_TRAINING = CharRange(0, 4_000_000)
"""A tenth of the corpus: more takes longer and hardly changes 4,096 tokens."""

_PIECE_CHARS = 100_000


@dg.asset(
    deps=[["demo_corpus", "raw_parquet"]],
    group_name="demo_tokenizer",
    owners=["team:data"],
    kinds={"huggingface"},
    code_version=f"1-{VOCAB_SIZE}-{_TRAINING.key}",
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def demo_tokenizer(context: dg.AssetExecutionContext, store: DataRoot) -> dg.MaterializeResult:
    """A byte-level BPE of 4,096 tokens with the pre-tokenizer structure of deepseek-coder."""
    layout = store.layout
    text = read_corpus(layout.corpus("demo_corpus")).open_text()
    window = text.clip(_TRAINING)
    context.log.info(f"training on {window.num_chars:,} characters")
    tokenizer = train_tokenizer(
        (text.read(piece) for piece in window.cut(_PIECE_CHARS)), VOCAB_SIZE
    )
    folder = layout.tokenizer("demo_tokenizer")
    save_tokenizer(tokenizer, folder)
    fingerprint = find_tokenizer(str(folder)).fingerprint
    return dg.MaterializeResult(
        data_version=dg.DataVersion(fingerprint),
        metadata={
            "tokens": tokenizer.get_vocab_size(),
            "fingerprint": fingerprint,
            "path": dg.MetadataValue.path(str(folder)),
        },
    )
