import torch
from torch import nn

torch.manual_seed(61)
device = "cuda" if torch.cuda.is_available() else "cpu"
use_amp = device == "cuda"
net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).to(device)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
scaler = torch.amp.GradScaler(device, enabled=use_amp)
data = [torch.randn(5, 6, device=device) for _ in range(2)]
targets = [torch.randn(5, 1, device=device) for _ in range(2)]
loss_fn = nn.MSELoss()

for epoch in range(3):
    for input, target in zip(data, targets):
        with torch.autocast(device_type=device, enabled=use_amp):
            output = net(input)
            loss = loss_fn(output, target)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    print(epoch, f"{loss.item():.5f}")

