"""What other implementations of the attacks find on the authors' weights: test/fixtures/attacks-*.json.gz.

    python scripts/attack-references.py --data DIR [--only lenet] [--attacks apgd]

DIR is the cache of `bang data pull`, with mnist/ and cifar10/ in it. Needs torch, numpy, h5py,
foolbox 3.3.4 and torchattacks 3.5.1. Not installed by the project; its output is committed. With --attacks,
only these are made again.

- deepfool: Foolbox's L2DeepFoolAttack and LinfDeepFoolAttack, pixels from 0 to 255, all ten classes.
- pgd: Foolbox's LinfPGD without random start, on the log-odds and on the difference of logits ratio.
  Its iterates are caught as it projects them; the first that fools, and fools rounded, is kept, or the
  last if it fools rounded.
- apgd: on LeNet, torchattacks' APGD and APGDT, the authors' own implementation, in float64, from a start that the
  tests can make, too: the loss at the start and after each step. (In float32 the gradient of its cross
  entropy underflows.) apgd-l2: the same in L2.
- square: torchattacks' Square, the authors' own implementation, as success rates over several seeds.
"""

import argparse
import base64
import gzip
import json
import os
import sys
from functools import partial

import eagerpy as ep
import foolbox
import h5py
import numpy as np
import torch
import torchattacks
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "bench"))
from peers import pytorch  # noqa: E402


class DirectConv2d(nn.Conv2d):
    """A sum in one fixed order at every position, so that equal windows have equal outputs: MNIST's
    background is constant, and the gradient of max pooling goes to the first of equal values."""

    def forward(self, x):
        columns = nn.functional.unfold(x, self.kernel_size)
        weight = self.weight.flatten(1)
        total = self.bias[:, None].expand(len(x), -1, columns.shape[2])
        for k in range(columns.shape[1]):
            total = total + weight[:, k, None] * columns[:, k : k + 1]
        return total.unflatten(2, (x.shape[2] - 4, x.shape[3] - 4))


JOBS = {
    "lenet": {
        "layers": partial(pytorch.lenet, DirectConv2d, nn.Linear),
        "weights": "lenet.caffemodel.h5",
        "data": "mnist",
        "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        "scale": 1 / 256,
        "deepfool": 40,
        "pgd": {"images": 20, "epsilon": 32, "steps": 20},
        "apgd": {"images": 5, "epsilon": 12, "steps": 100},
        "apgd-l2": {"images": 5, "epsilon": 150, "steps": 100},
        "square": {"images": 150, "epsilons": [28, 40], "queries": 100},
    },
    "cifar10-quick": {
        "layers": partial(pytorch.cifar10_quick, nn.Conv2d, nn.Linear),
        "weights": "cifar10_bang.caffemodel.h5",
        "data": "cifar10",
        "test": ("test-images-idx4-ubyte", "test-labels-idx1-ubyte"),
        "train": "train-images-idx4-ubyte",
        "scale": 1,
        "deepfool": 60,
        "pgd": {"images": 12, "epsilon": 3, "steps": 20},
        "square": {"images": 100, "epsilons": [4, 8], "queries": 100},
    },
}
SQUARE_SEEDS = range(3)
ATTACKS = ["deepfool", "pgd", "apgd", "apgd-l2", "square"]


def idx(file):
    with open(file, "rb") as opened:
        content = opened.read()
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, 4).astype(int)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def images_of(array):
    """NHWC or NHW bytes as NCHW floats."""
    array = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array)).float()


class Network(nn.Module):
    """From pixels 0 … 255 to logits."""

    def __init__(self, job, data):
        super().__init__()
        self.layers = job["layers"]()
        self.scale = job["scale"]
        self.mean = torch.zeros(1)
        if "train" in job:
            train = idx(os.path.join(data, job["train"]))
            mean = train.astype(np.int64).sum(0) / len(train)
            self.mean = torch.from_numpy(mean.astype(np.float32)).permute(2, 0, 1)[None]
        weighted = [layer for layer in self.layers if hasattr(layer, "weight")]
        fixtures = os.path.join(HERE, "..", "test", "fixtures")
        with h5py.File(os.path.join(fixtures, job["weights"])) as file:
            # Caffe's layers with weights, convolutions before inner products, each in order.
            names = sorted(key for key, group in file["data"].items() if len(group) == 2)
            for layer, key in zip(weighted, names, strict=True):
                layer.weight.data = torch.from_numpy(file["data"][key]["0"][:])
                layer.bias.data = torch.from_numpy(file["data"][key]["1"][:])
        self.eval().requires_grad_(False)

    def forward(self, x):
        return self.layers((x - self.mean) * self.scale)


def log_odds(logits, labels):
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return torch.logsumexp(others, 1) - logits.gather(1, labels[:, None])[:, 0]


def ratio(logits, labels):
    ordered = logits.sort(1, descending=True).values
    others = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    lead = logits.gather(1, labels[:, None])[:, 0] - others
    return -lead / (ordered[:, 0] - ordered[:, 2])


class CaughtPGD(foolbox.attacks.LinfPGD):
    """Foolbox's, with the loss exchanged, that keeps its iterates."""

    def __init__(self, loss, **rest):
        super().__init__(random_start=False, **rest)
        self.loss, self.iterates = loss, []

    def get_loss_fn(self, model, labels):
        return lambda x: ep.astensor(self.loss(model(x).raw, labels.raw)).sum()

    def project(self, x, x0, epsilon):
        found = super().project(x, x0, epsilon)
        self.iterates.append(found.raw.clamp(0, 255).clone())
        return found


def pgd(network, x, y, loss, epsilon, steps):
    """For each image the step (0: the first iterate) of what is kept, or -1, and the change in pixels."""
    attack = CaughtPGD(loss, rel_stepsize=2.5 / steps, steps=steps)
    model = foolbox.PyTorchModel(network, bounds=(0, 255), device="cpu")
    attack.run(model, x, foolbox.criteria.Misclassification(y), epsilon=epsilon)
    at = torch.full((len(x),), -1)
    change = torch.zeros_like(x)
    for step, iterate in enumerate(attack.iterates):
        rounded = (iterate + 0.5).floor()
        fooled = network(rounded).argmax(1) != y
        if step < steps - 1:
            fooled &= network(iterate).argmax(1) != y
        new = fooled & (at < 0)
        at[new] = step
        change[new] = (rounded - x)[new]
    flat = change.permute(0, 2, 3, 1).reshape(len(x), -1)
    packed = base64.b64encode(flat.to(torch.int8).numpy().tobytes()).decode()
    return {"epsilon": epsilon, "steps": steps, "step": at.tolist(), "change": packed}


def deepfool(network, x, y, attack, norm):
    model = foolbox.PyTorchModel(network, bounds=(0, 255), device="cpu")
    found = attack.run(model, x, foolbox.criteria.Misclassification(y))
    length = (found - x).flatten(1).norm(p=norm, dim=1)
    return {
        "length": [float(f"{one:.6g}") for one in length.tolist()],
        "predicted": network(found).argmax(1).tolist(),
    }


class Caught(nn.Module):
    """The network on pixels 0 … 1, that keeps its logits."""

    def __init__(self, network):
        super().__init__()
        self.network, self.logits = network, []

    def forward(self, pixels):
        found = self.network(pixels * 255)
        self.logits.append(found.detach())
        return found


def pattern(shape):
    """-1 … 1 for NCHW images, the same for each: (7 p mod 11 - 5) / 5, p counted as in HWC."""
    _, channels, height, width = shape
    p = torch.arange(height * width * channels)
    offsets = ((7 * p % 11).double() - 5) / 5
    return offsets.reshape(height, width, channels).permute(2, 0, 1).expand(shape)


def apgd(network, x, y, epsilon, steps, norm="Linf"):
    """For each run the losses of each image. The cross entropy is told as log-odds, which rise with it."""
    network.double()
    x = x.double()
    drawn = torch.rand, torch.randn
    torch.rand = lambda shape: (pattern(shape) + 1) / 2
    torch.randn = pattern
    order = network(x).argsort(1, descending=True)
    found = {"epsilon": epsilon, "steps": steps}
    for name in ("log-odds", "target 0", "target 4"):
        model = Caught(network).eval()
        rest = {"eps": epsilon / 255, "steps": steps, "norm": norm}
        if name.startswith("target"):
            attack = torchattacks.APGDT(model, **rest)
            # Counted from the largest logit, 1, which is the label's.
            attack.target_class = int(name.split()[1]) + 2
        else:
            attack = torchattacks.APGD(model, loss="ce", **rest)
        attack.attack_single_run(x / 255, y)

        def loss(z):
            if name == "log-odds":
                return log_odds(z, y)
            return attack.dlr_loss_targeted(z, y, order[:, attack.target_class - 1])

        # APGDT first asks for the logits of the images themselves.
        points = model.logits[-steps - 1 :]
        losses = torch.stack([loss(z) for z in points], 1)
        found[name] = [[float(f"{one:.6g}") for one in row] for row in losses.tolist()]
    torch.rand, torch.randn = drawn
    network.float()
    return found


def square(network, x, y, epsilons, queries):
    def unit(pixels):
        return network(pixels * 255)

    class Unit(nn.Module):
        def forward(self, pixels):
            return unit(pixels)

    # The order of sums does not matter without gradients.
    torch.backends.mkldnn.enabled = True
    for layer in network.layers:
        if isinstance(layer, DirectConv2d):
            layer.forward = partial(nn.Conv2d.forward, layer)
    rates = {}
    for epsilon in epsilons:
        rates[epsilon] = []
        for seed in SQUARE_SEEDS:
            attack = torchattacks.Square(
                Unit().eval(), eps=epsilon / 255, n_queries=queries, n_restarts=1, seed=seed
            )
            fooled = unit(attack(x / 255, y)).argmax(1) != y
            rates[epsilon].append(int(fooled.sum()))
    return {"images": len(x), "queries": queries, "fooled": rates}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--only", choices=list(JOBS))
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS)
    chosen = parser.parse_args()
    for name, job in JOBS.items():
        if chosen.only not in (None, name):
            continue
        folder = os.path.join(chosen.data, job["data"])
        images, labels = (idx(os.path.join(folder, file)) for file in job["test"])
        network = Network(job, folder)
        x = images_of(images[:200])
        y = torch.from_numpy(labels[:200].astype(np.int64))
        right = (network(x).argmax(1) == y).nonzero()[:, 0]

        def first(count):
            chosen = right[:count]
            return x[chosen], y[chosen]

        torch.backends.mkldnn.enabled = False
        out = os.path.join(HERE, "..", "test", "fixtures", f"attacks-{name}.json.gz")
        queries = job["square"]
        positions = right[: max(job["deepfool"], queries["images"])].tolist()
        found = {}
        if chosen.attacks:
            with gzip.open(out) as file:
                found = json.load(file)
            if found["positions"] != positions:
                parser.error(f"{out} has other images: make all attacks again, without --attacks")
        asked = chosen.attacks or ATTACKS
        versions = {
            "torch": torch.__version__,
            "foolbox": foolbox.__version__,
            "torchattacks": torchattacks.__version__,
        }
        found["versions"] = {**found.get("versions", {}), **{attack: versions for attack in asked}}
        found["positions"] = positions
        if "deepfool" in asked:
            attacks = foolbox.attacks
            some = first(job["deepfool"])
            found["deepfool-l2"] = deepfool(network, *some, attacks.L2DeepFoolAttack(), 2)
            found["deepfool-linf"] = deepfool(network, *some, attacks.LinfDeepFoolAttack(), np.inf)
        if "pgd" in asked:
            settings = job["pgd"]
            xs, ys = first(settings["images"])
            rest = (settings["epsilon"], settings["steps"])
            found["pgd"] = {
                "log-odds": pgd(network, xs, ys, log_odds, *rest),
                "dlr": pgd(network, xs, ys, ratio, *rest),
            }
        for attack, norm in (("apgd", "Linf"), ("apgd-l2", "L2")):
            if attack in asked and attack in job:
                settings = job[attack]
                some = first(settings["images"])
                rest = settings["epsilon"], settings["steps"], norm
                found[attack] = apgd(network, *some, *rest)
        if "square" in asked:
            some = first(queries["images"])
            found["square"] = square(network, *some, queries["epsilons"], queries["queries"])
        with open(out, "wb") as file:
            file.write(gzip.compress(json.dumps(found).encode(), 9, mtime=0))
        print(out, os.path.getsize(out))


if __name__ == "__main__":
    main()
