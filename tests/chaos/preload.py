"""What a command needs, loaded once in the process that all are forked from."""

from storaged.cli import app as app
from storaged.cli import catalog as catalog
from storaged.cli import context as context
from tests.chaos import command as command
