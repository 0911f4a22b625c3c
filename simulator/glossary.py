"""What every output column means, with its unit: the text behind `sparsight explain`."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Term:
    """Unit and meaning of one column."""

    unit: str
    meaning: str


GLOSSARY: dict[str, Term] = {
    "name": Term("-", "Name of the operation, unique in its workload."),
    "layer": Term("-", "Layer of the network that the operation belongs to."),
    "pass": Term(
        "-", "FF forward, BP backward data, WU backward weight, UP weight update and selection."
    ),
    "kind": Term(
        "-",
        "What the operation is: conv, linear, attention, all-reduce, or the kind of vector work.",
    ),
    "pattern": Term("-", "Sparsity pattern that the accelerator exploits; dense if none."),
    "m": Term("rows", "Rows of the streamed matrix of the product; 0 for other work."),
    "k": Term("elements", "Length of the reduction; 0 for other work."),
    "n": Term("columns", "Outputs per row; 0 for other work."),
    "batch": Term(
        "products",
        "Independent products of this shape in the operation; of a network or study, items a step.",
    ),
    "cycles": Term("cycles", "Time from the start of the operation to its end."),
    "compute_cycles": Term(
        "cycles", "Time the compute array would need if memory were infinitely fast."
    ),
    "memory_cycles": Term("cycles", "Time the off-chip interface needs for the operation's bytes."),
    "useful_macs": Term("MACs", "Multiply-accumulates that the patterns leave."),
    "issued_macs": Term(
        "MACs", "Multiply slots used, zero padding of edges and incomplete groups included."
    ),
    "dram_bytes": Term("bytes", "Bytes over the off-chip interface, reads and writes."),
    "compulsory_bytes": Term(
        "bytes", "Bytes if every stored tensor moved once: the least any schedule can do."
    ),
    "sram_bytes": Term("bytes", "Bytes read from and written to the on-chip buffers."),
    "fill_cycles": Term(
        "cycles",
        "Part of compute_cycles in which the array is not at full rate: fill, drain, interleaving "
        "with too few tiles, weight loads.",
    ),
    "stall_cycles": Term("cycles", "Part of cycles in which the compute array waits for memory."),
    "hidden_cycles": Term(
        "cycles", "Work that runs behind another operation and is not counted in cycles."
    ),
    "start_cycles": Term("cycles", "When the operation starts, where operations overlap."),
    "resource": Term("-", "Part of the accelerator that the operation runs on."),
    "utilisation": Term(
        "fraction", "Useful MACs over cycles x peak MACs per cycle; at most 1 by construction."
    ),
    "steps": Term(
        "steps",
        "Digit steps of all columns of a sparse engine: non-zero digits, and one for each group of "
        "four operands that has none at a position.",
    ),
    "digits_per_operand": Term(
        "digits", "Mean non-zero digits of the encoded operands in the engine's encoding (EN-T)."
    ),
    "encoded": Term("-", "Operand whose digits are skipped: left or right."),
    "digits": Term("digits", "Mean non-zero digits of the encoded operand's values (EN-T)."),
    "digits_from": Term(
        "-",
        "Where the digits come from: values, a histogram of them, an assumed distribution; unused: "
        "the engine's time does not depend on them.",
    ),
    "column_utilisation": Term(
        "fraction", "Steps over those that all columns would take if each were the slowest."
    ),
    "area_um2": Term("um2", "Area of the array's logic in the library it was synthesised with."),
    "bottleneck": Term("-", "What bounds the operation's time, by name."),
    "stationarity": Term(
        "-", "Operand that stays in the array: os outputs, ws weights, is inputs."
    ),
    "energy_pj": Term("pJ", "Energy of the operation, all components."),
    "array": Term("-", "Bottleneck or part of energy_pj: the compute array at full rate."),
    "fill and drain": Term("-", "Bottleneck: the array mostly waits for its first or last data."),
    "operand feed": Term(
        "-", "Bottleneck: the dense operand of N:M arrives too slowly at the array."
    ),
    "dram": Term("-", "Bottleneck or part of energy_pj: the off-chip interface."),
    "vector": Term("-", "Bottleneck: the vector engine beside the array."),
    "vector engine": Term("-", "Part of energy_pj: arithmetic of vector work (SAT)."),
    "vector unit": Term("-", "Bottleneck or part of energy_pj: arithmetic of vector work."),
    "selection": Term("-", "Bottleneck or part of energy_pj: choosing the N of every M elements."),
    "buffers": Term("-", "Part of energy_pj: reads and writes of the on-chip buffers."),
    "memory": Term("-", "Bottleneck: bytes over the bandwidth of the off-chip interface."),
    "compute": Term("-", "Bottleneck: multiplications or comparisons of the processing elements."),
    "latency": Term("-", "Bottleneck: threads mostly wait for answers of memory."),
    "instructions": Term("-", "Bottleneck: the pipelines issue in most cycles."),
    "systolic arrays": Term("-", "Bottleneck: products on the arrays of an NPU."),
    "vector units": Term("-", "Bottleneck: vector work beside the arrays of an NPU."),
    "vector lanes": Term("-", "Bottleneck: vector work on the lanes of a multiprocessor."),
    "L2 cache": Term("-", "Part of energy_pj: bytes through the second-level cache (tensorcore)."),
    "shared memory": Term("-", "Part of energy_pj: bytes through a multiprocessor's own memory."),
    "encoders": Term("-", "Part of energy_pj: operands into digits (bitweight)."),
    "read-out": Term("-", "Part of energy_pj: carry-save sums into numbers (bitweight)."),
    "pim": Term("-", "Bottleneck: tiles that the memory's banks multiply."),
    "slowest column": Term("-", "Bottleneck: columns wait for the one with most digits."),
    "none": Term("-", "Bottleneck of an operation that takes no time of its own."),
    "seconds": Term("s", "Cycles over the clock."),
    "energy_j": Term("J", "Energy of the whole workload, all components."),
    "FF": Term("-", "Forward pass: Y = X W, reduced over input channels."),
    "BP": Term("-", "Backward data: dX = dY W^T, reduced over output channels."),
    "WU": Term("-", "Backward weight: dW = X^T dY, reduced over the batch and positions."),
    "UP": Term("-", "Weight update, and selection of the next step's N:M weights."),
    "accelerator": Term("-", "Name of the accelerator model: sparsight accelerators lists them."),
    "config": Term("-", "Every field of the accelerator's configuration, as it was used."),
    "workload": Term("-", "What was computed: network and batch, trace, or shape."),
    "method": Term(
        "-", "Sparsity method or pattern that was applied: sparsight methods lists them."
    ),
    "operations": Term("-", "The operation table: one entry per operation, in order."),
    "notes": Term("-", "Sentences about the run, such as which layers stayed dense and why."),
    "dense_cycles": Term("cycles", "Cycles of the same workload without the method or pattern."),
    "speedup_over_dense": Term("ratio", "Dense cycles over cycles."),
    "speedup": Term("ratio", "Time of the first row over the time of this row."),
    "method_speedup": Term(
        "ratio", "Time of the same accelerator's first row over the time of this row."
    ),
    "seconds_FF": Term("s", "Time of the forward pass."),
    "seconds_BP": Term("s", "Time of backward data."),
    "seconds_WU": Term("s", "Time of backward weight."),
    "seconds_UP": Term("s", "Time of the weight update."),
    "energy_ratio": Term("ratio", "Energy of the first row over the energy of this row."),
    "weight_bytes": Term("bytes", "Weights that multiply, in the compact form of their patterns."),
    "flop_ratio": Term(
        "fraction", "Multiply-accumulates that the method leaves over those of the dense step."
    ),
    "run_seconds": Term("s", "Time of a training run: the method's schedule over all its steps."),
    "run_energy_j": Term("J", "Energy of a training run."),
    "break_even_step": Term(
        "steps", "Step after which a run has taken less time than the first method's; empty: never."
    ),
    "usage": Term("-", "How a method is written."),
    "preset": Term("-", "Name of a published method, for --method and --methods."),
    "written": Term("-", "Words that express a preset."),
    "checks": Term("-", "Rows or exhibits of reproduce that hold a published number beside ours."),
    "unchecked": Term("-", "Why a published number is not compared with ours; empty if it is."),
    "title": Term("-", "Title of the paper."),
    "model": Term("-", "Name of a model that a package carries, for --model."),
    "package": Term("-", "Package and version that carries a model."),
    "installed": Term("-", "Whether the package is installed here."),
    "licence": Term("-", "Licence of package and weights, as they state it."),
    "exhibit": Term("-", "Published table, figure or claim: paper/exhibit."),
    "quantity": Term("-", "What the row of the exhibit states."),
    "published": Term("as unit", "Published number."),
    "ours": Term("as unit", "Number that this program computes."),
    "rel_error": Term("fraction", "Ours over published, minus one."),
    "tolerance": Term("fraction", "Largest accepted size of rel_error."),
    "verdict": Term(
        "-",
        "What to conclude: ok, miss or expected-miss (for the reason given); not asserted are peer "
        "(another tool's number), recalled (from memory) and shown.",
    ),
    "multiplies": Term("products", "Partial products of a sparse product."),
    "adds": Term("additions", "Additions that merge partial products: these less entries."),
    "nnz_c": Term("entries", "Entries of a sparse result, with those that cancel to zero."),
    "windows": Term("windows", "Groups of rows that are hashed together; 0 for other designs."),
    "probes_per_product": Term(
        "probes", "Table slots looked at for each partial product; 0 without a hash table."
    ),
    "tile": Term(
        "-", "Rows x columns of a thread block's tile, / blocks that share the k of a tile (GPU)."
    ),
    "waves": Term("waves", "Rounds in which the thread blocks of a kernel run over the SMs (GPU)."),
    "launch_cycles": Term("cycles", "Part of cycles between the kernel before and this one (GPU)."),
    "tensor cores": Term("-", "Bottleneck or part of energy_pj: products on a GPU."),
    "L2": Term("-", "Bottleneck or part of energy_pj: the cache that feeds a GPU's SMs."),
    "link": Term("-", "Bottleneck: the connection between GPUs."),
    "launch": Term("-", "Bottleneck: the time between two kernels."),
    "system": Term("-", "What serves or decodes: gpu-only, npu-only, npu-pim or neupims."),
    "policy": Term(
        "-", "What happens when the cache is full: preempt the youngest, or reserve before joining."
    ),
    "requests": Term("requests", "Requests served."),
    "output_tokens": Term("tokens", "Tokens made, each counted once."),
    "input_tokens": Term("tokens", "Tokens of the prompt."),
    "duration_s": Term("s", "From the first arrival to the end of the last request."),
    "requests_per_s": Term("requests/s", "Requests served over the duration."),
    "time_to_first_token_s": Term("s", "From arrival to the end of the (first) prefill."),
    "time_per_output_token_s": Term("s", "From the first token to the last, for each after it."),
    "queue_s": Term("s", "From arrival to the start of the (first) prefill."),
    "latency_s": Term("s", "From arrival to the last token."),
    "preemptions": Term("times", "How often a request gave back its pages and started again."),
    "preempted": Term("requests", "Requests that gave back their pages before the iteration."),
    "iterations": Term("iterations", "Rounds in which the device worked."),
    "mean_batch": Term("requests", "Requests that decode, average over the time of iterations."),
    "largest_batch": Term("requests", "Most requests that decoded together."),
    "mean_kv_occupancy": Term(
        "fraction", "Pages held over pages of the cache, average over the time of iterations."
    ),
    "largest_kv_occupancy": Term("fraction", "Largest share of the pages that was held."),
    "busy_s": Term("s", "Time of all iterations."),
    "simulated_layers": Term("layers", "Decoder layers that were simulated for the iterations."),
    "reused_layers": Term("layers", "Decoder layers that took the time of a similar one."),
    "largest_reuse_error": Term(
        "fraction", "Largest deviation of a reused time from its own, where checked."
    ),
    "per_request": Term("-", "One entry per request, in the order of arrival."),
    "request": Term("-", "Number of the request, in the order of arrival."),
    "arrival_s": Term("s", "When the request arrives."),
    "first_token_s": Term("s", "When its first token is made."),
    "finish_s": Term("s", "When its last token is made."),
    "start_s": Term("s", "When the iteration starts."),
    "decoding": Term("requests", "Requests that get their next token in the iteration."),
    "prefill_tokens": Term("tokens", "Prompt tokens that the device reads in the iteration."),
    "used_pages": Term("pages", "Pages that requests hold in the iteration."),
    "mean": Term("as the value", "Arithmetic mean."),
    "p50": Term("as the value", "Median."),
    "p95": Term("as the value", "Value that 95 of 100 stay below."),
    "p99": Term("as the value", "Value that 99 of 100 stay below."),
    "npu_utilisation": Term("fraction", "Share of the clocks in which a systolic array works."),
    "pim_utilisation": Term("fraction", "Share of the clocks in which the banks multiply."),
    "bandwidth_utilisation": Term(
        "fraction", "Bytes over the channels, over what they could move."
    ),
    "cycles_per_layer": Term("cycles", "Clocks of one decoder layer for the whole batch."),
    "time_per_layer_s": Term("s", "Time of one decoder layer for the whole batch."),
    "time_per_iteration_s": Term(
        "s",
        "Time in which each request of a batch gets a token: all layers, in all pipeline stages in "
        "turn, and the output layer if it is asked for.",
    ),
    "energy_per_layer_j": Term(
        "J", "Energy of one decoder layer for the whole batch, all tensor-parallel devices."
    ),
    "energy_per_token_j": Term(
        "J", "Energy of an iteration, all tensor-parallel devices, over the requests of its batch."
    ),
    "dram_bytes_per_layer": Term(
        "bytes", "Off-chip bytes of one decoder layer for the whole batch, all devices of a layer."
    ),
    "tokens_per_s": Term(
        "tokens/s", "Tokens made per second; of a run, by one batch that passes all its layers."
    ),
    "stages": Term("cycles", "Clocks of each stage of the plan, by its letter."),
    "operators": Term("cycles", "Clocks of each operator of a decoder layer, by its name."),
    "commands": Term("commands", "DRAM and PIM commands issued, by their name."),
    "phases": Term("cycles", "Cycles of each phase of a sparse product; they add up to cycles."),
    "traffic": Term("bytes", "Off-chip bytes by what they carry: a, b, partial results, c."),
    "versions": Term("-", "The summary of each version, where several were run."),
    "version": Term("-", "Version of SMASH: v1 atomic hashing, v2 tokens, v3 fragmented memory."),
    "split_rows": Term("rows", "Rows too large for the table, done in passes over column ranges."),
    "items": Term("items", "Pieces of work that threads take: rows, or the tokens of v2 and v3."),
    "dram_utilisation": Term("fraction", "Off-chip bytes over cycles x bandwidth."),
    "ipc": Term("instructions/cycle", "Instructions of all threads over cycles."),
    "thread_busy_max_over_mean": Term(
        "ratio", "Busy cycles of the busiest thread over the mean: 1 is perfect balance."
    ),
    "thread_busy_histogram": Term(
        "threads", "Threads by busy cycles over those of the busiest, in tenths."
    ),
    "probe_histogram": Term(
        "products", "Products by number of probes: 1, 2, ...; the last place holds the rest."
    ),
    "arithmetic_intensity": Term("flop/byte", "Two operations a product over off-chip bytes."),
    "bank_wait_cycles": Term("cycles", "Cycles that operations waited for a bank, summed."),
    "tiled_compulsory_bytes": Term(
        "bytes", "Bytes if operands and result moved once in the design's tiled format."
    ),
    "condensed_columns": Term("columns", "Columns of A after its entries are moved to the left."),
    "overflow_entries": Term("entries", "Entries of rows that overflow the sorting queues."),
    "parameters": Term("numbers", "Trained numbers of the network."),
    "macs": Term("MACs", "Multiply-accumulates of one forward pass of one item."),
    "input": Term("-", "Shape of one input item of the network."),
    "network": Term("-", "Name of the network, for --network."),
    "source": Term("-", "Where the numbers come from."),
    "sparse": Term("-", "Passes and tensors that the method makes sparse."),
    "study": Term("-", "Title of the study."),
    "store": Term("-", "File that keeps the points of the study."),
    "state": Term("-", "How the run of a study ended: complete, interrupted, too many failures."),
    "points": Term("points", "Points in the store: designs times networks and batches."),
    "failures": Term("points", "Points that failed."),
    "first_failure": Term("-", "Error of the first point that failed; empty if none did."),
    "objectives": Term("-", "What the study makes small; large with a minus in front."),
    "pareto": Term("-", "Points that no other point of their network and batch beats."),
    "point": Term("-", "Number of a design in its study."),
    "feasible": Term("-", "Whether the point keeps the constraints on results."),
    "error": Term("-", "Why the point failed; empty if it did not."),
    "rows": Term("-", "The rows of the exhibits, one entry per published number."),
    "relation": Term("-", "Whether ours must equal the published number, or bound it."),
    "tag": Term("-", "How the number is known: seen, measured, derived, or recalled from memory."),
    "note": Term("-", "What a reader must know to judge the comparison."),
    "expected_miss": Term("-", "Reason for which ours misses; empty for a row that must agree."),
    "summary": Term("-", "What the accelerator is, in one sentence."),
    "takes": Term(
        "-", "What the accelerator computes: training steps, and options that name a workload."
    ),
    "field": Term("-", "Field of the accelerator's configuration, for --set."),
    "type": Term("-", "Type of the field, or its choices."),
    "default": Term("-", "Value of the field if it is not set."),
    "meaning": Term("-", "What the field, option or term means."),
    "option": Term("-", "Option of sparsight run for this accelerator, with its values."),
    "sets": Term("-", "Config field that the option sets, or config or workload as a whole."),
    "term": Term("-", "Column or key of an output."),
    "unit": Term("-", "Unit of the number; - for a ratio or a text."),
    "trace": Term("-", "Name of a trace that comes with this package, for --trace."),
    "command": Term("-", "Command that makes the trace again."),
    "elements": Term("elements", "Elements of the result, or those that the work touches."),
    "zeros": Term("-", "Share of zeros in each operand when it was captured; ? if not measured."),
}


def find(name: str) -> Term:
    """Return the term called `name`; raise `InputError` if there is none.

    >>> find("seconds").unit
    's'
    """
    if name not in GLOSSARY:
        hint = nearest(name, GLOSSARY, "sparsight explain lists all terms", most=3)
        raise InputError(f"no output has a column called {name!r}; {hint}")
    return GLOSSARY[name]


def markdown() -> str:
    """Return all terms as the page `docs/outputs.md`."""
    lines = [f"| `{name}` | {term.unit} | {term.meaning} |" for name, term in GLOSSARY.items()]
    return "\n".join(
        [
            "# Columns and keys of every output",
            "",
            "Written by `sparsight explain --markdown`. `sparsight explain NAME` says the same",
            "of one name, and explains config fields too.",
            "",
            "| name | unit | meaning |",
            "| --- | --- | --- |",
            *lines,
        ]
    )
