"""The text that tokenizers are tried on, before a run and before training on what the run made."""

from hashlib import sha256

PROBE = (
    "#include <stdio.h>\n#define MAX_SIZE 0x7FFF\n\n\n"
    "int main(void)\r\n{\r\n\tfor (int i = 0; i < 1024; ++i) {\n"
    '\t    printf("%d  %s\\n", i,   "naïve façade — 中文 한국어 🙂");   \n'
    "    }\n\n    return 0x7f;\n}\n"
)
"""What C code may hold: indentation, runs of blanks, CRLF, digits, other scripts, emoji."""

PROBE_SHA256 = sha256(PROBE.encode()).hexdigest()
"""Goes into cards, beside the ids: those of another text say nothing of this one's."""
