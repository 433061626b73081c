"""What PyTorch needs for the jobs of scripts/bench/main.mjs, which runs this file with --peer PYTHON.

    python peer.py [--threads N] [--runs N] [--jobs lenet.step,...] [--data DIR --weights FILE.h5]

Prints one JSON object a line for each job: the median and the least time in ms of its fastest mode,
and of every mode tried. A mode is what a user of PyTorch would turn: the memory layout (NCHW or
channels-last), torch.compile or not, and in training steps SGD's implementation (foreach or fused).
Where our side has a choice to make and PyTorch could only lose by it, PyTorch is let off: its batches
are ready-made floats, and biases have the learning rate of weights.

Needs torch and numpy; h5py for evaluate.fgs.
"""

import argparse
import importlib
import itertools
import json
import statistics
import sys
import time


def need(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{module} cannot be imported by {sys.executable}: {error}")


torch = need("torch")
np = need("numpy")
nn, F = torch.nn, torch.nn.functional

EPSILON = 0.815
WARM_UP = 5
FORWARD_BATCH = EVALUATION_BATCH = 512
LAYOUTS = {"nchw": torch.contiguous_format, "channels-last": torch.channels_last}


# BANG: kappa itself goes down, the balanced kappa to the parameters.


def balanced(kappa):
    n = torch.linalg.vector_norm(kappa.flatten(1), dim=1)
    m = n.max()
    eta = torch.where(n > 0, (m / n) ** (EPSILON * (1 - n / m)), 1.0)
    return kappa * eta.view(-1, *[1] * (kappa.dim() - 1))


class BalancedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, padding):
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx, kappa):
        x, weight = ctx.saved_tensors

        def gradients(k, wanted):
            return torch.ops.aten.convolution_backward(
                k, x, weight, [weight.shape[0]], [1, 1], ctx.padding, [1, 1], False, [0, 0], 1, wanted
            )

        down = gradients(kappa, [True, False, False])[0] if ctx.needs_input_grad[0] else None
        _, by_weight, by_bias = gradients(balanced(kappa), [False, True, True])
        return down, by_weight, by_bias, None


class BalancedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, kappa):
        x, weight = ctx.saved_tensors
        scaled = balanced(kappa)
        return kappa @ weight, scaled.T @ x, scaled.sum(0)


class BangConv2d(nn.Conv2d):
    def forward(self, x):
        return BalancedConvolution.apply(x, self.weight, self.bias, self.padding)


class BangLinear(nn.Linear):
    def forward(self, x):
        return BalancedProduct.apply(x, self.weight, self.bias)


# The networks, by the names of src/model/networks.ts: input, batch of a step, layers.


def lenet(conv, linear):
    return nn.Sequential(
        conv(1, 20, 5),
        nn.MaxPool2d(2),
        conv(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        linear(800, 500),
        nn.ReLU(),
        nn.Dropout(0.5),
        linear(500, 10),
    )


def cifar10_quick(conv, linear):
    def average():
        return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)

    return nn.Sequential(
        conv(3, 32, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        conv(32, 32, 5, padding=2),
        nn.ReLU(),
        average(),
        conv(32, 64, 5, padding=2),
        nn.ReLU(),
        average(),
        nn.Flatten(),
        linear(1024, 64),
        nn.Dropout(0.5),
        linear(64, 10),
    )


NETWORKS = {
    "lenet": ((1, 28, 28), 64, lenet),
    "cifar10-quick": ((3, 32, 32), 100, cifar10_quick),
}


def modes(quick, *others):
    """Names and settings of all modes; torch.compile takes too long for a quick look."""
    for layout, compiled, *rest in itertools.product(LAYOUTS, (False, True)[: 1 if quick else 2], *others):
        name = ", ".join([layout, *(["compiled"] if compiled else ["eager"]), *rest])
        yield name, layout, compiled, *rest


def fresh_compiler():
    """Without this the networks of other modes count as recompilations, which it soon refuses."""
    torch.compiler.reset()


def timed(functions, runs, warm_up=WARM_UP):
    """Times in ms; the functions take turns, so that a busy moment of the machine meets them all."""
    times = [[] for _ in functions]
    for run in range(-warm_up, runs):
        for function, of_function in zip(functions, times):
            begun = time.perf_counter()
            function()
            if run >= 0:
                of_function.append((time.perf_counter() - begun) * 1e3)
    return times


class Report:
    """Collects the modes of one job; a mode that cannot run here is told, and does not count."""

    def __init__(self, job):
        self.job, self.found, self.skipped, self.extra = job, {}, {}, {}

    def add(self, mode, times):
        self.found[mode] = {"ms": round(statistics.median(times), 4), "minMs": round(min(times), 4)}

    def skip(self, mode, error):
        self.skipped[mode] = (str(error).strip() or type(error).__name__).splitlines()[0][:200]

    def print(self):
        if not self.found:
            sys.exit(f"{self.job}: no mode of PyTorch could run: {self.skipped}")
        mode = min(self.found, key=lambda name: self.found[name]["ms"])
        line = {"job": self.job, **self.found[mode], "mode": mode, "modes": self.found, **self.extra}
        print(json.dumps({**line, **({"skipped": self.skipped} if self.skipped else {})}), flush=True)


def step(network, layout, compiled, sgd, bang):
    """One training step: forward, mean loss, backward, SGD with momentum and weight decay."""
    shape, batch, build = NETWORKS[network]
    layers = build(BangConv2d, BangLinear) if bang else build(nn.Conv2d, nn.Linear)
    layers = layers.train().to(memory_format=LAYOUTS[layout])
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, **{sgd: True})
    batches = itertools.cycle(
        [
            (
                (torch.randint(0, 256, (batch, *shape)) / 256).to(memory_format=LAYOUTS[layout]),
                torch.randint(0, 10, (batch,)),
            )
            for _ in range(8)
        ]
    )

    def loss_of(x, labels):
        return F.cross_entropy(layers(x), labels)

    loss = torch.compile(loss_of) if compiled else loss_of

    def one_step():
        optimizer.zero_grad(set_to_none=True)
        value = loss(*next(batches))
        value.backward()
        optimizer.step()
        return value.item()

    return one_step


def steps(network, runs, quick):
    kinds = {False: Report(f"{network}.step.regular"), True: Report(f"{network}.step.bang")}
    for mode, *settings in modes(quick, ("foreach", "fused")):
        fresh_compiler()
        try:
            both = timed([step(network, *settings, bang) for bang in kinds], runs)
        except Exception as error:  # whatever a compiler or a backend says
            for report in kinds.values():
                report.skip(mode, error)
            continue
        for report, times in zip(kinds.values(), both):
            report.add(mode, times)
    for report in kinds.values():
        report.print()


def forward(network, runs, quick):
    shape, _, build = NETWORKS[network]
    report = Report(f"{network}.forward.{FORWARD_BATCH}")
    for mode, layout, compiled in modes(quick):
        layers = build(nn.Conv2d, nn.Linear).eval().to(memory_format=LAYOUTS[layout])
        x = (torch.randint(0, 256, (FORWARD_BATCH, *shape)) / 256).to(memory_format=LAYOUTS[layout])
        fresh_compiler()
        function = torch.compile(layers) if compiled else layers
        try:
            with torch.inference_mode():
                report.add(mode, *timed([lambda: function(x)], runs))
        except Exception as error:
            report.skip(mode, error)
    report.print()


def idx(folder, name, header):
    with open(f"{folder}/{name}", "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def evaluate(data, weights, images):
    """Smallest FGS perturbation by exhaustive search; fooled images leave the batch. Long: one run."""
    pixels = idx(data, "t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)[:images]
    labels = torch.from_numpy(idx(data, "t10k-labels-idx1-ubyte", 8)[:images].astype(np.int64))
    layers = lenet(nn.Conv2d, nn.Linear).eval()
    with need("h5py").File(weights) as file, torch.no_grad():
        weighted = [layer for layer in layers if hasattr(layer, "weight")]
        for layer, name in zip(weighted, ("conv1", "conv2", "ip1", "ip2")):
            layer.weight.copy_(torch.from_numpy(file[f"data/{name}/0"][:]))
            layer.bias.copy_(torch.from_numpy(file[f"data/{name}/1"][:]))
    report = Report("lenet.evaluate.fgs")
    for layout, memory in LAYOUTS.items():
        layers = layers.to(memory_format=memory)
        x = torch.from_numpy(pixels.astype(np.float32)).to(memory_format=memory)
        with torch.inference_mode():
            right = torch.cat([layers(part / 256).argmax(1) for part in x.split(EVALUATION_BATCH)]) == labels
        x, y = x[right], labels[right]
        fooled = [0]

        def attack():
            alive = torch.arange(len(x))
            signs = torch.cat([sign(layers, x[i], y[i]) for i in alive.split(EVALUATION_BATCH)])
            with torch.inference_mode():
                for scale in range(1, 256):
                    standing = []
                    for i in alive.split(EVALUATION_BATCH):
                        moved = (x[i] + scale * signs[i]).clamp_(0, 255).div_(256)
                        standing.append(layers(moved).argmax(1) == y[i])
                    if standing:
                        alive = alive[torch.cat(standing)]
            fooled[0] = len(x) - len(alive)

        report.add(layout, *timed([attack], runs=1, warm_up=0))
        report.extra = {"images": len(x), "fooled": fooled[0]}
    report.print()


def sign(layers, x, labels):
    x = (x / 256).requires_grad_()
    loss = F.cross_entropy(layers(x), labels, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    # A loss of exactly zero has a blank gradient, as in our attack: both search in vain there.
    return gradient.sign() * (loss != 0).view(-1, 1, 1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="default: PyTorch's own choice")
    parser.add_argument("--runs", type=int, default=100, help="timed runs of each mode (default: 100)")
    parser.add_argument("--jobs", help="such as lenet.step,lenet.forward; default: all")
    parser.add_argument("--data", help="folder with MNIST's t10k IDX files, for evaluate.fgs")
    parser.add_argument("--weights", help="LeNet's weights in Caffe's HDF5, for evaluate.fgs")
    parser.add_argument("--images", type=int, help="only so many test images (default: all)")
    parser.add_argument("--quick", action="store_true", help="no torch.compile")
    parser.add_argument("--check", action="store_true", help="only say which PyTorch this is")
    options = parser.parse_args()
    evaluates = options.data is not None and options.weights is not None
    if options.check:
        if evaluates:
            need("h5py")
        print(json.dumps({"torch": torch.__version__}))
        return
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    jobs = options.jobs.split(",") if options.jobs else None
    for network in NETWORKS:
        for job, function in ((f"{network}.step", steps), (f"{network}.forward", forward)):
            if jobs is None or job in jobs:
                function(network, options.runs, options.quick)
    if evaluates and (jobs is None or "lenet.evaluate" in jobs):
        evaluate(options.data, options.weights, options.images)


if __name__ == "__main__":
    main()
