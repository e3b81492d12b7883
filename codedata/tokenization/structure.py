"""tokenizer.json -> what its structure proves about cutting the text and framing the ids.

Nothing here goes by a tokenizer's name: a cut is used only where the declared parts leave no way
for it to change an id.
"""

from typing import Any

_NEWLINE_PATTERNS = ({"Regex": "[\r\n]"}, {"Regex": r"[\r\n]"}, {"String": "\n"})
_PIECEWISE = ("Split", "Digits", "Punctuation", "ByteLevel")
_FRAMING = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")


def _steps(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """A declared part as its list of steps, nested sequences flattened."""
    if part is None:
        return []
    if part.get("type") != "Sequence":
        return [part]
    return [step for each in part.get(inner, []) for step in _steps(each, inner)]


def why_newline_cuts_may_change_ids(structure: dict[str, Any]) -> str | None:
    r"""The reason why cutting a text after "\n" is not proven to keep every id; None if it is.

    The proof: no normalizer; the first pre-tokenization step isolates newlines, so that no
    pre-token reaches across one; every later step works within one pre-token; the model
    (BPE) too; and no added token holds a newline or takes in the white space around it.
    """
    if _steps(structure.get("normalizer"), "normalizers"):
        return "it normalizes the text"
    steps = _steps(structure.get("pre_tokenizer"), "pretokenizers")
    isolates_newlines = bool(steps) and (
        steps[0].get("type") == "Split"
        and steps[0].get("pattern") in _NEWLINE_PATTERNS
        and steps[0].get("behavior") == "Isolated"
        and not steps[0].get("invert")
    )
    if not isolates_newlines:
        return "its pre-tokenizer does not isolate newlines first"
    for step in steps[1:]:
        if step.get("type") not in _PIECEWISE or step.get("add_prefix_space"):
            return f"its pre-tokenizer {step.get('type')} may look beyond one piece"
    model = structure.get("model") or {}
    if model.get("type") != "BPE":
        return "its model is not plain BPE"
    for token in structure.get("added_tokens") or []:
        if "\n" in token.get("content", "") or token.get("lstrip") or token.get("rstrip"):
            return f"its added token {token.get('content')!r} may reach across a newline"
    return None


def framing_is_constant(structure: dict[str, Any]) -> bool:
    """Whether the post-processor only puts the same ids before and after every text."""
    for step in _steps(structure.get("post_processor"), "processors"):
        kind = step.get("type")
        if kind == "TemplateProcessing":
            if sum("Sequence" in piece for piece in step.get("single", [])) != 1:
                return False
        elif kind != "ByteLevel" and kind not in _FRAMING:
            return False
    return True


def normalizes_to_nfc_only(structure: dict[str, Any]) -> bool:
    """Whether all that the normalizer does is Unicode's NFC."""
    steps = _steps(structure.get("normalizer"), "normalizers")
    return bool(steps) and all(step.get("type") == "NFC" for step in steps)
