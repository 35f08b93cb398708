import torch
import torch.nn as nn


class LinearRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


def main():
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = torch.arange(0, 1, 0.05).unsqueeze(1).to(device)
    targets = (0.7 * inputs + 0.3).to(device)

    model = LinearRegression().to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    for epoch in range(1, 8):
        model.train()
        predictions = model(inputs)
        loss = criterion(predictions, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % 3 == 0:
            print("Epoch [%d/7], Loss: %.4f" % (epoch, loss.item()))

    model.eval()
    with torch.inference_mode():
        print(model(torch.tensor([[2.0]], device=device)).item())


if __name__ == "__main__":
    main()
