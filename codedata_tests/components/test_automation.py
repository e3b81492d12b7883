"""What a team may switch on: off by default, and after a change one run."""

from pathlib import Path
from typing import Any

import dagster as dg

from codedata.components.automation import change_sensor
from codedata.components.raw_corpus import RawCorpus
from codedata.definitions import defs
from codedata_tests import scenario
from codedata_tests.components.small_platform import SmallPlatform


def test_everything_is_off_by_default() -> None:
    repository = defs.get_repository_def()
    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    schedules = {each.name: each.default_status for each in repository.schedule_defs}
    assert {"train_on_change", "validation_on_change", "demo_train_on_change"} <= set(sensors)
    assert set(schedules) == {"the_stack_c_weekly"}
    assert set(sensors.values()) == {dg.DefaultSensorStatus.STOPPED}
    assert set(schedules.values()) == {dg.DefaultScheduleStatus.STOPPED}


class Look:
    """Looks of a split's sensor, one after the other."""

    def __init__(self, platform: SmallPlatform, source: dict[str, Any]) -> None:
        self.platform = platform
        self.source = source
        self.cursor: str | None = None

    def again(self) -> bool:
        """Whether a run is asked for."""
        sensor = change_sensor(self.platform.spec, RawCorpus(name="c", source=self.source))
        context = dg.build_sensor_context(
            instance=self.platform.instance,
            cursor=self.cursor,
            resources={"store": self.platform.store},
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        assert bool(result.run_requests) != bool(result.skip_reason)
        return bool(result.run_requests)


def test_a_changed_switch_tokenizer_or_file_asks_for_one_run(
    platform: SmallPlatform, tmp_path: Path
) -> None:
    platform.corpus = scenario.write_parquet(tmp_path / "c.parquet", scenario.c_documents(60))
    own = tmp_path / "tokenizer"
    own.mkdir()
    for path in platform.tokenizer.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    platform.tokenizer = own
    look = Look(platform, {"kind": "local", "path": str(platform.corpus)})
    assert look.again(), "nothing is known yet"
    assert not look.again()
    platform.switches["max_dump_size"] = 40
    assert look.again()
    assert not look.again()
    (own / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert look.again()
    assert not look.again()
    scenario.write_parquet(platform.corpus, scenario.c_documents(50))
    assert look.again()
    assert not look.again()


def test_a_changed_folder_asks_for_a_run(platform: SmallPlatform, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.c").write_text("int a;\n", encoding="utf-8")
    look = Look(platform, {"kind": "folders", "folders": {"p": str(sources)}})
    assert look.again()
    assert not look.again()
    (sources / "b.c").write_text("int b;\n", encoding="utf-8")
    assert look.again()
    assert not look.again()


def test_a_corpus_of_the_hub_changes_with_its_pin(platform: SmallPlatform) -> None:
    look = Look(platform, {"kind": "hub", "repo": "o/d", "path": "c.parquet"})
    assert look.again()
    assert not look.again()
    folder = platform.store.layout.corpus("c")
    folder.mkdir(parents=True)
    (folder / "pin.json").write_text("{}", encoding="utf-8")
    assert look.again(), "after --update"
    assert not look.again()
