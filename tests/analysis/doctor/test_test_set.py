"""The doctor over correct scripts: the test set, and some whose shape looks like a mistake."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pytest

from tests.analysis.doctor.test_scripts import report_on, script_lesson
from tests.script.case_files import STEPPED
from tutor.analysis.doctor.examination import examine
from tutor.engine.open_runs import programs_for
from tutor.training.devices import use_one_thread


def test_no_rule_fires_on_the_scripts_of_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_one_thread()
    monkeypatch.chdir(tmp_path)
    found = {}
    for case in STEPPED:
        if case.missing:
            continue
        lesson = script_lesson(case.python(), case.path)
        monkeypatch.setattr(sys, "argv", [str(case.path), *case.arguments])
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            report = examine(lesson, compiled=programs_for, epochs=2)
        assert not report.failed, case.name
        assert report.epochs, case.name
        if codes := {finding.code for finding in report.findings}:
            found[case.name] = codes
    assert not found


CORRECT = {
    # The teacher's weights follow the student's: no optimizer holds them, and none should.
    "mean teacher": """
        import copy, torch
        from torch import nn
        torch.manual_seed(0)
        x = torch.randn(16, 4)
        student = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        teacher = copy.deepcopy(student)
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
        for epoch in range(5):
            with torch.no_grad():
                target = teacher(x).softmax(1)
            found = torch.log_softmax(student(x + 0.1 * torch.randn_like(x)), 1)
            loss = nn.functional.kl_div(found, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for p, q in zip(teacher.parameters(), student.parameters()):
                    p.mul_(0.9).add_(q, alpha=0.1)
    """,
    # The actor's loss leaves gradients in the critic, which are reset before its next backward.
    "actor and critic": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        actor, critic = nn.Linear(3, 2), nn.Linear(5, 1)
        of_actor = torch.optim.Adam(actor.parameters(), lr=1e-2)
        of_critic = torch.optim.Adam(critic.parameters(), lr=1e-2)
        s, r = torch.randn(16, 3), torch.randn(16, 1)
        for step in range(5):
            with torch.no_grad():
                action = actor(s)
            critic_loss = ((critic(torch.cat([s, action], 1)) - r) ** 2).mean()
            of_critic.zero_grad()
            critic_loss.backward()
            of_critic.step()
            actor_loss = -critic(torch.cat([s, actor(s)], 1)).mean()
            of_actor.zero_grad()
            actor_loss.backward()
            of_actor.step()
    """,
    # All pairs are meant, and so is the loss of a matrix's rows and columns.
    "contrastive pairs": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        a, b = torch.randn(8, 5), torch.randn(8, 6)
        fa, fb, scale = nn.Linear(5, 4), nn.Linear(6, 4), nn.Parameter(torch.tensor(1.0))
        optimizer = torch.optim.Adam([*fa.parameters(), *fb.parameters(), scale], lr=0.01)
        for step in range(5):
            logits = scale.exp() * nn.functional.normalize(fa(a)) @ nn.functional.normalize(fb(b)).T
            target = torch.arange(8)
            loss = nn.functional.cross_entropy(logits, target)
            loss = loss + nn.functional.cross_entropy(logits.T, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """,
    # Every point against every centre, as many centres as points.
    "radial basis": """
        import torch
        x = torch.linspace(-1, 1, 12)
        y, centres = x.sin(), torch.linspace(-1, 1, 12)
        weights = torch.zeros(12, requires_grad=True)
        optimizer = torch.optim.Adam([weights], lr=0.05)
        for epoch in range(5):
            features = torch.exp(-(x[:, None] - centres) ** 2 * 10)
            loss = torch.mean((features @ weights - y) ** 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """,
    # Frozen on purpose, and passed on with the rest.
    "frozen layers": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
        backbone = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
        for p in backbone.parameters():
            p.requires_grad = False
        model = nn.Sequential(backbone, nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(5):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    """,
    # A gradient of the input is a part of the loss.
    "differential equation": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        t = torch.linspace(0, 1, 10)[:, None].requires_grad_(True)
        for step in range(5):
            u = net(t)
            (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
            loss = ((du + u) ** 2).mean() + (u[0] - 1).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """,
    # The cost has a half in it, and so the gradient no 2.
    "half the squares": """
        import numpy as np
        rng = np.random.default_rng(0)
        X = rng.normal(size=(30, 3))
        y = X @ np.array([1.0, -2.0, 3.0])
        w, b, alpha, costs = np.zeros(3), 0.0, 0.1, []
        for i in range(20):
            error = X.dot(w) + b - y
            cost = (1 / (2 * len(y))) * np.sum(error ** 2)
            costs.append(cost)
            w = w - alpha * (1 / len(y)) * X.T.dot(error)
            b = b - alpha * (1 / len(y)) * np.sum(error)
    """,
    # A softmax whose probabilities no loss takes for logits.
    "policy gradient": """
        import torch
        from torch import nn
        from torch.distributions import Categorical
        torch.manual_seed(0)
        policy = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(dim=-1))
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
        for episode in range(5):
            chosen, rewards = [], []
            for t in range(4):
                odds = Categorical(policy(torch.randn(4)))
                action = odds.sample()
                chosen.append(odds.log_prob(action))
                rewards.append(float(action))
            returns = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
            loss = -(torch.stack(chosen) * (returns - returns.mean())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """,
}


@pytest.mark.parametrize("name", CORRECT)
def test_what_only_looks_like_a_mistake_is_none(name: str) -> None:
    assert not report_on(dedent(CORRECT[name])).findings
