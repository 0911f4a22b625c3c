"""Every decision taken before the first cycle, and the number formats hardware must agree on."""

from dataflow import compiled_code

compiled_code.prepare()
