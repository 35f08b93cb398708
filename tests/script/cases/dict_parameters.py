import numpy as np

np.random.seed(1)
X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def init_params(n_in, n_hidden):
    return {
        "W1": np.random.randn(n_in, n_hidden),
        "b1": np.zeros((1, n_hidden)),
        "W2": np.random.randn(n_hidden, 1),
        "b2": np.zeros((1, 1)),
    }


def forward(params, X):
    A1 = np.tanh(X @ params["W1"] + params["b1"])
    A2 = sigmoid(A1 @ params["W2"] + params["b2"])
    return A2, {"A1": A1, "A2": A2}


def backward(params, cache, X, Y):
    m = len(X)
    dZ2 = cache["A2"] - Y
    dZ1 = dZ2 @ params["W2"].T * (1 - cache["A1"] ** 2)
    return {
        "W1": X.T @ dZ1 / m,
        "b1": dZ1.sum(axis=0, keepdims=True) / m,
        "W2": cache["A1"].T @ dZ2 / m,
        "b2": dZ2.sum(axis=0, keepdims=True) / m,
    }


params = init_params(2, 4)
for i in range(6):
    A2, cache = forward(params, X)
    cost = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
    grads = backward(params, cache, X, Y)
    for key in params:
        params[key] = params[key] - 1.2 * grads[key]
    if i % 2 == 0:
        print("Cost after iteration %i: %f" % (i, cost))

