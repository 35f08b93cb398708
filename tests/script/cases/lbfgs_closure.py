import torch

torch.manual_seed(0)
t = torch.linspace(0, 1, 20, dtype=torch.float64)
signal = 2.0 * torch.exp(-3.0 * t)

amplitude = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
decay = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([amplitude, decay], lr=0.5, max_iter=4)

for epoch in range(4):

    def closure():
        optimizer.zero_grad()
        model = amplitude * torch.exp(-decay * t)
        loss = ((model - signal) ** 2).sum()
        loss.backward()
        return loss

    value = optimizer.step(closure)
    print(epoch, "%.8f" % value.item())

print("amplitude", amplitude.item(), "decay", decay.item())
