"""Networks of PyTorch with their logits, as a user may bring them: test/fixtures/models/.

    python scripts/model-references.py

Needs torch 2.15, onnx 1.23, onnxruntime 1.32, onnxscript and safetensors. Not installed by the project; its output is
committed. For each network:

- NAME.onnx, NAME.safetensors: as PyTorch writes them, from random weights (seeded), with batch normalisation after
  some steps of training so that its running means are not trivial;
- in models.json: images (bytes, N×H×W×C) and the logits that PyTorch computes for them in float64, and for ONNX files
  those of ONNX Runtime, which must agree within rounding;
- for `residual`, the gradients of single images that BANG works with: ‖κ‖ of each layer, and the factors' sum of
  weight gradients, computed with a loop over the images in float64.
"""

import base64
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "test", "fixtures", "models")
RESULT = {}


class Prepared(nn.Module):
    """From pixels 0 … 255: scaled, normalised by channel, as in torchvision's transforms."""

    def __init__(self, layers, scale, mean, std):
        super().__init__()
        self.layers = layers
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x):
        return self.layers((x * self.scale - self.mean) / self.std)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, norm=True):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=not norm)
        self.bn2 = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=not norm))
            if norm:
                self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """As ResNet-20 of He et al. (2016) with projections, but with one block of each width, and narrower."""

    def __init__(self, channels, classes, norm=True, widths=(4, 6, 8)):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(widths[0]) if norm else nn.Identity()
        blocks, before = [], widths[0]
        for i, width in enumerate(widths):
            blocks.append(Block(before, width, 1 if i == 0 else 2, norm))
            before = width
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layers(x)
        x = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x)


def lenet_like():
    """Named by position, as nn.Sequential names: features.0, features.3, …"""
    net = nn.Sequential()
    net.features = nn.Sequential(
        nn.Conv2d(1, 4, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2, padding=1),
        nn.Flatten(),
    )
    net.classifier = nn.Sequential(nn.Linear(6 * 4 * 4, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 10))
    return net


def images(seed, count, height, width, channels):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)


def planar(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def settle(net, shape, steps=8):
    """Running means and variances that differ from 0 and 1, and weights of batch normalisation from 1."""
    net.train()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for _ in range(steps):
        net(255 * torch.rand(16, *shape))
    return net.eval().requires_grad_(False)


def logits(net, pixels):
    wide = net.double()
    found = wide(planar(pixels).double()).numpy()
    net.float()
    return found


def record(name, pixels, expected, **more):
    RESULT[name] = {
        "shape": list(pixels.shape),
        "images": base64.b64encode(pixels.tobytes()).decode(),
        "logits": np.asarray(expected).round(9).tolist(),
        **more,
    }


def check(path, pixels, expected, feed=None):
    """ONNX Runtime must agree with PyTorch within float32's rounding."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = planar(pixels).float().numpy() if feed is None else feed
    (found,) = session.run(None, {session.get_inputs()[0].name: feed})
    worst = np.abs(found - expected).max() / np.abs(expected).max()
    assert worst < 2**-16, (path, worst)


def export(name, net, shape, dynamo=False, **options):
    path = os.path.join(OUT, f"{name}.onnx")
    sample = torch.zeros(1, *shape)
    more = {"external_data": False} if dynamo else {}
    torch.onnx.export(
        net.eval(),
        (sample,),
        path,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=None if dynamo else {"input": {0: "n"}, "output": {0: "n"}},
        dynamo=dynamo,
        dynamic_shapes={"x": {0: torch.export.Dim("n")}} if dynamo else None,
        **more,
        **options,
    )
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def small():
    """What torch.nn.Sequential gives, without its preparation: the user has to say it."""
    torch.manual_seed(1)
    net = lenet_like().eval().requires_grad_(False)
    pixels = images(1, 6, 28, 28, 1)
    scaled = Prepared(net, 1 / 255, [0.1307], [0.3081])
    expected = logits(scaled, pixels)
    save_file({f"module.{k}": v.contiguous() for k, v in net.state_dict().items()}, os.path.join(OUT, "small.safetensors"))
    path = export("small", net, (1, 28, 28))
    scaled.float()
    check(path, pixels, expected, ((planar(pixels).float() / 255 - 0.1307) / 0.3081).numpy())
    record("small", pixels, expected)


def resnet():
    torch.manual_seed(2)
    net = ResNet(3, 10)
    whole = settle(Prepared(net, 1 / 255, [0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]), (3, 32, 32))
    pixels = images(2, 6, 32, 32, 3)
    expected = logits(whole, pixels)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, os.path.join(OUT, "resnet.safetensors"))
    # As it is, with batch normalisation; and folded, which is the exporter's default; and by the newer exporter.
    plain = export("resnet", whole, (3, 32, 32), training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    assert any(node.op_type == "BatchNormalization" for node in onnx.load(plain).graph.node)
    check(plain, pixels, expected)
    check(export("resnet-folded", whole, (3, 32, 32)), pixels, expected)
    check(export("resnet-dynamo", whole, (3, 32, 32), dynamo=True), pixels, expected)
    record("resnet", pixels, expected)


def flattened():
    """x.view(x.size(0), -1), softmax, batch normalisation of vectors and before a convolution, mean over axes."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn0 = nn.BatchNorm2d(3)
            self.conv = nn.Conv2d(3, 5, (3, 1), padding=(1, 0))
            self.fc1 = nn.Linear(5 * 5 * 4, 12, bias=False)
            self.bn1 = nn.BatchNorm1d(12)
            self.fc2 = nn.Linear(12, 7)

        def forward(self, x):
            x = torch.relu(self.bn0(x / 255))
            x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 3, 2, 1)
            x = x.view(x.size(0), -1)
            return torch.softmax(self.fc2(torch.relu(self.bn1(self.fc1(x)))), 1)

    torch.manual_seed(3)
    net = settle(Net(), (3, 10, 8))
    pixels = images(3, 6, 10, 8, 3)
    path = export("flattened", net, (3, 10, 8), training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    check(path, pixels, logits(net, pixels))
    # Before softmax, which the import drops.
    logit = np.log(logits(net, pixels))
    record("flattened", pixels, logit, upToConstant=True)


def channels_last():
    """As exporters of TensorFlow write: N×H×W×C, transposed, SAME padding, MatMul and Add."""
    rng = np.random.default_rng(4)
    weights = {
        "mean": np.array([100.0, 120.0, 90.0], np.float32),
        "factor": np.array([0.02], np.float32),
        "kernel": rng.normal(0, 0.3, (4, 3, 4, 4)).astype(np.float32),
        "bias": rng.normal(0, 0.3, (1, 4, 1, 1)).astype(np.float32),
        "dense": rng.normal(0, 0.3, (5 * 4 * 4, 6)).astype(np.float32),
        "last": rng.normal(0, 0.3, (6,)).astype(np.float32),
        "target": np.array([-1, 80], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["input"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["a"]),
        helper.make_node("Mul", ["a", "factor"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["c", "kernel"], ["d"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[4, 4]),
        helper.make_node("Add", ["d", "bias"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("AveragePool", ["f"], ["g"], auto_pad="SAME_LOWER", kernel_shape=[2, 2]),
        helper.make_node("Transpose", ["g"], ["h"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["h", "target"], ["i"]),
        helper.make_node("MatMul", ["i", "dense"], ["j"]),
        helper.make_node("Add", ["j", "last"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "channels last",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["n", 9, 8, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = os.path.join(OUT, "channels-last.onnx")
    onnx.save(model, path)
    pixels = images(4, 6, 9, 8, 3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": pixels})
    record("channels-last", pixels, found)


def residual():
    """BANG's gradients of a residual network without batch normalisation, image by image, in float64."""
    torch.manual_seed(5)
    # Made in float32, so that the file has them as they are.
    net = ResNet(2, 4, norm=False, widths=(3, 4, 5)).double()
    pixels = images(5, 5, 8, 7, 2)
    labels = [0, 3, 1, 2, 3]
    beta, epsilon, ratio = 1.3, 0.7, 0.5
    outputs = {}

    def keep(name):
        def hook(_module, _inputs, output):
            # What is added to the output in place of it has the same gradient.
            output.retain_grad()
            outputs[name] = output

        return hook

    weighted = {name: m for name, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    for name, module in weighted.items():
        module.register_forward_hook(keep(name))
    norms, gradients, correct = [], [], []
    for pixel, label in zip(planar(pixels).double() / 128, labels, strict=True):
        net.zero_grad()
        out = net(pixel[None])
        # The mean over the batch, of which this is one summand.
        nn.functional.cross_entropy(out, torch.tensor([label])).div(len(labels)).backward()
        correct.append(int(out.argmax()) == label)
        norms.append({name: float(outputs[name].grad.norm()) for name in weighted})
        gradients.append({name: {"weight": m.weight.grad.clone(), "bias": m.bias.grad.clone()} for name, m in weighted.items()})
    found = {}
    for name in weighted:
        largest = max(norm[name] for norm in norms)
        factors = []
        for norm, right in zip(norms, correct, strict=True):
            hat = epsilon * (1 if right else ratio)
            factors.append(beta * (largest / norm[name]) ** (hat * (1 - norm[name] / largest)))
        found[name] = {
            "norms": [norm[name] for norm in norms],
            "weight": sum(f * g[name]["weight"] for f, g in zip(factors, gradients)).flatten().tolist(),
            "bias": sum(f * g[name]["bias"] for f, g in zip(factors, gradients)).tolist(),
        }
    save_file({k: v.float().contiguous() for k, v in net.state_dict().items()}, os.path.join(OUT, "residual.safetensors"))
    expected = net(planar(pixels).double() / 128).detach().numpy()
    record("residual", pixels, expected, labels=labels, bang=[beta, epsilon, ratio], layers=rounded(found))


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.9g}")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    torch.set_num_threads(1)
    for make in [small, resnet, flattened, channels_last, residual]:
        make()
    with open(os.path.join(OUT, "models.json"), "w") as file:
        json.dump(RESULT, file, separators=(",", ":"))
        file.write("\n")
    print({name: os.path.getsize(os.path.join(OUT, name)) for name in sorted(os.listdir(OUT))}, file=sys.stderr)
