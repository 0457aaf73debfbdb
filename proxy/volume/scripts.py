# SPDX-License-Identifier: Apache-2.0
"""What Redis runs, and what it answers. Each script is one step to everybody else who counts.

A tally is a sorted set: member, scored by when it was last seen, in microseconds of the server's clock. Scores of a set
never repeat nor go back, also where that clock does. So a member's score says who put it there last: what is taken
back is taken only where nobody has seen the member since.

A set that grows ``SPARE`` members beyond what rules tell apart takes no more. Instead it is marked as full, and for a
window after the mark its number is the largest: an upper bound.
"""

from collections.abc import Sequence
from typing import Any, Final

from proxy.errors import FetchError
from proxy.model.counts import Count, Counted, CountsNeeded

SPARE: Final = 10_000
"""Members of one tally beyond those that rules tell apart: far more than requests of one caller are under way."""
PREFIX: Final = b"sekisho:"
_FULL: Final = b"*"

SEE: Final = f"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {{ARGV[1]}}
for i, key in ipairs(KEYS) do
  local seconds, most, member = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), ARGV[3 * i + 1]
  local gone = string.format('%.0f', now - seconds * 1000000)
  local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] or 0)
  local at = math.max(now, last + 1)
  local before = tonumber(redis.call('ZSCORE', key, member) or 0)
  if before <= tonumber(gone) then before = 0 end
  local is_full = tonumber(redis.call('ZSCORE', key, '{_FULL.decode()}') or 0) > tonumber(gone)
  local held = redis.call('ZCOUNT', key, '(' .. gone, '+inf')
  if before == 0 then
    held = held + 1
    if held > most + {SPARE} then
      member = '{_FULL.decode()}'
      is_full = true
    end
  end
  redis.call('ZADD', key, string.format('%.0f', at), member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', gone)
  redis.call('PEXPIRE', key, seconds * 1000 + 1000)
  if is_full or held > most then held = most end
  answer[3 * i - 1] = held
  answer[3 * i] = string.format('%.0f', at)
  answer[3 * i + 1] = before > 0 and string.format('%.0f', before) or ''
end
return answer
"""
"""Sees one member for each key. Arguments: a word of the question, then seconds, number and member for each key.
Answers that word, then for each key the number, the score that the member has now, and the one that it had.

What may need memory is written first: a server that is full refuses only the first write of a script."""

UNSEE: Final = """
for i, key in ipairs(KEYS) do
  local member, at, before = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local score = redis.call('ZSCORE', key, member)
  if score and tonumber(score) == tonumber(at) then
    if before == '' then
      redis.call('ZREM', key, member)
    else
      redis.call('ZADD', key, before, member)
    end
  end
end
return 1
"""
"""Takes back what was seen. Arguments: member, the score that it got and the one that it had, for each key."""


def name_keys(needed: CountsNeeded) -> list[bytes]:
    """Return the keys of a question's tallies; what stands in braces puts those of one caller at one place."""
    return [_name_key(each) for each in needed.counts]


def _name_key(count: Count) -> bytes:
    group = f":{count.group}" if count.group else ""
    return PREFIX + f"{{{count.caller.hex()}}}:{count.asked.tally.name}{group}".encode()


def render_question(needed: CountsNeeded) -> list[bytes]:
    """Return the arguments of ``SEE``."""
    given = [needed.id.encode()]
    for each in needed.counts:
        given += [b"%d" % each.asked.tally.seconds, b"%d" % each.asked.at_most, each.member]
    return given


def read_answer(needed: CountsNeeded, raw: Any) -> Counted:
    """Return what ``SEE`` answered.

    Raises:
        FetchError: that is no answer to this question.
    """
    expected = 1 + 3 * len(needed.counts)
    if not isinstance(raw, Sequence) or len(raw) != expected or raw[0] != needed.id.encode():
        raise FetchError("it is no answer to what was asked")
    numbers, undo = [], []
    for place, each in enumerate(needed.counts):
        number, at, before = raw[3 * place + 1 : 3 * place + 4]
        if not isinstance(number, int) or not 1 <= number <= each.asked.at_most:
            raise FetchError("a count is no number that can be")
        if not _is_score(at) or not (before == b"" or _is_score(before)):
            raise FetchError("a score is none")
        numbers.append(number)
        undo += [each.member, at, before]
    return Counted(tuple(numbers), tuple(undo))


def _is_score(raw: Any) -> bool:
    return isinstance(raw, bytes) and raw.isdigit()
