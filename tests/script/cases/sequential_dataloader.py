import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)

features = torch.randn(24, 3)
labels = (features.sum(dim=1) > 0).long()
train_loader = DataLoader(TensorDataset(features, labels), batch_size=8, shuffle=True)

net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
loss_fn = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)

for epoch in range(3):
    running_loss = 0.0
    correct = 0
    for batch_idx, (data, target) in enumerate(train_loader):
        opt.zero_grad()
        logits = net(data)
        loss = loss_fn(logits, target)
        loss.backward()
        opt.step()
        running_loss += loss.item() * data.size(0)
        correct += (logits.argmax(1) == target).sum().item()
    epoch_loss = running_loss / len(train_loader.dataset)
    print(f"Epoch {epoch+1}: loss {epoch_loss:.4f}, accuracy {correct / len(labels):.2%}")

