import numpy as np

rng = np.random.default_rng(17)
X = rng.normal(size=(18, 3))
y = np.sign(X @ np.array([1.0, -1.0, 2.0]))

params = {"w": rng.normal(size=3) * 0.1, "b": 0.0}
m = {k: 0.0 for k in params}
v = {k: 0.0 for k in params}
lr, beta1, beta2, eps = 0.1, 0.9, 0.999, 1e-8

for t in range(1, 6):
    score = X @ params["w"] + params["b"]
    loss = np.log1p(np.exp(-y * score)).mean()
    s = -y / (1 + np.exp(y * score)) / len(y)
    grads = {"w": X.T @ s, "b": s.sum()}
    for k in params:
        m[k] = beta1 * m[k] + (1 - beta1) * grads[k]
        v[k] = beta2 * v[k] + (1 - beta2) * grads[k] ** 2
        m_hat = m[k] / (1 - beta1 ** t)
        v_hat = v[k] / (1 - beta2 ** t)
        params[k] = params[k] - lr * m_hat / (np.sqrt(v_hat) + eps)
    print(f"step {t}: loss {loss:.6f}")

