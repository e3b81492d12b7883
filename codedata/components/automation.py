"""What a team may switch on in the UI, off by default: runs after a change, weekly observation."""

import hashlib

import dagster as dg

from codedata.components.raw_corpus import RawCorpus
from codedata.components.split_spec import SplitSpec
from codedata.resources import DataRoot

_LOOK_EVERY_SECONDS = 300


def change_sensor(spec: SplitSpec, *corpora: RawCorpus) -> dg.SensorDefinition:
    """A sensor that materializes a split when its corpora or configuration changed.

    The first look, after it is switched on, starts a run too: chunks that are right are reused.
    """

    @dg.sensor(
        name=f"{spec.name}_on_change",
        job_name=spec.name,
        minimum_interval_seconds=_LOOK_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Materializes {spec.name} when its YAML, its environment's overrides, its "
        "tokenizer's files or its corpus's files changed.",
    )
    def on_change(context: dg.SensorEvaluationContext, store: DataRoot) -> dg.SensorResult:
        looks = [corpus.look(store.layout) for corpus in corpora]
        seen = [spec.whole_version, *looks]
        found = hashlib.sha256(" ".join(seen).encode()).hexdigest()
        if context.cursor == found:
            return dg.SensorResult(
                skip_reason=f"nothing that {spec.name} is made of changed", cursor=found
            )
        return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=found)

    return on_change
