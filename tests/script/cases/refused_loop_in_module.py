import torch
from training_helpers import train_model

torch.manual_seed(0)
model = torch.nn.Linear(1, 1)
x = torch.randn(8, 1)
print(train_model(model, x, 2 * x, epochs=3))
