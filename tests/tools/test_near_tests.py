"""Which tests are nearest to an edit, and how a runner is asked for them."""

import pytest

from tools.near_scripts import is_script_test, near_scripts
from tools.near_tests import ids_of, is_test_file, near_tests

TESTS = {
    "tests/test_cart.py": "from shop.cart import total\n",
    "tests/test_orders.py": "import os\nfrom shop import (\n    cart,\n    orders,\n)\n",
    "tests/test_cart_rules.py": "import unittest\n",
    "tests/test_shop.py": "from shop import total as t\n",
    "tests/test_alone.py": "import json, unittest  # shop.cart\n",
    "lib/tests/test_deep.py": "    from ..a.deep import x\n",
}


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (
            "shop/cart.py",
            ("tests/test_cart.py", "tests/test_orders.py", "tests/test_cart_rules.py"),
        ),
        ("src/shop/orders.py", ("tests/test_orders.py",)),
        ("shop/hidden.py", ("tests/test_orders.py", "tests/test_shop.py")),
        ("shop/__init__.py", ("tests/test_shop.py", "tests/test_orders.py")),
        ("lib/a/deep.py", ("lib/tests/test_deep.py",)),
        ("tests/test_alone.py", ("tests/test_alone.py",)),
        ("other/thing.py", ()),
        ("tests/conftest.py", ()),
        ("README.md", ()),
    ],
)
def test_the_nearest_by_name_and_import_come_first(path: str, near: tuple[str, ...]) -> None:
    assert near_tests(path, TESTS) == near


@pytest.mark.parametrize(
    ("path", "is_test"),
    [
        ("tests/test_a.py", True),
        ("a_test.py", True),
        ("app/tests.py", True),
        ("tests/helpers.py", False),
        ("node_modules/x/test_a.py", False),
        (".cache/test_a.py", False),
        ("tests/test_a.js", False),
    ],
)
def test_what_a_test_file_is_called(path: str, is_test: bool) -> None:
    assert is_test_file(path) == is_test


SCRIPT_TESTS = {
    "src/cart.test.ts": "import { total } from './cart';\n",
    "src/__tests__/cart.js": "const { total } = require('../cart');\n",
    "src/orders.spec.tsx": "test('none', () => {});\n",
    "test/all.test.js": "import '../src/orders';\nimport util from \"../lib/\";\n",
    "other/cart.test.js": "import x from './cart';\n",
}


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("src/cart.ts", ("src/__tests__/cart.js", "src/cart.test.ts")),
        ("src/orders.tsx", ("test/all.test.js", "src/orders.spec.tsx")),
        ("lib/index.js", ("test/all.test.js",)),
        ("src/orders.spec.tsx", ("src/orders.spec.tsx",)),
        ("src/none.ts", ()),
        ("src/cart.css", ()),
    ],
)
def test_the_nearest_tests_of_a_script_are_beside_it_or_import_it(
    path: str, near: tuple[str, ...]
) -> None:
    assert near_scripts(path, SCRIPT_TESTS) == near


@pytest.mark.parametrize(
    ("path", "is_test"),
    [
        ("a.test.js", True),
        ("src/a.b.spec.mts", True),
        ("__tests__/a.jsx", True),
        ("src/test.js", False),
        ("a.test.py", False),
        ("node_modules/x/a.test.js", False),
    ],
)
def test_what_a_test_file_of_scripts_is_called(path: str, is_test: bool) -> None:
    assert is_script_test(path) == is_test


FILES = ("tests/test_a.py", "lib/tests/test_b.py")
DISCOVER = ("python", "-m", "unittest", "discover")


def both(name: str, prefix: str = "") -> tuple[str, str]:
    return (f"{prefix}{name}", f"{prefix}unittest.loader._FailedTest.{name}")


@pytest.mark.parametrize(
    ("command", "ids"),
    [
        (("python", "-m", "pytest", "-q"), FILES),
        (("uv", "run", "pytest"), FILES),
        (DISCOVER, (*both("tests.test_a"), *both("lib.tests.test_b"))),
        ((*DISCOVER, "-s", "tests/"), both("test_a")),
        (
            ("sh", "-c", f"{' '.join(DISCOVER)} -s tests && {' '.join(DISCOVER)} -s lib"),
            (*both("test_a", "tests/"), *both("tests.test_b", "lib/")),
        ),
        (("make", "test"), None),
    ],
)
def test_a_runner_is_asked_in_its_own_words(
    command: tuple[str, ...], ids: tuple[str, ...] | None
) -> None:
    assert ids_of(command, FILES) == ids
