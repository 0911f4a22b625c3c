"""Decoder models and batches of requests: what a serving system for language models computes."""

from workloads.llm.decoders import DECODERS, Decoder, find
from workloads.llm.requests import RequestBatch, read_requests

__all__ = ["DECODERS", "Decoder", "RequestBatch", "find", "read_requests"]
