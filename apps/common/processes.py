"""What a process of ours says of itself when its work begins: whoever watches long-lived processes listens."""

from django.dispatch import Signal

started = Signal()
"""A process that lives as long as the hub begins its work. No arguments."""
