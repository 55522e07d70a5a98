"""A Flower federation of ten clients over a fading uplink: handwritten digits, FedAvg, one wrapped line at the server.

`python examples/flower_digits.py` simulates it; `flwr run` does with `serverapp = "flower_digits:server_app"` and
`clientapp = "flower_digits:client_app"` in the pyproject.toml of an app. The clients know nothing of the uplink.
"""

import torch
from sklearn.datasets import load_digits

try:
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation
except ModuleNotFoundError:
    raise SystemExit("this example needs Flower: pip install 'laser-wireless[flower]'") from None

from laser_wireless.channels import AnalogUplink, Rayleigh, TruncatedInversion
from laser_wireless.compression import LowRank
from laser_wireless.training.flower import UplinkStrategy

NUM_CLIENTS, NUM_ROUNDS = 10, 10
server_app = ServerApp()  # on two lines: `flwr run` looks for them without importing
client_app = ClientApp()


def network():
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Ten steps of SGD on every tenth image: any Flower client will do."""
    torch.set_num_threads(1)
    model = network()
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    partition = int(context.node_config["partition-id"])
    x, y = (part[:1500][partition::NUM_CLIENTS] for part in digits())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = torch.zeros(())
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    metrics = MetricRecord({"num-examples": len(y), "train-loss": loss.item(), "partition-id": partition})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


def accuracy(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    model = network()
    model.load_state_dict(arrays.to_torch_state_dict())
    x, y = (part[1500:] for part in digits())
    with torch.no_grad():
        return MetricRecord({"accuracy": (model(x).argmax(1) == y).float().mean().item()})


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    torch.manual_seed(0)
    strategy = UplinkStrategy(
        FedAvg(fraction_evaluate=0.0, min_train_nodes=NUM_CLIENTS),  # or FedProx, FedAdam, ...
        num_devices=NUM_CLIENTS,
        compressor=LowRank(rank=8),
        uplink=AnalogUplink(energy_budget=1e4, fading=Rayleigh(), power_control=TruncatedInversion(threshold=0.1)),
        device_key="partition-id",  # client k is radio k in every run
    )
    initial = ArrayRecord(network().state_dict())
    result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=NUM_ROUNDS, evaluate_fn=accuracy)
    print("round  accuracy  train-loss  energy spent  symbols  devices that sent")
    for number, metrics in result.train_metrics_clientapp.items():
        found = result.evaluate_metrics_serverapp[number]["accuracy"]
        print(
            f"{number:5}  {found:8.3f}  {metrics['train-loss']:10.3f}  {metrics['uplink.energy_spent']:12.0f}"
            f"  {metrics['uplink.num_symbols']:7}  {metrics['uplink.active_fraction']:17.0%}",
            flush=True,
        )


if __name__ == "__main__":
    run_simulation(server_app, client_app, num_supernodes=NUM_CLIENTS, backend_config={"client_resources": {"num_cpus": 1}})
