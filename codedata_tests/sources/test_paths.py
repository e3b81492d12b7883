"""Paths of a YAML: what ranges stand for; what is refused is among the bad inputs."""

from codedata.sources.paths import expand_paths


def test_ranges_in_paths_are_expanded_as_a_shell_does() -> None:
    assert expand_paths(["b", "a-{08..10}", "{1..2}/{0..1}"]) == (
        "b", "a-08", "a-09", "a-10", "1/0", "1/1", "2/0", "2/1",
    )  # fmt: skip
    assert expand_paths("c-{9..11}.parquet") == tuple(f"c-{n}.parquet" for n in (9, 10, 11))
    assert expand_paths("{x}..{y}") == ("{x}..{y}",)
