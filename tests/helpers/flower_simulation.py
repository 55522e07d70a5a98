"""Two rounds of Flower's simulation, four clients, by FedAvg, over an uplink without noise, and with: models to a file."""

import sys

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from sklearn.datasets import load_digits

from laser_wireless.channels import AnalogUplink
from laser_wireless.compression import Uncompressed
from laser_wireless.training.flower import UplinkStrategy

server_app, client_app = ServerApp(), ClientApp()


def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


@client_app.train()
def train(message, context):
    torch.set_num_threads(1)
    model = torch.nn.Linear(64, 10)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    partition = context.node_config["partition-id"]
    x, y = (part[partition * partition * 100 : (partition + 1) ** 2 * 100] for part in digits())  # 100, 300, 500, 700
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, gradient in zip(model.parameters(), gradients, strict=True):
                p -= gradient
    metrics = MetricRecord({"num-examples": len(y)})
    return Message(content=RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


@server_app.main()
def main(grid, context):
    initial = {"weight": torch.zeros(10, 64), "bias": torch.zeros(10)}
    found = {}
    for name, noise_variance in (("plain", None), ("uplink", 0.0), ("noisy", 1e-2)):
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=4)  # in round 1 too, when nodes still connect
        if noise_variance is not None:
            uplink = AnalogUplink(energy_budget=10.0, noise_variance=noise_variance)
            strategy = UplinkStrategy(strategy, num_devices=4, compressor=Uncompressed(), uplink=uplink)
        result = strategy.start(grid=grid, initial_arrays=ArrayRecord(initial), num_rounds=2)
        found |= {f"{name}/{key}": array.numpy() for key, array in result.arrays.items()}
    x, y = digits()
    right = (x.numpy() @ found["uplink/weight"].T + found["uplink/bias"]).argmax(1) == y.numpy()
    np.savez(sys.argv[1], accuracy=right.mean(), **found)


if __name__ == "__main__":
    run_simulation(server_app, client_app, num_supernodes=4, backend_config={"client_resources": {"num_cpus": 1}})
