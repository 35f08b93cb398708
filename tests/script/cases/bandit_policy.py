import numpy as np
import torch
from torch.distributions import Categorical

torch.manual_seed(0)
np.random.seed(0)
payout = [0.2, 0.5, 0.9]
logits = torch.zeros(3, requires_grad=True)
optimizer = torch.optim.Adam([logits], lr=0.1)
baseline = 0.0

for episode in range(6):
    policy = Categorical(logits=logits)
    action = policy.sample()
    reward = float(np.random.rand() < payout[action.item()])
    loss = -policy.log_prob(action) * (reward - baseline)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    baseline = 0.9 * baseline + 0.1 * reward
    print(f"episode {episode}: arm {action.item()} reward {reward:.0f}")
print(torch.softmax(logits, 0).tolist())
