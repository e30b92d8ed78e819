# SPDX-License-Identifier: Apache-2.0
import os
import pathlib

import pytest

SOURCE = pathlib.Path(os.environ.get("BISPARSE_SOURCE", pathlib.Path(__file__).parents[2]))


@pytest.fixture
def golden():
    return SOURCE / "tests" / "golden"


@pytest.fixture
def source():
    return SOURCE
