import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self, n_hidden=8):
        super().__init__()
        self.fc1 = nn.Linear(4, n_hidden)
        self.fc2 = nn.Linear(n_hidden, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def train_one_epoch(model, loader, optimizer, device):
    model.train()
    total_loss = 0
    for X, y in loader:
        X, y = X.to(device), y.to(device)
        pred = model(X)
        loss = F.cross_entropy(pred, y)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        total_loss += loss.item()
    return total_loss / len(loader)


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    hits, count = 0, 0
    for X, y in loader:
        hits += (model(X.to(device)).argmax(1) == y.to(device)).sum().item()
        count += len(y)
    return hits / count


def main():
    torch.manual_seed(2024)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = torch.randn(40, 4)
    target = data[:, :3].argmax(1)
    train_set, test_set = random_split(TensorDataset(data, target), [30, 10])
    train_loader = DataLoader(train_set, batch_size=10, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=10)

    model = Net().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=1e-4)
    for epoch in range(3):
        train_loss = train_one_epoch(model, train_loader, optimizer, device)
        acc = evaluate(model, test_loader, device)
        print(f"[{epoch + 1}] train loss: {train_loss:.5f}  test acc: {acc:.2f}")


if __name__ == "__main__":
    main()
