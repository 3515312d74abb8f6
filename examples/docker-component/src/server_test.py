import os
import unittest
from unittest import mock

from server import body


class BodyTest(unittest.TestCase):
    @mock.patch.dict(os.environ, {"GREETING": "Hello"})
    def test_greets(self):
        self.assertEqual(body(), b"Hello\n")
