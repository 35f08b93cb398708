import torch
import torch.nn as nn

torch.manual_seed(5)

X_train, y_train = torch.randn(30, 6), torch.randint(0, 2, (30, 1)).float()
X_val, y_val = torch.randn(10, 6), torch.randint(0, 2, (10, 1)).float()


class MLP(nn.Module):
    def __init__(self, d_in, d_hidden, p):
        super().__init__()
        self.block = nn.Sequential(
            nn.Linear(d_in, d_hidden),
            nn.BatchNorm1d(d_hidden),
            nn.ReLU(),
            nn.Dropout(p),
        )
        self.head = nn.Linear(d_hidden, 1)

    def forward(self, x):
        return self.head(self.block(x))


mlp = MLP(6, 8, p=0.3)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.AdamW(mlp.parameters(), lr=3e-3, weight_decay=0.01)

for epoch in range(4):
    mlp.train()
    for i in range(0, 30, 10):
        xb = X_train[i:i + 10]
        yb = y_train[i:i + 10]
        score = mlp(xb)
        loss = criterion(score, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    mlp.eval()
    with torch.no_grad():
        val_loss = criterion(mlp(X_val), y_val)
    print(f"epoch {epoch:02d} train {loss.item():.4f} val {val_loss.item():.4f}")

