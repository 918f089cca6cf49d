"""The faults of `tests/chaos/faults.toml`, and the table that docs/reliability.md shows of them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT / "tests" / "chaos" / "faults.toml"
PAGE = ROOT / "docs" / "reliability.md"
_BEGIN = "<!-- The table is made from tests/chaos/faults.toml by `make docs`; change it there. -->"
_END = "<!-- end of the table -->"


class Fault(BaseModel):
    """One thing that can go wrong.

    Attributes:
        case: what goes wrong.
        how: how it is staged.
        result: what must come of it.
        limit: how long a test waits for that, where the time is part of the promise.
        tests: `path::function` of each test that stages it.
        left_out: why nothing stages it.
        program: what stages it, where that is no test.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    case: str
    how: str
    result: str
    limit: str = ""
    tests: tuple[str, ...]
    left_out: str = ""
    program: str = ""

    @model_validator(mode="after")
    def _is_covered_or_excused(self) -> Self:
        if bool(self.tests or self.program) == bool(self.left_out):
            raise ValueError(f"fault {self.number}: tests, or a reason why there are none")
        return self


def read_faults() -> list[Fault]:
    """Read the registry, in order."""
    return [Fault.model_validate(entry) for entry in tomllib.loads(REGISTRY.read_text(encoding="utf-8"))["fault"]]


@cache
def tests_in(path: str) -> frozenset[str]:
    """Name the test functions of a file; none if there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, kinds) and n.name.startswith("test_"))


def missing_tests(fault: Fault) -> list[str]:
    """Name the tests of a fault that there aren't."""
    return [test for test in fault.tests if test.partition("::")[2] not in tests_in(test.partition("::")[0])]


def table() -> str:
    """Write the registry as a table."""
    rows = "\n".join(_row(fault) for fault in read_faults())
    return f"| | what goes wrong | how it is staged | what must come of it | within | test |\n{'| --- ' * 6}|\n{rows}"


def _row(fault: Fault) -> str:
    tests = "<br>".join(_tests(fault))
    return f"| {fault.number} | {fault.case} | {fault.how} | {fault.result} | {fault.limit} | {tests} |"


def _tests(fault: Fault) -> Iterator[str]:
    for test in fault.tests:
        path, _, name = test.partition("::")
        yield f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"
    if fault.program:
        yield f"`{fault.program}`"
    if fault.left_out:
        yield f"*none: {fault.left_out}*"


def current_page() -> str:
    """Give docs/reliability.md with its table as the registry has it now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{table()}\n\n{_END}{after}"
