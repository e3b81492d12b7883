"""The Dagster shell: components that turn a few lines of YAML into assets."""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# The filters must stand before the modules that use beta parts of Dagster are imported.
from codedata.components.dataset_split import DatasetSplit  # noqa: E402
from codedata.components.raw_corpus import RawCorpus  # noqa: E402
from codedata.components.trained_tokenizer import TrainedTokenizer  # noqa: E402

__all__ = ["DatasetSplit", "RawCorpus", "TrainedTokenizer"]
