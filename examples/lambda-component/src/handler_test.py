"""Run with `GREETING=Hello python3 -m unittest handler_test` in this folder; kept out of the release by cdflow.yml."""

import unittest

from handler import handle


class Handle(unittest.TestCase):
    def test_greets_by_name(self):
        self.assertEqual(handle({"name": "Ada"}, None), {"greeting": "Hello, Ada!"})


if __name__ == "__main__":
    unittest.main()
