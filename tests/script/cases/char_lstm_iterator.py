import torch
import torch.nn as nn

torch.manual_seed(1234)
corpus = "hello hello help "
chars = sorted(set(corpus))
stoi = {c: i for i, c in enumerate(chars)}
encoded = torch.tensor([stoi[c] for c in corpus])
seq_len = 4


class CharModel(nn.Module):
    def __init__(self, vocab, hidden=6):
        super().__init__()
        self.emb = nn.Embedding(vocab, 3)
        self.lstm = nn.LSTM(3, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, vocab)

    def forward(self, x, state):
        out, state = self.lstm(self.emb(x), state)
        return self.fc(out), state


def windows(data, length):
    for i in range(0, len(data) - length, length):
        yield data[i:i + length].unsqueeze(0), data[i + 1:i + length + 1].unsqueeze(0)


model = CharModel(len(chars))
opt = torch.optim.Adam(model.parameters(), lr=0.02)
ce = nn.CrossEntropyLoss()

for epoch in range(2):
    state = (torch.zeros(1, 1, 6), torch.zeros(1, 1, 6))
    it = windows(encoded, seq_len)
    while True:
        try:
            x, y = next(it)
        except StopIteration:
            break
        state = tuple(s.detach() for s in state)
        logits, state = model(x, state)
        loss = ce(logits.view(-1, len(chars)), y.view(-1))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        opt.step()
    print("epoch", epoch, "loss", loss.item())

