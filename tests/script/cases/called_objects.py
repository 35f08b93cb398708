import torch

torch.manual_seed(0)
features = torch.randn(24, 2)
labels = (features.sum(1, keepdim=True) > 0).float()
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, labels), batch_size=8)


class StepRunner:
    def __init__(self, net, loss_fn, stage="train", optimizer=None):
        self.net, self.loss_fn, self.stage, self.optimizer = net, loss_fn, stage, optimizer

    def step(self, features, labels):
        preds = self.net(features)
        loss = self.loss_fn(preds, labels)
        if self.optimizer is not None and self.stage == "train":
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.item()

    @torch.no_grad()
    def evaluated(self, features, labels):
        self.net.eval()
        return self.step(features, labels)

    def __call__(self, features, labels):
        if self.stage == "train":
            self.net.train()
            return self.step(features, labels)
        return self.evaluated(features, labels)


class EpochRunner:
    def __init__(self, steprunner):
        self.steprunner = steprunner

    def __call__(self, dataloader):
        total = 0
        for batch in dataloader:
            total += self.steprunner(*batch)
        return total / len(dataloader)


def train_model(net, optimizer, loss_fn, data, epochs=4):
    for epoch in range(1, epochs + 1):
        train = EpochRunner(StepRunner(net, loss_fn, "train", optimizer))
        mean = train(data)
        check = EpochRunner(StepRunner(net, loss_fn, "val"))
        with torch.no_grad():
            print(epoch, f"{mean:.4f} {check(data):.4f}")


net = torch.nn.Linear(2, 1)
optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
train_model(net, optimizer, torch.nn.BCEWithLogitsLoss(), data)
