"""A lesson that is right, as small as one can be, and folders that are the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

MINIMAL = """\
---
title: Two times
summary: One weight learns to double.
parameters: [w]
---
## Setup
```python
w = torch.tensor(1.0, requires_grad=True)
```

## Predict
```python
y_pred = w * 2
```

## Loss
```python
loss = (y_pred - 3) ** 2
```

## Gradient
```python
loss.backward()
```
"""


@pytest.fixture
def minimal() -> str:
    """The text of a valid lesson."""
    return MINIMAL


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty shipped folder; the learner's data folder and TUTOR_LESSONS are empty too."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr("tutor.lesson.library.shipped_folder", lambda: shipped)
    monkeypatch.setattr("platformdirs.user_data_path", lambda app: tmp_path / "data" / app)
    monkeypatch.delenv("TUTOR_LESSONS", raising=False)
    return shipped
