"""Where chunks run: the resource's fields first, then the environment."""

from pathlib import Path

import pytest

from codedata.errors import SettingsError
from codedata.resources import ChunkExecutor
from codedata.run.placement import Cluster, cluster_of

ADDRESS = "tcp://10.0.0.1:8786"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CODEDATA_DASK_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("kind", "address", "variable", "cluster"),
    [
        (None, None, None, None),
        (None, None, "", None),
        ("threads", None, ADDRESS, None),
        ("dask", None, None, Cluster(address=None)),
        (None, "local", None, Cluster(address=None)),
        (None, None, "local", Cluster(address=None)),
        (None, None, ADDRESS, Cluster(address=ADDRESS)),
        ("dask", None, ADDRESS, Cluster(address=ADDRESS)),
        ("dask", "tls://scheduler:8786", ADDRESS, Cluster(address="tls://scheduler:8786")),
        ("dask", "local", ADDRESS, Cluster(address=None)),
    ],
)
def test_a_field_of_the_resource_goes_before_the_variable(
    kind: str | None,
    address: str | None,
    variable: str | None,
    cluster: Cluster | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("CODEDATA_DASK_ADDRESS", variable)
    assert cluster_of(kind, address) == cluster
    assert ChunkExecutor(kind=kind, address=address).cluster == cluster


def test_the_variable_may_stand_in_the_file_of_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"CODEDATA_DASK_ADDRESS={ADDRESS}\n", encoding="utf-8")
    assert cluster_of(None, None) == Cluster(address=ADDRESS)


@pytest.mark.parametrize("place", ["http://scheduler:8787/status", "scheduler:8786", "tcp://x", ""])
def test_what_is_no_scheduler_s_address_is_refused_by_who_said_it(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        SettingsError, match=r"^address of chunk_executor is .* write tcp://HOST:8786"
    ):
        cluster_of("dask", place)
    if place:
        monkeypatch.setenv("CODEDATA_DASK_ADDRESS", place)
        with pytest.raises(
            SettingsError, match=r"^CODEDATA_DASK_ADDRESS is .*, no address of a Dask"
        ):
            cluster_of(None, None)


def test_kinds_that_there_are_not_and_addresses_for_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="kind of chunk_executor is 'ray'; choose threads or dask"):
        ChunkExecutor(kind="ray")
    with pytest.raises(SettingsError, match="which no thread needs; write kind: dask"):
        cluster_of("threads", ADDRESS)
