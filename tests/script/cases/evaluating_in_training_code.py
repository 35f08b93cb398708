import torch

torch.manual_seed(0)
features = torch.randn(24, 2)
labels = (features.sum(1, keepdim=True) > 0).float()
data = torch.utils.data.TensorDataset(features, labels)
train, val = torch.utils.data.random_split(data, [16, 8])
train = torch.utils.data.DataLoader(train, batch_size=8)
val = torch.utils.data.DataLoader(val, batch_size=4)
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
loss_fn = torch.nn.BCEWithLogitsLoss()


def run_epoch(loader, training):
    total = 0
    for x, y in loader:
        out = net(x)
        loss = loss_fn(out, y)
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total += loss.item()
    return total / len(loader)


for epoch in range(3):
    mean = run_epoch(train, True)
    with torch.no_grad():
        check = run_epoch(val, False)
    print(epoch, f"{mean:.4f} {check:.4f}")
