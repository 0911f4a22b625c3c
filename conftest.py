"""What is not collected where PyTorch is missing: the modules that need it."""

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
