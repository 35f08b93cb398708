import numpy as np
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 2))
y = (X[:, 0] > 0).astype(int)
clf = LogisticRegression(max_iter=200)
clf.fit(X, y)
print(clf.score(X, y))
