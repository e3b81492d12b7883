"""A corpus, or texts -> a published dataset folder, without Dagster.

`build` is for Python; the script does the same: chunks are tokenized beside the target, packed,
checked, and put in its place.
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from codedata.errors import CorpusError, SettingsError
from codedata.format.facts import plain_values
from codedata.parallel import (
    ChunkThreads,
    available_cores,
    check_num_workers,
    limit_library_threads,
)
from codedata.places import local_path
from codedata.progress import SILENT, TERMINAL, Reporter
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import SWITCHES, Settings
from codedata.run.assemble import assemble, origin_of
from codedata.run.plan import Plan, open_plan
from codedata.run.tokenize import tokenize
from codedata.sources.parquet.text import ParquetText
from codedata.sources.texts import write_texts
from codedata.store.chunks import LocalChunks
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import Staging, check_target, open_staging
from codedata.tokenize.engines.registry import AUTO
from codedata.tokenize.remembered import place_of
from codedata.tokenize.tokenizer_files import find_tokenizer


def build(
    corpus: str | PathLike[str] | Iterable[str],
    folder: str | PathLike[str],
    *,
    num_workers: int | None = None,
    engine: str = AUTO,
    quiet: bool = True,
    recipe: Mapping[str, Any] | None = None,
    **switches: Any,
) -> Dataset:
    """Tokenize and pack a corpus into a dataset folder.

    Args:
        corpus: path of a parquet with a column `content`, or the documents themselves, in order.
        folder: the dataset's; an old dataset in it is replaced whole, once the new one is checked.
        num_workers: threads that tokenize; None is one a core.
        engine: how to tokenize, the ids being the same.
        quiet: show no progress.
        recipe: how documents become samples, as a YAML has it: `{"documents": {"eos": "</s>"}}`
            marks and packs them, whole where they fit; None is the reference mode.
        switches: those of the script, by their names: `seq_length=2048`.

    Returns:
        The published dataset: its `digest`, `num_samples`, `num_tokens`, and `shards`, arrays of
        shape (num_samples, seq_length); with a recipe also `spans`, where documents lie in them.
        `PickledTrainerDataset([folder])` has it for training.

    Raises:
        CodedataError: a switch, the recipe, the corpus, the tokenizer or the target is refused.
        OSError: the disk is full or fails; an old dataset stays.
    """
    if unknown := sorted(set(switches) - set(SWITCHES)):
        raise SettingsError(f"{unknown[0]} is no switch; there are {', '.join(SWITCHES)}")
    settings = Settings(**switches)
    documents = None if recipe is None else DocumentRecipe.of(recipe)
    workers = check_num_workers(available_cores() if num_workers is None else num_workers)
    limit_library_threads(workers)  # before the library starts any
    reporter = SILENT if quiet else TERMINAL

    def plan(parquet: Path) -> Plan:
        return open_plan(
            {0: ParquetText(parquet)},
            settings,
            find_tokenizer(settings.tokenizer_base, reporter=reporter),
            engine=engine,
            pad_is_named="pad_token" in switches,
            recipe=documents,
        )

    if isinstance(corpus, str | PathLike):
        parquet = local_path(Path(corpus), "corpus", error=CorpusError)
        target = check_target(Path(folder), inputs=[parquet])
        return build_planned(plan(parquet), target, num_workers=workers, reporter=reporter)
    with open_staging(check_target(Path(folder))) as staging:
        parquet = staging.chunks / "texts.parquet"  # goes with the chunks, once they are packed
        write_texts(corpus, parquet)
        return _build(plan(parquet), staging, num_workers=workers, reporter=reporter)


def build_planned(plan: Plan, target: Path, *, num_workers: int, reporter: Reporter) -> Dataset:
    """Make the dataset of a plan over one parquet.

    Args:
        plan: of the run.
        target: where it goes, as `check_target` returned it.
        num_workers: threads that tokenize.
        reporter: told how far it is.

    Raises:
        CodedataError, OSError: see `build`.
    """
    with open_staging(target) as staging:
        return _build(plan, staging, num_workers=num_workers, reporter=reporter)


def _build(plan: Plan, staging: Staging, *, num_workers: int, reporter: Reporter) -> Dataset:
    target, text = staging.target, plan.windows[0].text
    stored = LocalChunks(staging.chunks, shared=target.parent)
    tasks = plan.tasks(lambda _: stored, threads=num_workers)
    with ChunkThreads(num_workers) as executor:
        made = tokenize(plan, tasks, executor, reporter, root=target.parent, name=target.name)
        chunks = sorted((chunk for chunk, _ in made), key=lambda chunk: chunk.chars)
    corpus = {"path": str(text.path), "sha256": text.sha256}
    origin = origin_of(plan.tokenizer, chunks, _command_of(plan, target), corpus)
    dataset = assemble(plan, chunks, staging, origin, num_workers=num_workers).publish()
    staging.discard_chunks()
    return dataset


def _command_of(plan: Plan, target: Path) -> str:
    """What makes the dataset again: the script, or Python where there is a recipe."""
    path, settings = plan.windows[0].text.path, plan.settings
    settings = replace(settings, tokenizer_base=place_of(plan.tokenizer)).as_dict()
    named = {name: each for name, each in settings.items() if each != SWITCHES[name].default}
    if plan.recipe is None:
        switches = {"data_file": path, "tokenization_folder": target, **named}
        options = [part for name, each in switches.items() for part in (f"--{name}", str(each))]
        return shlex.join(["python", "-m", "codedata.tokenize_data", *options])
    # Paths are variables, of which facts take out what is of this machine.
    tokenizer = named.pop("tokenizer_base", settings["tokenizer_base"])
    switches = {"recipe": plain_values(plan.recipe.recipe.as_dict()), **named}
    code = (
        'from os import environ; import codedata; codedata.build(environ["CODEDATA_CORPUS"], '
        f'{json.dumps(target.name)}, tokenizer_base=environ["CODEDATA_TOKENIZER"], '
        f"**{json.dumps(switches)})"
    )
    variables = {"CODEDATA_CORPUS": path, "CODEDATA_TOKENIZER": tokenizer}
    words = [f"{name}={shlex.quote(str(each))}" for name, each in variables.items()]
    return " ".join([*words, shlex.join(["python", "-c", code])])
