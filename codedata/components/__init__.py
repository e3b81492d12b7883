"""The Dagster shell: components that turn a few lines of YAML into assets."""

from codedata.components.dataset_split import DatasetSplit
from codedata.components.mixture import Mixture
from codedata.components.raw_corpus import RawCorpus
from codedata.components.trained_tokenizer import TrainedTokenizer

__all__ = ["DatasetSplit", "Mixture", "RawCorpus", "TrainedTokenizer"]
