import torch

torch.manual_seed(42)
n_classes, n_features = 3, 4
X = torch.randn(21, n_features)
y = torch.randint(n_classes, (21,))
Y = torch.nn.functional.one_hot(y, n_classes).float()

W = torch.zeros(n_features, n_classes)
b = torch.zeros(n_classes)

def softmax(scores):
    e = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)

for epoch in range(5):
    probs = softmax(X @ W + b)
    nll = -(Y * probs.log()).sum(dim=1).mean()

    dscores = (probs - Y) / len(X)
    dW = X.t() @ dscores
    db = dscores.sum(0)

    W -= 0.5 * dW
    b -= 0.5 * db
    print("epoch", epoch, "nll", nll.item())

