"""The peers that Python has, for scripts/bench/main.mjs, which runs this file with --peer PYTHON.

    python peer.py --check
    python peer.py --peer PyTorch --job lenet.step [--threads N] [--runs N]
    python peer.py --peer OpenVINO --job lenet.forward --shape 28 28 1 --files FOLDER
    python peer.py --peer PyTorch --job lenet.evaluate --data DIR --weights FILE.h5

--check prints a JSON object a line for each peer: its version and jobs, or why it is missing. Otherwise one is printed
for each job: the median and the least time in ms of the peer's fastest mode, and of every mode tried.

A peer is a module in peers/ with a VERSION, `begin(options)`, and JOBS, functions of a network's name and the options.
"""

import argparse
import importlib
import json

PEERS = {"PyTorch": "pytorch", "OpenVINO": "openvino", "ONNX Runtime": "onnxruntime"}


def load(name):
    return importlib.import_module(f"peers.{PEERS[name]}")


def found(name, options):
    try:
        peer = load(name)
    except Exception as error:  # whatever a module says that is not there, or not whole
        return {"peer": name, "missing": (str(error) or type(error).__name__).splitlines()[0]}
    peer.begin(options)
    return {"peer": name, "version": peer.VERSION, "jobs": list(peer.JOBS)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say which peers there are")
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--job", help="a network's name and step, forward or evaluate: lenet.step")
    parser.add_argument("--threads", type=int, help="default: the peer's own choice")
    parser.add_argument("--runs", type=int, default=100, help="timed runs of each mode (default: 100)")
    parser.add_argument("--quick", action="store_true", help="no torch.compile")
    parser.add_argument("--files", help="folder with model.onnx and pixels.f32, for graphs; the logits go to theirs.f32")
    parser.add_argument("--shape", type=int, nargs=3, help="height, width and channels of pixels.f32")
    parser.add_argument("--data", help="folder with MNIST's t10k IDX files, for evaluate")
    parser.add_argument("--weights", help="LeNet's weights in Caffe's HDF5, for evaluate")
    parser.add_argument("--images", type=int, help="evaluate only so many test images (default: all)")
    options = parser.parse_args()
    if options.check:
        for name in PEERS:
            print(json.dumps(found(name, options)), flush=True)
        return
    if options.peer is None or options.job is None:
        parser.error("--peer and --job say what to measure; --check says which peers there are")
    network, _, job = options.job.rpartition(".")
    peer = load(options.peer)
    peer.begin(options)
    peer.JOBS[job](network, options)


if __name__ == "__main__":
    main()
