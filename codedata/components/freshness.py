"""The repository of a corpus -> `<corpus>/hub_revision`: its newest commit, observed, never made.

Of a git repository of this machine it is `<corpus>/repository_revision`.

The job `<corpus>_freshness` observes it and checks whether what is here is of that one.
"""

import dagster as dg

from codedata.components.split_parts import corpus_folder, pull_files
from codedata.layout import Layout
from codedata.progress import SHOW_BARS, Reporter
from codedata.resources import DataRoot
from codedata.sources.base import Repository
from codedata.sources.record import RECORD_NAME, read_corpus


def revision_key(corpus: str, repository: Repository) -> dg.AssetKey:
    """The asset that is observed."""
    return dg.AssetKey([corpus, f"{repository.place}_revision"])


def freshness(
    corpus: str, repository: Repository, *, num_files: int, tags: dict[str, str]
) -> dg.Definitions:
    """Asset, check, job and schedule that ask for a corpus's newest commit."""
    key = revision_key(corpus, repository)

    @dg.observable_source_asset(
        key=key,
        group_name=corpus,
        tags=tags,
        description=f"The newest commit of {corpus}'s repository.",
    )
    def revision(context: dg.OpExecutionContext, store: DataRoot) -> dg.ObserveResult:
        reporter = Reporter(context.log.info, in_terminal=SHOW_BARS.get())
        found = _compare(repository, _commits_here(store.layout, corpus, num_files), reporter)
        return dg.ObserveResult(data_version=dg.DataVersion(found["newest commit"]), metadata=found)

    @dg.asset_check(
        asset=key,
        name="newest_commit",
        description="What is here is of the newest commit: code is withdrawn from corpora.",
    )
    def newest_commit(
        context: dg.AssetCheckExecutionContext, store: DataRoot
    ) -> dg.AssetCheckResult:
        reporter = Reporter(context.log.info, in_terminal=SHOW_BARS.get())
        found = _compare(repository, _commits_here(store.layout, corpus, num_files), reporter)
        here, newest = found["commit here"], found["newest commit"]
        passed = here in ("none", newest)
        return dg.AssetCheckResult(
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"the {repository.place}'s newest commit is {newest}, here is {here}"
            + ("" if passed else f"; `codedata materialize --update` moves {corpus} on"),
            metadata=found,
        )

    job = dg.define_asset_job(
        f"{corpus}_freshness",
        selection=dg.AssetSelection.assets(key),
        description=f"Ask the {repository.place} for the newest commit of {corpus} and compare.",
    )
    weekly = dg.ScheduleDefinition(
        name=f"{corpus}_weekly",
        job=job,
        cron_schedule="0 6 * * 1",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Monday at six: is there a newer commit?",
    )
    return dg.Definitions(
        assets=[revision], asset_checks=[newest_commit], jobs=[job], schedules=[weekly]
    )


def _compare(repository: Repository, here: set[str], reporter: Reporter) -> dict[str, str]:
    return {
        "commit here": ", ".join(sorted(here)) or "none",
        "newest commit": repository.newest_commit(reporter),
        "revision": repository.branch,
    }


def _commits_here(layout: Layout, corpus: str, num_files: int) -> set[str]:
    """The commits that the files here are of: more than one where only some were updated."""
    commits: set[str] = set()
    folders = [corpus_folder(layout, corpus, num_files, file) for file in range(num_files)]
    pull_files(layout, corpus, folders)
    for folder in folders:
        if (folder / RECORD_NAME).exists():
            commits |= {read_corpus(folder).origin.get("commit", "another source")}
    return commits
