def train_model(model, x, y, epochs):
    for _ in range(epochs):
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad
            p.grad = None
    return loss.item()
