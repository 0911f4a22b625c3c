"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Network = Annotated[str | None, typer.Option(help="Network by name: sparsight networks.")]
Batch = Annotated[int | None, typer.Option(help="Images or sequences a step (--network, --model).")]
Tokens = Annotated[int | None, typer.Option(help="Tokens a sequence (--network, --model).")]
Inference = Annotated[bool, typer.Option("--inference", help="Forward pass only.")]
Trace = Annotated[str | None, typer.Option(help="Trace file, or the name of a shipped trace.")]
Gemm = Annotated[str | None, typer.Option(metavar="M,K,N", help="One matrix product.")]
Matrix = Annotated[
    str | None, typer.Option(help="Sparse matrix A: a file, or a name such as email-Enron.")
]
RightMatrix = Annotated[
    str | None, typer.Option("--b", help="Sparse matrix B; without it A is squared (--matrix).")
]
Topology = Annotated[Path | None, typer.Option(help="SCALE-Sim topology file (.csv).")]
Method = Annotated[str | None, typer.Option(help="Sparsity method such as bdwp:2:8.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="Model file, name (sparsight models, networks) or MODULE:FUNCTION to capture.",
    ),
]
WeightsOnly = Annotated[
    bool, typer.Option("--weights-only", help="Read a PyTorch checkpoint's tensors for --model.")
]
Pattern = Annotated[str | None, typer.Option(help="Pattern of the weights of --gemm: 2:8.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a config field; repeat as needed."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]
Csv = Annotated[Path | None, typer.Option(help="Write the table as CSV.")]
Parquet = Annotated[Path | None, typer.Option(help="Write the table as Parquet.")]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="DIR|FILE", help="Write plots: a folder, or one page .png or .svg."),
]
Timeline = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a timeline for Perfetto (.json).")
]
Html = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write DIR/report.html.")
]
