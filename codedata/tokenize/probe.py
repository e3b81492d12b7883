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

HOSTILE = (
    "it's IT'S we'll WE'LL I\u2019m o'\u017f 'R\u212a'\u017f x''s\r\n\r \n\t \x00\x01\x7f\n \n\n"
    "1 12 123 1234 12345 0x1F 1e-9 3.14 \u0663\u0664 \u00bd\u00b2 \u2167 a1b22c333 $9.99\n"
    "HTTPServer camelCase snake_case SCREAMING_CASE \u01c5\u00df\u0130i\u0131 \u03a3\u03c3\u03c2\n"
    "  two   three    four\u00a0nbsp\u2003em\u3000wide\u200bzero\u2028line\u0085next "
    "\u2581mark\u2581\n"
    "!!! ... -- => <= != // /* */ #[derive] @x ~` ``'' \u00ab\u00bb\u2014\u3002\u060c\u0964 "
    "\u20ac\u00a3+\n"
    "e\u0301 \u00e9 a\u0323\u0301 \u1112\u1161\u11ab \u212b \uf900 \ufb01 \uff21\uff11 "
    "\u0915\u094d\u0937\n"
    "\u0e01\u0e33 \u05e9\u05c1 \u0627\u0653 \u4e2d\u6587\u3042\u30a2\ud55c\u0416\u0436\u03b1 "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "\U0001f1e9\U0001f1ea\U00010400\U0001d7d9\ue000\ufffd\n"
    "<s></s> <|endoftext|> <unk> [INST] [/INST] <|im_start|> <pad>x <|end \u00ad|>"
)
"""What tells engines apart that read Unicode, patterns or tokens in their own way."""
