"""The same steps and forward passes on PyTorch, on the same card: python peer.py [--device cuda] [--tiny].

Prints one JSON object a line. The networks and BANG's backward pass are those of scripts/bench/peers/pytorch.py. A step
does not wait for its loss, as ours does not. Modes: eager, compiled, and a CUDA graph of the whole step, each with
PyTorch's own precision of convolutions (TF32) and with float32, which is what we compute.
"""

import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from peers import pytorch as peer  # noqa: E402

torch, nn, F = peer.torch, peer.nn, peer.F

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--device", default="cuda")
parser.add_argument("--tiny", action="store_true")
options = parser.parse_args()
BLOCKS, CALLS, WARM_UP = (1, 1, 1) if options.tiny else (5, 100, 10)


def say(name, **numbers):
    print(json.dumps({"name": name, **numbers}), flush=True)


def wait():
    if options.device == "cuda":
        torch.cuda.synchronize()


def best(function):
    """The least mean time of a call in ms, over blocks of calls."""
    for _ in range(WARM_UP):
        function()
    times = []
    for _ in range(BLOCKS):
        wait()
        begun = time.perf_counter()
        for _ in range(CALLS):
            function()
        wait()
        times.append((time.perf_counter() - begun) * 1e3 / CALLS)
    return round(min(times), 4)


def tried(name, make):
    try:
        say(name, ms=best(make()))
    except Exception as error:  # whatever a compiler or a driver says
        said = str(error).strip() or type(error).__name__
        say(name, failed=said.splitlines()[0][:200])


def step(network, bang, mode):
    shape, batch, build = peer.NETWORKS[network]
    layers = build(peer.BangConv2d, peer.BangLinear) if bang else build(nn.Conv2d, nn.Linear)
    layers = layers.train()
    sgd = torch.optim.SGD(layers.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, foreach=True)
    batches = [(torch.randint(0, 256, (batch, *shape)) / 256, torch.randint(0, 10, (batch,))) for _ in range(8)]
    x, labels = (part.clone() for part in batches[0])
    turn = [0]

    def loss_of(x, labels):
        return F.cross_entropy(layers(x), labels)

    loss = torch.compile(loss_of) if mode == "compiled" else loss_of

    def work():
        sgd.zero_grad(set_to_none=True)
        loss(x, labels).backward()
        sgd.step()

    def fill():
        turn[0] = (turn[0] + 1) % len(batches)
        x.copy_(batches[turn[0]][0])
        labels.copy_(batches[turn[0]][1])

    if mode != "graph":
        return lambda: (fill(), work())
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            work()
    torch.cuda.current_stream().wait_stream(side)
    sgd.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return lambda: (fill(), graph.replay())


def forward(network, compiled):
    shape, _, build = peer.NETWORKS[network]
    layers = build(nn.Conv2d, nn.Linear).eval()
    x = torch.randint(0, 256, (512, *shape)) / 256
    function = torch.compile(layers) if compiled else layers

    def call():
        with torch.inference_mode():
            function(x)

    return call


def product(size):
    a, b = torch.rand(size, size), torch.rand(size, size)
    return lambda: a @ b


if options.device == "cuda" and not torch.cuda.is_available():
    say(f"PyTorch {torch.__version__}", failed="it sees no CUDA device")
    raise SystemExit
torch.set_default_device(options.device)
torch.manual_seed(1)
card = torch.cuda.get_device_name() if options.device == "cuda" else options.device
say(f"PyTorch {torch.__version__} on {card}", cuda=torch.version.cuda)
tried("product 1024", lambda: product(16 if options.tiny else 1024))
# What needs no compiler comes first.
for mode in ("eager", "graph", "compiled"):
    if mode == "graph" and options.device != "cuda":
        continue
    for precision in ("float32", "TF32"):
        torch.backends.cudnn.allow_tf32 = precision == "TF32"
        for network in peer.NETWORKS:
            for bang in (True, False):
                name = f"{network}, {'BANG' if bang else 'regular'} step, {mode}, {precision}"
                if mode == "compiled":
                    peer.fresh_compiler()
                tried(name, lambda: step(network, bang, mode))
            if mode != "graph":
                if mode == "compiled":
                    peer.fresh_compiler()
                tried(f"{network}, forward 512, {mode}, {precision}", lambda: forward(network, mode == "compiled"))
