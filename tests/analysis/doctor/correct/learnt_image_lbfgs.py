import torch
import torch.nn as nn

torch.manual_seed(0)
vgg = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
for p in vgg.parameters():
    p.requires_grad_(False)
content = torch.rand(1, 3, 8, 8)
image = content.clone().requires_grad_(True)
want = vgg(torch.rand(1, 3, 8, 8)).detach()
opt = torch.optim.LBFGS([image], max_iter=5)
run = [0]
while run[0] <= 10:

    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        opt.zero_grad()
        loss = nn.functional.mse_loss(vgg(image), want)
        loss.backward()
        run[0] += 1
        return loss

    opt.step(closure)
