"""OpenVINO, as a peer: forward passes."""

import openvino

from .graph import forward

VERSION = openvino.__version__.split("-")[0]


def begin(_):
    pass


def prepare(model, pixels, threads):
    core = openvino.Core()
    graph = core.read_model(model)
    # Known shapes are faster than any.
    graph.reshape(pixels.shape)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        **({} if threads is None else {"INFERENCE_NUM_THREADS": threads}),
    }
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
    return request.infer, lambda: request.get_output_tensor().data


JOBS = {"forward": forward("f32, latency hint", prepare)}
