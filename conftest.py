"""What is not collected where a library is missing: the modules that need it."""

import importlib.util

NEED_TORCH = (
    "call",
    "convolutions",
    "identity",
    "products",
    "recorder",
    "session",
    "values",
    "vectors",
)

collect_ignore = (
    []
    if importlib.util.find_spec("torch")
    else [
        "tests/workloads/capture_models.py",
        *(f"workloads/capture/{name}.py" for name in NEED_TORCH),
    ]
)
if not importlib.util.find_spec("atheris"):
    collect_ignore.append("tests/fuzz/guided.py")
