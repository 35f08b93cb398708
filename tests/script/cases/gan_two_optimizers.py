import torch
import torch.nn as nn

torch.manual_seed(0)

latent_dim = 2
G = nn.Sequential(nn.Linear(latent_dim, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))
D = nn.Sequential(nn.Linear(1, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1), nn.Sigmoid())
bce = nn.BCELoss()
optimizer_D = torch.optim.Adam(D.parameters(), lr=0.01, betas=(0.5, 0.999))
optimizer_G = torch.optim.Adam(G.parameters(), lr=0.01, betas=(0.5, 0.999))

ones = torch.ones(8, 1)
zeros = torch.zeros(8, 1)

for epoch in range(3):
    for _ in range(2):
        real = 3 + 0.5 * torch.randn(8, 1)

        # discriminator
        fake = G(torch.randn(8, latent_dim)).detach()
        d_loss = bce(D(real), ones) + bce(D(fake), zeros)
        optimizer_D.zero_grad()
        d_loss.backward()
        optimizer_D.step()

        # generator
        fake = G(torch.randn(8, latent_dim))
        g_loss = bce(D(fake), ones)
        optimizer_G.zero_grad()
        g_loss.backward()
        optimizer_G.step()
    print(f"[{epoch}] D {d_loss.item():.4f} G {g_loss.item():.4f}")

