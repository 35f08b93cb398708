"""Every repair is passed by another fix than the solution that is shown."""

from __future__ import annotations

import pytest

from tests.lessons.runs import names_of, passes
from tests.lessons.snippets import (
    DEEP,
    DELTA,
    GRADCHECK,
    MEASURED,
    NO_GRAD,
    OF_BATCH,
    OPTIMIZER,
    START,
    TABLE,
    TENSORS,
    Change,
    changed_mistake,
    changed_solution,
    each,
)
from tutor.lesson.exercise import Repair

OTHER_FIXES: dict[str, list[str | Change]] = {
    "registered/register-it": [
        changed_mistake(
            "self.b = torch.zeros(1, requires_grad=True, device=device)",
            "self.register_parameter('b', torch.nn.Parameter(torch.zeros(1)))",
        )
    ],
    "registered/layers-in-a-list": [
        changed_mistake(
            "self.layers = [torch.nn.Linear(1, 1)]",
            "self.layers = torch.nn.Sequential(torch.nn.Linear(1, 1))",
        )
    ],
    "registered/nothing-moves": [
        changed_mistake("w, b = model[0]", f"optimizer = {OPTIMIZER}\nw, b = model[0]"),
        changed_mistake(
            "w, b = model[0]",
            "optimizer.add_param_group({'params': model.parameters()})\nw, b = model[0]",
        ),
    ],
    "batch-norm/constant-statistics": [
        "z = x @ w.T\n"
        "mean, var = z.mean(), z.var(correction=0)\n"
        "n = (z - z.mean()) / (((z - z.mean()) ** 2).mean() + 1e-5) ** 0.5\n"
        "y_pred = gamma * n + beta\n"
        "with torch.no_grad():\n"
        "    running_mean = 0.9 * running_mean + 0.1 * mean\n"
        "    running_var = 0.9 * running_var + 0.1 * z.var()"
    ],
    "batch-norm/one-alone": ["norm.eval()\nanswer = model(x_new).detach()\nnorm.train()"],
    "train-and-eval/two-answers": [
        "model.train(False)\n"
        "with torch.inference_mode():\n"
        "    first = model(x)\n"
        "    second = model(x)\n"
        "    loss = mse(second, y)\n"
        "model.train(True)",
        "model[0].eval()\n"
        "first = model(x)\n"
        "second = model(x)\n"
        "loss = mse(second, y)\n"
        "model[0].train()",
    ],
    "train-and-eval/no-way-back": [
        "was = model.training\n"
        "model.eval()\n"
        "with torch.no_grad():\n"
        "    first = second = model(x)\n"
        "    loss = mse(second, y)\n"
        "model.train(was)"
    ],
    "accumulate-and-clip/mean-of-means": [
        "loss = ((prediction - y_part) ** 2).mean() * len(y_part) / len(y)"
    ],
    "accumulate-and-clip/each-for-itself": ["if batch == 0:\n    w.grad = None"],
    "accumulate-and-clip/clipped-too-often": [
        "if batch == 3:\n"
        "    torch.nn.utils.clip_grad_norm_(w, max_norm=1)\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()"
    ],
    "adam/no-correction": [
        NO_GRAD + "t += 1\n"
        "    m = 0.9 * m + 0.1 * w.grad\n"
        "    v = 0.999 * v + 0.001 * w.grad**2\n"
        "    w -= learning_rate * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (v**0.5 + 1e-8)"
    ],
    "backward-twice/water-that-stays": [
        "total = total + loss.item()\nevening = torch.tensor(level.item())",
        "total = total + loss.item()\nevening = level.item()",
    ],
    "backward-twice/twice-as-fast": ["loss.backward(retain_graph=True)"],
    "mini-batches/shuffled-apart": [
        "if batch == 0:\n"
        "    order = torch.randperm(8)\n"
        "x_batch = x[order][2 * batch : 2 * batch + 2]\n"
        "y_batch = y[order][2 * batch : 2 * batch + 2]\n"
        "prediction = w * x_batch"
    ],
    "before-backward/looked-too-early": [
        "loss.backward()\nstep = (w.grad * -learning_rate).item()"
    ],
    "before-backward/kept-too-long": [
        "loss.backward()\nkept = w.grad.item()",
        "loss.backward()\nkept = w.grad\nw.grad = w.grad.clone()",
    ],
    "broadcasting/lost-dimension": [
        TABLE + "x, y = table[:, 0], table[:, 1]\n" + START,
        TABLE + "x, y = table.split(1, dim=1)\n" + START,
    ],
    "broadcasting/one-target-short": [TABLE + "x, y = table[:, :1], table[:, 1:]\n" + START],
    "bigram/one-hot-rows": [
        "one_hot = torch.nn.functional.one_hot(x, 3).float()\n"
        "z = one_hot @ model.weight\n"
        "p = softmax(z)",
        "z = torch.nn.functional.embedding(x, w)\np = softmax(z)",
    ],
    "bigram/resume": [
        "epochs_done += 1\n"
        "if epochs_done == 5:\n"
        "    saved = through_a_buffer([model.state_dict(), optimizer.state_dict()])\n"
        "    model = torch.nn.Embedding(3, 3)\n"
        "    model.load_state_dict(saved[0])\n"
        "    w = model.weight\n"
        "    optimizer = torch.optim.SGD([w], lr=1)\n"
        "    optimizer.load_state_dict(saved[1])"
    ],
    "chain-of-three/forgotten-road": ["dw = 2 * (y_pred - y) * (a + b) * x"],
    "cpu-and-gpu/mixed-types": ["y_pred = model(x.double().float())"],
    "cpu-and-gpu/leaf-that-travelled": [
        "readings = np.array([0.5, 1.0, 2.0])\n"
        "x = torch.tensor(readings, dtype=torch.float32, device=device)\n"
        "y = 3 * x\n"
        "w = torch.tensor(0.0, dtype=torch.float64).to(device, torch.float32).requires_grad_()"
    ],
    "cross-entropy/softmax-twice": [
        "loss = torch.nn.functional.cross_entropy(z, y)",
        "loss = -log(p[each, y]).mean()",
    ],
    "cross-entropy/target-type": [
        "loss = -log(p[each, y.float().int()]).mean()",
        "loss = torch.nn.functional.cross_entropy(z, y)",
    ],
    "dead-relu/a-leak": [
        "z = w * x + b\ny_pred = torch.nn.functional.leaky_relu(z, 0.2)",
        "z = w * x + b\ny_pred = torch.where(z > 0, z, 0.1 * z)",
        "z = w * x + b\ny_pred = torch.nn.functional.elu(z)",
    ],
    "detach/cut-on-the-wrong-side": [
        "y_pred = w * x\ny = (t * x).detach()",
        "y_pred = w * x\nwith torch.no_grad():\n    y = t * x",
    ],
    "detach/respect": ["y_pred = w * x\ny = t.detach() * x"],
    "finite-differences/gradcheck": [
        GRADCHECK.format(
            "torch.tensor(1.3).double().requires_grad_()",
            "torch.autograd.gradcheck(noted, (point,))",
        )
    ],
    "finite-differences/one-sided": ["slope = (f(w + h / 2) - f(w - h / 2)) / h"],
    "forgotten-zero/the-missing-line": [
        "w.grad = None",
        "w.grad *= 0",
        "w.grad = torch.zeros_like(w)",
    ],
    "forgotten-zero/zero-before-there-is-one": ["w.grad = None\ny_pred = w * x"],
    "leaf-in-place/without-no-grad": ["w.data -= learning_rate * w.grad"],
    "leaf-in-place/no-negative-price": [
        NO_GRAD + "w -= learning_rate * w.grad\n    w.copy_(torch.relu(w))"
    ],
    "line-through-origin/up-the-slope": [NO_GRAD + "w += -learning_rate * w.grad"],
    "line-through-origin/squeezed": [
        "y_pred = model(x).squeeze().reshape(4, 1)",
        "y_pred = model(x).squeeze()\ny = y.squeeze()",
    ],
    "logistic/log-of-zero": [
        "log_p = torch.nn.functional.logsigmoid\n"
        "loss = -(y * log_p(z) + (1 - y) * log_p(-z)).mean()",
        "loss = (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()",
    ],
    "logistic/logits-in-the-wrong-place": ["loss = bce(z, y)"],
    "lost-leaf/a-new-w": ["w.data -= learning_rate * w.grad"],
    "lost-leaf/lost-in-setup": [
        "x = torch.tensor([1.0, 2.0])\ny = 3 * x\nw = torch.tensor(1.0, requires_grad=True)"
    ],
    "lost-leaf/a-plain-w": [NO_GRAD + "w = (w - learning_rate * w.grad).requires_grad_()"],
    "momentum/a-new-optimizer": ["optimizer.step()\noptimizer.zero_grad()"],
    "scaling-inputs/scaled-again": ["y_pred = (x * w).sum(axis=1)"],
    "overwritten/nobody-counts": [
        "h = u * x\ny_pred = h + v * h",
        "h = u * x\ny_pred = h.copy()\ny_pred += v * h",
    ],
    "overwritten/written-over": [
        "h = u * x\nh = h + v * h\ny_pred = h",
        "h = u * x\ny_pred = h.clone()\ny_pred += v * h",
    ],
    "overwritten/step-too-early": ["(first + second).backward()", "loss.backward()"],
    "schedules/two-steps": [
        "optimizer.step()\nt += 1\nscheduler.step()\nrates = np.array(scheduler.get_last_lr())"
    ],
    "starting-weights/root-forgotten": [
        DEEP + "z = 0.27 * z\nw = torch.ones(5, requires_grad=True)",
        DEEP + "for matrix in z:\n    torch.nn.init.kaiming_normal_(matrix, generator=draw)\n"
        "w = torch.ones(5, requires_grad=True)",
    ],
    "sum-or-mean/a-true-mean": ["dw = float(np.dot(2 * x, y_pred - y)) / len(x)"],
    "tensors/whole-number": [
        TENSORS + "w = torch.tensor(1, dtype=torch.float32, requires_grad=True)\n"
        "b = torch.tensor(1.0, requires_grad=True)",
        TENSORS + "w = torch.tensor(1, dtype=torch.float64, requires_grad=True)\n"
        "b = torch.tensor(1.0, requires_grad=True)",
    ],
    "tensors/squeezed-too-early": [
        "y_pred = layer(x)[:, 0]",
        "y_pred = layer(x.squeeze().unsqueeze(1)).squeeze()",
    ],
    "tensors/a-plain-number": ["loss = ((y_pred - y) ** 2).mean()\nshown = float(loss)"],
    "thermometer/parts-of-a-leaf": [
        "params.data -= learning_rate * params.grad",
        NO_GRAD + "w -= learning_rate * params.grad[0]\n    b -= learning_rate * params.grad[1]",
    ],
    "thermometer/centred": [
        "w, b = params\nmean = x.mean()\nc_pred = w * (x - mean) / (x - mean).std() + b"
    ],
    "validation/best-weights-lost": [
        MEASURED + "if val_loss < best_loss:\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, w.tolist()\n"
        "loss = train_loss",
        MEASURED + "if val_loss < best_loss:\n"
        "    import copy\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, copy.deepcopy(w)\n"
        "loss = train_loss",
    ],
    "validation/plot-the-curve": [
        "train_loss = mse(x @ w, y).detach().numpy()\n"
        "val_loss = mse(x_val @ w, y_val).item()\n"
        "epochs_done += 1\n"
        "if val_loss < best_loss:\n"
        "    best_loss, best_epoch, best_w = val_loss, epochs_done, w.detach().clone()\n"
        "loss = train_loss"
    ],
    "vanishing/let-it-through": [
        changed_solution("torch.tanh(z)", "torch.relu(z)"),
        changed_solution("torch.tanh(z)", "z * (z > 0)"),
        changed_solution(
            "def activation(z):\n    return torch.tanh(z)", "activation = torch.nn.ELU()"
        ),
    ],
    "weight-decay/not-yet-adamw": [
        NO_GRAD + "w_sgd -= learning_rate * (w_sgd.grad + decay * w_sgd)\n"
        "    t += 1\n"
        "    g = w_adam.grad + decay * w_adam\n"
        "    m_adam, v_adam = 0.9 * m_adam + 0.1 * g, 0.999 * v_adam + 0.001 * g**2\n"
        "    w_adam -= learning_rate * direction(m_adam, v_adam, t)\n"
        "    m_adamw = 0.9 * m_adamw + 0.1 * w_adamw.grad\n"
        "    v_adamw = 0.999 * v_adamw + 0.001 * w_adamw.grad**2\n"
        "    step = direction(m_adamw, v_adamw, t) + decay * w_adamw\n"
        "    w_adamw -= learning_rate * step"
    ],
    "vector-backward/no-scalar": [
        "loss.backward()",
        "torch.autograd.backward(y_pred, 2 * (y_pred - y))",
    ],
    "vector-backward/a-sum-is-a-v": [
        "y_pred.backward(2 * (y_pred - y).detach())",
        "((y_pred - y) ** 2).backward(torch.ones(3))",
    ],
    "why-activations/in-the-wrong-place": [
        "h = torch.tanh(x @ w1.T + b1)\ny_pred = h @ w2.T + b2",
        "h = (x @ w1.T + b1).clamp(min=0)\ny_pred = h @ w2.T + b2",
        "h = torch.nn.functional.leaky_relu(torch.relu(x) @ w1.T + b1)\ny_pred = h @ w2.T + b2",
    ],
    "where-nan-is-born/mask-after": [
        "falls = h > 0\nz = w * h + 1e-12\ny_pred = where(falls, sqrt(z), 0.0)",
        "z = (w * h).clamp(min=1e-12)\ny_pred = sqrt(z)",
        "falls = h > 0\nz = (w * h)[falls]\ny_pred = torch.zeros(4)\ny_pred[falls] = sqrt(z)",
    ],
    "where-nan-is-born/log-after": [
        "ratio = torch.log(y_pred[falls]) - torch.log(y[falls])\nloss = (ratio**2).sum() / 4"
    ],
    "xor/lost-sigmoid": [
        "delta2 = 2 * (o2 - y[batch]) * (o2 - o2**2)\n"
        "dw2, db2 = np.outer(o1, delta2), delta2\n"
        "delta1 = (w2 @ delta2) * (z1 > 0)\n"
        "dw1, db1 = np.outer(x[batch], delta1), delta1"
    ],
    "xor/four-added-up": [
        "for parameter in (w1, b1, w2, b2):\n"
        "    if parameter.grad is not None:\n"
        "        parameter.grad.zero_()"
    ],
    "your-own-autograd/a-product-without-edges": [
        changed_solution(
            "(self, other.value), (other, self.value)", "(other, self.value), (self, other.value)"
        )
    ],
    "your-own-autograd/each-node-once": [
        "def hand_back(node, part):\n"
        "    node.grad += part\n"
        "    for source, local in node.edges:\n"
        "        hand_back(source, local * part)\n"
        "hand_back(top, 1.0)\n"
        "dw = w_node.grad",
        "top.grad = 1.0\n"
        "for node in in_order(top, [])[::-1]:\n"
        "    for edge in node.edges:\n"
        "        edge[0].grad = edge[0].grad + edge[1] * node.grad\n"
        "dw = w_node.grad",
    ],
    "two-workers/forgot-to-divide": [
        "w.grad /= dist.get_world_size()\ndist.all_reduce(w.grad)",
        "parts = [torch.zeros_like(w.grad) for _ in range(world_size)]\n"
        "dist.all_gather(parts, w.grad)\n"
        "w.grad = torch.stack(parts).mean()",
    ],
    "two-workers/one-start": [
        changed_mistake("manual_seed(rank)", "manual_seed(0)"),
        changed_mistake("w.requires_grad_()", "w.requires_grad_()\ndist.broadcast(w.detach(), 0)"),
    ],
    "ddp/past-the-wrapper": [
        changed_mistake("net(x_batch)", "model.forward(x_batch)"),
        changed_mistake("net(x_batch)", "model(x[chosen])"),
    ],
    "ddp/same-order": [
        "if batch == 0:\n"
        "    sampler = torch.utils.data.DistributedSampler(x, seed=epochs_done)\n"
        "    order = [*sampler]\n" + OF_BATCH,
        changed_mistake("order = ", "sampler.epoch = epochs_done\n    order = "),
    ],
    "layer-gradient/wrong-axis": [
        DELTA + "dW = X.T @ delta\ndb = np.ones(4) @ delta",
        DELTA + "dW = (delta.T @ X).T\ndb = delta.T.sum(axis=1)",
    ],
    "layer-gradient/one-sum-for-both": [DELTA + "dW = X.T @ delta\ndb = sum(delta)"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("where", "code"), each(OTHER_FIXES))
def test_a_repair_is_passed_by_another_good_fix(where: str, code: str) -> None:
    assert passes(where, code)


def test_each_repair_has_another_good_fix() -> None:
    assert set(OTHER_FIXES) == set(names_of(Repair))
