import asyncio

import torch


async def train(lr, epochs):
    w = torch.tensor(4.0, requires_grad=True)
    for epoch in range(epochs):
        loss = w ** 2
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
        w.grad = None
        await asyncio.sleep(0)
    return w.item()


print(asyncio.run(train(0.1, 3)))
