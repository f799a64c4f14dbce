# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Breaks the roles, one way at a time and in a copy, and looks whether their Molecule scenario notices. `make test` leaves it out.

python3 tests/tools/mutants.py [SCENARIO...]

The mutants are in tests/hosts/mutants.json: scenario, file, the text that is replaced and by what, and why that is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys

from collection import copy
from common import CACHE, ROOT, ToolError, main, run

PLACE = CACHE / "mutants"


def tool(arguments: list[str]) -> int:
    mutants = json.loads((ROOT / "tests" / "hosts" / "mutants.json").read_text(encoding="utf-8"))
    survived = caught = 0
    for mutant in mutants:
        if arguments and mutant["scenario"] not in arguments:
            continue
        file = copy(PLACE) / mutant["file"]
        whole = file.read_text(encoding="utf-8")
        if whole.count(mutant["old"]) != 1:
            raise ToolError(f"{mutant['file']} has {whole.count(mutant['old'])} times the text that is to be replaced: {mutant['old']}")
        file.write_text(whole.replace(mutant["old"], mutant["new"]), encoding="utf-8")
        try:
            command = [sys.executable, ROOT / "tests" / "tools" / "molecule.py", mutant["scenario"], "--collections", PLACE]
            done = run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        finally:
            # The next copy would take it for unchanged.
            file.unlink()
        failed = [line for line in done.stdout.splitlines() if line.endswith(" FAILED")]
        if failed:
            caught += 1
            print(f"caught    {mutant['scenario']}: {mutant['wrong']}\n          {' '.join(failed[0].split())}", flush=True)
        else:
            survived += 1
            print(f"SURVIVED  {mutant['scenario']}: {mutant['wrong']}\n{done.stdout[-2000:]}", flush=True)
    print(f"{caught} caught, {survived} survived")
    return 1 if survived or not caught else 0


if __name__ == "__main__":
    main(tool)
