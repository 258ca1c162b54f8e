import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = (
    "torch", "transformers", "bertopic", "ray", "mlflow", "datasets", "accelerate", "sentence_transformers", "sklearn",
    "pandas", "matplotlib",
)  # fmt: skip
SERVER = ("fastapi", "uvicorn", "onnxruntime", "pyarrow")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("earful", "training", "serving")
    for path in (ROOT / package).rglob("*.py")
)


def fresh(folder: Path, program: str, warnings: str = "error") -> str:
    """What a program prints in a process of its own, in an empty folder."""
    command = [sys.executable, "-W", warnings, "-c", program]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def loaded(folder: Path, module: str) -> set[str]:
    program = f"import sys, json, {module}; print(json.dumps([name for name in sys.modules if '.' not in name]))"
    return set(json.loads(fresh(folder, program)))


@pytest.mark.parametrize("module", ["earful", "earful.__main__"])
def test_the_package_and_its_command_line_start_light(tmp_path: Path, module: str) -> None:
    assert loaded(tmp_path, module) & {*HEAVY, *SERVER, "training", "serving"} == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] in ("earful", "serving")])
def test_nothing_that_serves_loads_a_training_library(tmp_path: Path, module: str) -> None:
    assert loaded(tmp_path, module) & {*HEAVY, "training"} == set()


def test_importing_every_module_writes_nothing_and_prints_nothing(tmp_path: Path) -> None:
    assert fresh(tmp_path, "import " + ", ".join(MODULES), "ignore") == ""  # mlflow warns of itself
    assert list(tmp_path.iterdir()) == []
