import torch
from torch import nn, optim

torch.manual_seed(1)

CONTEXT_SIZE = 2
EMBEDDING_DIM = 5
text = "the cat sat on the mat and slept".split()
vocab = sorted(set(text))
word_to_ix = {word: i for i, word in enumerate(vocab)}
ngrams = [([text[i], text[i + 1]], text[i + 2]) for i in range(len(text) - 2)]


class NGram(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, EMBEDDING_DIM)
        self.out = nn.Linear(CONTEXT_SIZE * EMBEDDING_DIM, vocab_size)

    def forward(self, ids):
        return self.out(self.embeddings(ids).view(1, -1)).log_softmax(dim=1)


model = NGram(len(vocab))
loss_function = nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
losses = []

for epoch in range(2):
    total_loss = 0
    for context, target in ngrams:
        context_idxs = torch.tensor([word_to_ix[w] for w in context])
        model.zero_grad()
        log_probs = model(context_idxs)
        loss = loss_function(log_probs, torch.tensor([word_to_ix[target]]))
        loss.backward()
        optimizer.step()
        total_loss += loss.item()
    losses.append(total_loss)
print(losses)
