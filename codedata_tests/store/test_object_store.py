"""An object store: names below a URL, of a server that speaks S3."""

import subprocess
import sys

from codedata.store.object_store import ObjectStore


def test_this_process_and_its_children_see_one_store(bucket: str) -> None:
    store = ObjectStore(bucket)
    assert store.put_if_absent("a/b", b"first")
    assert not store.put_if_absent("a/b", b"second")
    program = (
        "import sys; from codedata.store.object_store import ObjectStore; "
        "store = ObjectStore(sys.argv[1]); store.put('c', store.read('a/b'))"
    )
    subprocess.run([sys.executable, "-c", program, bucket], check=True)
    assert store.read_many(store.list()) == {"a/b": b"first", "c": b"first"}
