"""ONNX Runtime, as a peer, on the CPU: forward passes."""

import onnxruntime

from .graph import forward

VERSION = onnxruntime.__version__


def begin(_):
    pass


def prepare(model, pixels, threads):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Known shapes are faster than any; the graph calls the number of images N.
    settings.add_free_dimension_override_by_name("N", len(pixels))
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, pixels)
    binding.bind_output(session.get_outputs()[0].name, "cpu")
    return lambda: session.run_with_iobinding(binding), lambda: binding.copy_outputs_to_cpu()[0]


JOBS = {"forward": forward("all optimizations", prepare)}
