import torch as th

th.manual_seed(12)
n = 20
x0 = th.randn(n, 2) - 1.5
x1 = th.randn(n, 2) + 1.5
X = th.cat([x0, x1])
t = th.cat([th.zeros(n), th.ones(n)])

params = {"w": th.zeros(2, requires_grad=True), "b": th.zeros(1, requires_grad=True)}
optim = th.optim.SGD(params.values(), lr=0.5)
history = {"loss": [], "accuracy": []}

for epoch in range(1, 6):
    p = th.sigmoid(X @ params["w"] + params["b"])
    loss = th.nn.functional.binary_cross_entropy(p, t)
    optim.zero_grad()
    loss.backward()
    optim.step()
    history["loss"].append(loss.item())
    history["accuracy"].append(((p > 0.5) == t.bool()).float().mean().item())
for key, values in history.items():
    print(key, [f"{v:.4f}" for v in values])
