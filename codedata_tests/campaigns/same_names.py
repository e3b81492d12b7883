"""A module run as a script, its temporary files under the same names each time.

    python -m codedata_tests.campaigns.same_names MODULE ARGUMENTS

A call to the kernel is found again in the next run by the name of its file.
"""

import runpy
import secrets
import sys

if __name__ == "__main__":
    secrets.token_hex = lambda _=None: "0" * 16
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
