"""kafka-python 2.0 behind the helper contract: the helper of the newest, in a venv of its own.

From Python 3.12 on, the `six` that this version brings no longer loads; the real one takes its place.
"""
import sys

import six
import six.moves

sys.modules["kafka.vendor.six"] = six
sys.modules["kafka.vendor.six.moves"] = six.moves

import kafka  # noqa: E402
from contract import main  # noqa: E402
from kafka_python_client import Client  # noqa: E402

main(Client, kafka.__version__)
