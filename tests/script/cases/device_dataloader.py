import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
if torch.cuda.is_available():
    torch.cuda.manual_seed_all(7)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print("using", device.type)

inputs = torch.randn(24, 4)
labels = (inputs[:, 0] > 0).long()
train_set = TensorDataset(inputs[:16], labels[:16])
test_set = TensorDataset(inputs[16:], labels[16:])
pin = device.type == "cuda"
train_loader = DataLoader(train_set, batch_size=8, shuffle=True, pin_memory=pin)
test_loader = DataLoader(test_set, batch_size=8, pin_memory=pin)

model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
model = model.to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    model.train()
    for data, target in train_loader:
        data, target = data.to(device, non_blocking=True), target.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        output = model(data)
        loss = F.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            correct += (model(data).argmax(1) == target).sum().item()
    print(f"epoch {epoch}: accuracy {correct / len(test_set):.2f}")
