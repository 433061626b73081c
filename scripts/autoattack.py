"""What AutoAttack leaves of a network, beside what `bang eval --attacks auto` leaves of it.

    bang export WEIGHTS --to onnx --out net.onnx
    bang eval WEIGHTS --attacks auto --set evaluation.images=200 --set evaluation.budgets=[32] --out runs/net
    python scripts/autoattack.py net.onnx runs/net --images mnist/t10k-images-idx3-ubyte

The images are a file of a data set's cache (`bang doctor` says where that is). Needs torch, numpy, onnx, onnx2torch and
pyautoattack 0.2.0; not installed by the project.

AutoAttack is APGD-CE, APGD-T and FAB-T towards nine classes, and Square with --queries. In L∞ its images are rounded
before they are judged, in L2 they are not, as that would take them out of the budget.
"""

import argparse
import csv
import os
import time

import numpy as np
import onnx2torch
import pyautoattack
import torch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("network")
parser.add_argument("run")
parser.add_argument("--images", required=True)
parser.add_argument("--queries", type=int, default=200)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=1)
given = parser.parse_args()

torch.set_num_threads(given.threads)
torch.manual_seed(given.seed)
network = onnx2torch.convert(given.network).eval()


def idx(name):
    with open(name, "rb") as file:
        raw = file.read()
    axes = raw[3]
    shape = np.frombuffer(raw, ">i4", count=axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def classes(pixels):
    with torch.no_grad():
        return network(pixels * 255).argmax(1)


lines = list(csv.DictReader(open(os.path.join(given.run, "per-image.csv"), encoding="utf-8")))
budgets = [name for name in lines[0] if name.startswith("auto_")]
correct = [line for line in lines if line["label"] == line["predicted"]]
positions = [int(line["index"]) for line in correct]
images = idx(given.images)[positions]
images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
x = torch.tensor(np.ascontiguousarray(images.astype(np.float32) / 255))
y = torch.tensor([int(line["label"]) for line in correct])
assert bool((classes(x) == y).all()), "the network and the run do not agree"

for name in budgets:
    norm, budget = name.split("_")[1], float(name.split("_")[2])
    attack = pyautoattack.AutoAttack(
        type("Network", (torch.nn.Module,), {"forward": lambda self, pixels: network(pixels * 255)})(),
        norm="Linf" if norm == "linf" else "L2",
        eps=budget / 255,
        version="custom",
        device="cpu",
        seed=given.seed,
    )
    attack.attacks_to_run = ["apgd-ce", "apgd-t", "fab-t", "square"]
    for part in (attack.apgd, attack.fab):
        part.n_restarts = 1
    for part in (attack.fab, attack.apgd_targeted):
        part.n_target_classes = 9
    attack.square.n_queries = given.queries
    begin = time.process_time()
    found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    seconds = time.process_time() - begin
    found = (found[0] if isinstance(found, tuple) else found).reshape(x.shape)
    if norm == "linf":
        found = torch.round(found * 255) / 255
    change = (found - x).flatten(1) * 255
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    fooled = (classes(found) != y) & (size <= budget + 1e-3)
    theirs = {position for position, one in zip(positions, fooled) if not one}
    ours = {position for position, line in zip(positions, correct) if line[name] == ""}
    print(
        f"{norm} ≤ {budget:g}: of {len(x)} images AutoAttack leaves {len(theirs)} ({seconds:.0f} s), auto {len(ours)};",
        f"only AutoAttack fools {sorted(ours - theirs)}, only auto {sorted(theirs - ours)}",
    )
