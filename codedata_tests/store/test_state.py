"""The small files of a root in an object store: here as there, whoever wrote them last."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata.layout import Layout
from codedata.store import state
from codedata.store.object_store import Found, ObjectStore
from codedata.store.roots import objects_of
from codedata_tests.object_roots import GatedBucket

Machine = Callable[[str], Layout]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The layout of a root as another machine has it: with a cache folder of its own."""

    def machine(url: str) -> Layout:
        home = tmp_path / f"machine-{len(os.listdir(tmp_path))}"
        home.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        return Layout.at(url, "root")

    return machine


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def grow_old(*paths: Path) -> None:
    """As if they had been written an hour ago."""
    for path in paths:
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 3600 * 10**9))


def texts(layout: Layout) -> dict[str, str]:
    files = (path for path in layout.root.rglob("*") if path.is_file())
    return {str(path.relative_to(layout.root)): path.read_text("utf-8") for path in files}


def test_what_one_machine_pushes_is_on_another_and_what_is_gone_in_the_store_is_gone_there(
    machine: Machine,
) -> None:
    url = "memory://state-of-two-machines/root"
    one, other = machine(url), machine(url)
    record, note = (write(one.corpus("c") / name, name) for name in ("corpus.json", "pin.json"))
    write(one.corpus("c") / ".lock", "")
    state.push(one, one.corpus("c"))
    mine = other.corpus("c") / "corpus.json"
    state.pull(other, mine)
    assert texts(other) == {"corpora/c/corpus.json": "corpus.json"}
    state.pull_below(other, other.root / "corpora")
    assert texts(other) == {f"corpora/c/{name}": name for name in ("corpus.json", "pin.json")}
    store = objects_of(one)
    assert store is not None
    store.remove([state.state_name(one, record)])
    grow_old(record, note, mine)
    for layout in (one, other):
        state.pull(layout, layout.corpus("c") / "corpus.json")
        state.pull(layout, layout.corpus("d") / "corpus.json")
        state.pull_below(layout, layout.corpus("c"))
        assert {*texts(layout)} - {"corpora/c/.lock"} == {"corpora/c/pin.json"}


def test_of_many_files_one_listing_says_which_changed_and_no_others_are_asked_for(
    gated: GatedBucket, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ObjectStore.found

    def in_one_second(store: ObjectStore, prefix: str = "") -> dict[str, Found]:
        return {name: each._replace(modified=1e9) for name, each in found(store, prefix).items()}

    monkeypatch.setattr(ObjectStore, "found", in_one_second)
    one, other = machine(gated.url), machine(gated.url)
    for number in range(30):
        write(one.corpus("c", number) / "corpus.json", f"{number:02d}")
        write(one.corpus("c", number) / "other.json", "of another kind")
    state.push(one, one.corpus("c"))

    def pulled(layout: Layout) -> list[str]:
        gated.gate.requests.clear()
        state.pull_below(layout, layout.corpus("c"), "corpus.json")
        listings = [path for _, path in gated.gate.requests if "list-type" in path]
        assert len(listings) == 1
        return [path for method, path in gated.gate.requests if method == "GET"][1:]

    assert len(pulled(other)) == 30
    assert not pulled(other)
    assert not pulled(one), "what was pushed from here"
    state.put_state(one, one.corpus("c", 7) / "corpus.json", b"77")  # as long as it was
    assert [path[-17:] for path in pulled(other)] == ["00007/corpus.json"]
    assert (other.corpus("c", 7) / "corpus.json").read_bytes() == b"77"
    assert len(texts(other)) == 30


def test_a_listing_that_lags_behind_takes_nothing_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = machine("memory://state-of-a-lagging-store/root")
    first, later = layout.corpus("c", 0) / "corpus.json", layout.corpus("c", 1) / "corpus.json"
    state.put_state(layout, first, b"old")
    store = objects_of(layout)
    assert store is not None
    old = store.found("state/")
    state.put_state(layout, first, b"new")
    state.put_state(layout, later, b"later")
    grow_old(first, later)

    def lagging(_: ObjectStore, prefix: str = "") -> dict[str, Found]:
        assert prefix == "state/corpora/c/"
        return old

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "found", lagging)
        state.pull_below(layout, layout.corpus("c"))
    assert (first.read_bytes(), later.read_bytes()) == (b"new", b"later")
    state.pull_below(layout, layout.corpus("c"))
    assert (first.read_bytes(), later.read_bytes()) == (b"new", b"later")


def test_a_file_that_another_process_is_about_to_push_is_left(machine: Machine) -> None:
    layout = machine("memory://state-of-two-processes/root")
    path = write(layout.tokenizer("t") / "tokenizer.json", "{}")
    state.pull_below(layout, layout.tokenizer("t"))
    state.pull(layout, path)
    assert path.exists()


def test_what_a_block_changes_is_put_into_the_store_and_nothing_else(
    gated: GatedBucket, machine: Machine
) -> None:
    one = machine(gated.url)
    state.put_state(one, one.tokenizer_pins / "a.json", b"a")
    other = machine(gated.url)
    gated.gate.requests.clear()

    def change() -> str:
        assert (other.tokenizer_pins / "a.json").read_bytes() == b"a"
        write(other.tokenizer_pins / "b.json", "b")
        return "changed"

    assert state.kept(other, other.tokenizer_pins, change) == "changed"
    puts = [path for method, path in gated.gate.requests if method == "PUT"]
    assert [path.rpartition("/")[2] for path in puts] == ["b.json"]


def test_of_machines_that_write_a_pin_at_once_one_is_first_and_the_others_go_by_its(
    machine: Machine,
) -> None:
    url = "memory://state-first-of-two/root"
    one, other = machine(url), machine(url)
    calls = list[str]()

    def pinned(layout: Layout, commit: str) -> str:
        """The commit to go by: the one that is pinned, or the newest, which is kept."""
        calls.append(commit)
        pin = layout.tokenizer_pins / "a.json"
        if not pin.exists():
            write(pin, commit)
            if layout is one:  # which has looked, and is slow
                assert state.kept(other, other.tokenizer_pins, lambda: pinned(other, "Y")) == "Y"
        return pin.read_text("utf-8")

    assert state.kept(one, one.tokenizer_pins, lambda: pinned(one, "X")) == "Y"
    assert calls == ["X", "Y", "X"]
    pin = write(one.tokenizer_pins / "a.json", "Z")
    assert state.put_changed(one, pin, b"Y"), "what was known is replaced"
    mine = other.tokenizer_pins / "a.json"
    assert not state.put_changed(other, mine, None)
    assert mine.read_bytes() == b"Z"
    assert state.put_changed(other, mine, None), "the same bytes"


def test_under_a_folder_nothing_is_moved(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = write(layout.corpus("c") / "corpus.json", "{}")
    state.kept(layout, layout.corpus("c"), lambda: None)
    state.pull(layout, path, layout.corpus("c") / "none.json")
    state.pull_below(layout, layout.corpus("c"))
    state.push(layout, layout.corpus("c"))
    assert state.put_changed(layout, path, None)
    assert texts(layout) == {"corpora/c/corpus.json": "{}"}
