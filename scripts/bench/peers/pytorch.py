"""PyTorch, as a peer: training steps, forward passes and an FGS evaluation of the networks built by hand.

A mode is what a user of PyTorch would turn: the memory layout (NCHW or channels-last), torch.compile or not, and in
training steps SGD's implementation (foreach or fused). Where our side has a choice to make and PyTorch could only lose
by it, PyTorch is let off: its batches are ready-made floats, and biases have the learning rate of weights.

Needs torch and numpy; h5py for the evaluation.
"""

import importlib
import itertools
import sys

import numpy as np
import torch

from .timing import Report, timed

nn, F = torch.nn, torch.nn.functional

VERSION = torch.__version__
EPSILON = 0.815
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


def steps(network, options):
    kinds = {False: Report(f"{network}.step.regular"), True: Report(f"{network}.step.bang")}
    for mode, *settings in modes(options.quick, ("foreach", "fused")):
        fresh_compiler()
        try:
            both = timed([step(network, *settings, bang) for bang in kinds], options.runs)
        except Exception as error:  # whatever a compiler or a backend says
            for report in kinds.values():
                report.skip(mode, error)
            continue
        for report, times in zip(kinds.values(), both):
            report.add(mode, times)
    for report in kinds.values():
        report.print()


def forward(network, options):
    shape, _, build = NETWORKS[network]
    report = Report(f"{network}.forward.{FORWARD_BATCH}")
    for mode, layout, compiled in modes(options.quick):
        layers = build(nn.Conv2d, nn.Linear).eval().to(memory_format=LAYOUTS[layout])
        x = (torch.randint(0, 256, (FORWARD_BATCH, *shape)) / 256).to(memory_format=LAYOUTS[layout])
        fresh_compiler()
        function = torch.compile(layers) if compiled else layers
        try:
            with torch.inference_mode():
                report.add(mode, *timed([lambda: function(x)], options.runs))
        except Exception as error:
            report.skip(mode, error)
    report.print()


def idx(folder, name, header):
    with open(f"{folder}/{name}", "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def evaluate(_, options):
    """Smallest FGS perturbation by exhaustive search; fooled images leave the batch. Long: one run."""
    data, images = options.data, options.images
    pixels = idx(data, "t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)[:images]
    labels = torch.from_numpy(idx(data, "t10k-labels-idx1-ubyte", 8)[:images].astype(np.int64))
    layers = lenet(nn.Conv2d, nn.Linear).eval()
    with h5py().File(options.weights) as file, torch.no_grad():
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


def h5py():
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        sys.exit(f"h5py cannot be imported by {sys.executable}: {error}")


def begin(options):
    """Before anything else. Ends where the evaluation could not run."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.weights is not None:
        h5py()


JOBS = {"step": steps, "forward": forward, "evaluate": evaluate}
