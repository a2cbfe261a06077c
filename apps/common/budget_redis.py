"""Budgets in Redis or Valkey: one script that reads, decides and writes in one step. The same rules as `withdraw`."""

from __future__ import annotations

import functools
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.common.broker import TIMEOUT_S
from apps.common.budget import DEBT_US, FAR_US, Draw, Drawn, Limits, StoreUnreachable, Use

KEY = "hub:budget:{account}"
KEEP_S = 86_400
"""A budget that nobody used this long is full again, and forgotten."""

SCRIPT = """
local now, n, emptied = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local is_ask, is_forced = ARGV[4] == '1', ARGV[5] == '1'
local gap, burst, ask_gap, ask_burst = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local far, debt, keep = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])

local function begin(kept, gap, burst)
  local spent, full = tonumber(kept or '0'), burst * gap
  if spent > now + full + far then spent = now + full - gap end
  if emptied > 0 then spent = math.max(spent, emptied + full) end
  return math.max(spent, now)
end

local function finish(spent, gap, burst, count)
  return math.max(spent, math.min(spent + count * gap, now + burst * gap + debt))
end

local kept = redis.call('HMGET', KEYS[1], 'all', 'ask')
local all, ask = begin(kept[1], gap, burst), begin(kept[2], ask_gap, ask_burst)
local free = math.floor((now + burst * gap - all) / gap)
if is_ask then free = math.min(free, math.floor((now + ask_burst * ask_gap - ask) / ask_gap)) end
local count = n
if not is_forced then count = math.max(math.min(n, free), 0) end
all = finish(all, gap, burst, count)
if is_ask then ask = finish(ask, ask_gap, ask_burst, count) end
local retry = math.max(all - (burst - 1) * gap, now)
if is_ask then retry = math.max(retry, ask - (ask_burst - 1) * ask_gap) end
if count > 0 or is_forced then
  redis.call('HSET', KEYS[1], 'all', string.format('%.0f', all), 'ask', string.format('%.0f', ask))
  redis.call('EXPIRE', KEYS[1], keep + math.ceil((math.max(all, ask) - now) / 1000000))
end
return {count, retry, math.max(free - count, 0)}
"""


class RedisStore:
    """The budgets of all processes that share one Redis. It is asked once, and given a quarter of a second."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self._key = key
        self._client = _client(url)
        self._script = self._client.register_script(SCRIPT)

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        """Withdraw in one step; raises `StoreUnreachable` for whatever goes wrong there."""
        asked = (draw.now_us, draw.n, draw.emptied_us, int(draw.use is Use.ASK), int(draw.is_forced))
        known = (limits.gap_us, limits.burst, limits.ask_gap_us, limits.ask_burst, FAR_US, DEBT_US, KEEP_S)
        try:
            count, retry_us, left = self._script(keys=[self._key.format(account=account)], args=[*asked, *known])
        except (redis.RedisError, OSError) as error:
            raise StoreUnreachable(type(error).__name__) from error
        return Drawn(int(count), int(retry_us), int(left))


@functools.lru_cache(maxsize=4)
def _client(url: str) -> Any:
    return redis.Redis.from_url(
        url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
