"""Ways in which people are told of alerts: e-mail, Slack, and signed webhooks."""

from cdc.runtime.channels.channel import Channel, NotSent
from cdc.runtime.channels.configured import configured_channels
from cdc.runtime.channels.delivery import Delivery, deliver

__all__ = ["Channel", "Delivery", "NotSent", "configured_channels", "deliver"]
