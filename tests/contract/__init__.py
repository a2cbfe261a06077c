"""Contract tests: every provider adapter answers the same questions."""

import pytest

pytest.register_assert_rewrite("tests.contract.suite")
