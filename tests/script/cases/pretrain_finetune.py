import torch
import torch.nn as nn


class AutoEncoder(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(d, k), nn.Tanh())
        self.decoder = nn.Linear(k, d)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def pretrain(ae, data, epochs):
    opt = torch.optim.Adam(ae.parameters(), lr=0.02)
    for epoch in range(epochs):
        for batch in data.split(6):
            reconstruction = ae(batch)
            loss = nn.functional.mse_loss(reconstruction, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print("pretrain", epoch, f"{loss.item():.5f}")


def finetune(encoder, data, labels, epochs):
    head = nn.Linear(2, 1)
    opt = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
    for epoch in range(epochs):
        opt.zero_grad()
        scores = head(encoder(data)).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, labels)
        loss.backward()
        opt.step()
    return loss.item()


if __name__ == "__main__":
    torch.manual_seed(31)
    data = torch.randn(18, 5)
    labels = (data[:, 0] > 0).float()
    model = AutoEncoder(5, 2)
    pretrain(model, data, 3)
    print("finetuned:", finetune(model.encoder, data, labels, 4))
