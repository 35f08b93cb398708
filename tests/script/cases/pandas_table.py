import io
import numpy as np
import pandas as pd

CSV = """hours,sleep,score
1,8,52
2,7,58
3,8,66
4,6,69
5,7,77
6,8,85
"""
df = pd.read_csv(io.StringIO(CSV))
df[["hours", "sleep"]] = (df[["hours", "sleep"]] - df[["hours", "sleep"]].mean()) / df[["hours", "sleep"]].std()
X = df[["hours", "sleep"]].to_numpy()
y = df["score"].to_numpy(dtype=float)
weights = np.zeros(X.shape[1])
bias = 0.0
history = []
for epoch in range(5):
    y_hat = X.dot(weights) + bias
    mse = ((y_hat - y) ** 2).mean()
    grad_w = 2 * X.T.dot(y_hat - y) / len(y)
    grad_b = 2 * (y_hat - y).mean()
    weights -= 0.2 * grad_w
    bias -= 0.2 * grad_b
    history.append({"epoch": epoch, "mse": mse})
print(pd.DataFrame(history).round(3).to_string(index=False))
