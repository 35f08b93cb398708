import numpy as np

# N is batch size; D_in is input dimension;
# H is hidden dimension; D_out is output dimension.
N, D_in, H, D_out = 10, 4, 6, 2
rng = np.random.default_rng(0)

x = rng.standard_normal((N, D_in))
y = rng.standard_normal((N, D_out))

W1 = rng.standard_normal((D_in, H)) * 0.5
b1 = np.zeros(H)
W2 = rng.standard_normal((H, D_out)) * 0.5
b2 = np.zeros(D_out)

alpha = 0.05
for it in range(5):
    # Forward pass
    z1 = x @ W1 + b1
    a1 = np.maximum(z1, 0)
    out = a1 @ W2 + b2

    # Loss
    L = np.square(out - y).sum() / N
    print("iter", it, "loss", L)

    # Backprop
    dout = 2.0 * (out - y) / N
    dW2 = a1.T @ dout
    db2 = dout.sum(axis=0)
    da1 = dout @ W2.T
    dz1 = da1 * (z1 > 0)
    dW1 = x.T @ dz1
    db1 = dz1.sum(axis=0)

    # Update
    W1 -= alpha * dW1
    b1 -= alpha * db1
    W2 -= alpha * dW2
    b2 -= alpha * db2

print("done")
