# The actor's loss leaves gradients in the critic, which are reset before its next backward.

import torch
from torch import nn
torch.manual_seed(0)
actor, critic = nn.Linear(3, 2), nn.Linear(5, 1)
of_actor = torch.optim.Adam(actor.parameters(), lr=1e-2)
of_critic = torch.optim.Adam(critic.parameters(), lr=1e-2)
s, r = torch.randn(16, 3), torch.randn(16, 1)
for step in range(5):
    with torch.no_grad():
        action = actor(s)
    critic_loss = ((critic(torch.cat([s, action], 1)) - r) ** 2).mean()
    of_critic.zero_grad()
    critic_loss.backward()
    of_critic.step()
    actor_loss = -critic(torch.cat([s, actor(s)], 1)).mean()
    of_actor.zero_grad()
    actor_loss.backward()
    of_actor.step()
