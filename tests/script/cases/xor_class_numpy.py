import numpy as np


class NeuralNetwork:
    def __init__(self, x, y):
        rng = np.random.RandomState(1)
        self.input = x
        self.weights1 = rng.rand(self.input.shape[1], 4)
        self.weights2 = rng.rand(4, 1)
        self.y = y
        self.output = np.zeros(self.y.shape)

    def feedforward(self):
        self.layer1 = self.sigmoid(np.dot(self.input, self.weights1))
        self.output = self.sigmoid(np.dot(self.layer1, self.weights2))

    def backprop(self):
        d_out = 2 * (self.y - self.output) * self.output * (1 - self.output)
        d_weights2 = np.dot(self.layer1.T, d_out)
        d_weights1 = np.dot(self.input.T, np.dot(d_out, self.weights2.T) * self.layer1 * (1 - self.layer1))

        self.weights1 += d_weights1
        self.weights2 += d_weights2

    def sigmoid(self, x):
        return 1.0 / (1 + np.exp(-x))


X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
y = np.array([[0], [1], [1], [0]])
nn = NeuralNetwork(X, y)
for i in range(6):
    nn.feedforward()
    nn.backprop()
    if i % 2 == 0:
        print("Loss:", np.mean(np.square(y - nn.output)))
print(nn.output.round(3))
