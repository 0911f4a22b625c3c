"""What a workload costs on an accelerator: cycles, bytes and energy, and the command line."""
