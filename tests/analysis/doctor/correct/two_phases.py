import copy

import torch
import torch.nn as nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(48, 5)
y = (X[:, 0] > 0).long()
loaders = {
    "train": DataLoader(TensorDataset(X[:32], y[:32]), batch_size=16, shuffle=True),
    "val": DataLoader(TensorDataset(X[32:], y[32:]), batch_size=16),
}
sizes = {"train": 32, "val": 16}


def train_model(model, criterion, optimizer, scheduler, num_epochs=2):
    best = copy.deepcopy(model.state_dict())
    best_acc = 0.0
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data)
            if phase == "train":
                scheduler.step()
            acc = running_corrects.double() / sizes[phase]
            if phase == "val" and acc > best_acc:
                best_acc = acc
                best = copy.deepcopy(model.state_dict())
        print(epoch, float(acc))
    model.load_state_dict(best)
    return model


model = nn.Sequential(
    nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2)
)
for p in model[0].parameters():
    p.requires_grad = False
opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
train_model(model, nn.CrossEntropyLoss(), opt, lr_scheduler.StepLR(opt, step_size=2, gamma=0.1))
