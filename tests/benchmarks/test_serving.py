"""Figures of the GPU and of the serving loop beside their budgets, for two cores: `make bench`."""

import numpy as np

from simulator.accelerators import gpu
from simulator.serving import poisson_requests, serve
from simulator.serving.systems import gpu_device
from workloads import networks
from workloads.llm.requests import warm_batch

STEP_SECONDS = 0.1
LAYER_SECONDS = 0.05
SERVING_SECONDS = 5.0


def test_a_training_step_on_the_gpu(benchmark, figure) -> None:
    step, config = networks.find("resnet50", batch=256).training_step(), gpu.Config()
    assert benchmark(lambda: gpu.simulate(config, gpu.schedule(config, step)).cycles) > 0
    fastest = benchmark.stats["min"]
    figure("GPU, a training step of resnet50", fastest, "s", at_most=STEP_SECONDS)


def test_a_decoder_layer_at_batch_256_on_the_gpu(benchmark, figure) -> None:
    batch, config = warm_batch("sharegpt", 256, np.random.default_rng(0)), gpu.Config()
    assert benchmark(lambda: gpu.simulate(config, gpu.schedule(config, batch)).cycles) > 0
    fastest = benchmark.stats["min"]
    figure("GPU, a decoder layer, batch 256", fastest, "s", at_most=LAYER_SECONDS)


def test_serving_500_requests_on_the_gpu(benchmark, figure) -> None:
    generator = np.random.default_rng(0)
    requests = poisson_requests("sharegpt", rate_per_s=20, count=500, generator=generator)
    device = gpu_device(gpu.Config())
    assert benchmark.pedantic(lambda: serve(requests, device), rounds=2).leaked_pages == 0
    fastest = benchmark.stats["min"]
    figure("serving 500 requests on the GPU", fastest, "s", at_most=SERVING_SECONDS)
