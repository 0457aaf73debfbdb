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
local next = 2
for _, key in ipairs(KEYS) do
  local seconds, most, members = tonumber(ARGV[next]), tonumber(ARGV[next + 1]), tonumber(ARGV[next + 2])
  local gone = string.format('%.0f', now - seconds * 1000000)
  local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2] or 0)
  local at = math.max(now, last + 1)
  local is_full = tonumber(redis.call('ZSCORE', key, '{_FULL.decode()}') or 0) > tonumber(gone)
  local held = redis.call('ZCOUNT', key, '(' .. gone, '+inf')
  local number = #answer + 1
  answer[number] = 0
  for place = next + 3, next + 2 + members do
    local member = ARGV[place]
    local before = tonumber(redis.call('ZSCORE', key, member) or 0)
    if before <= tonumber(gone) then
      before = 0
      held = held + 1
      if held > most + {SPARE} then
        member = '{_FULL.decode()}'
        is_full = true
      end
    end
    redis.call('ZADD', key, string.format('%.0f', at), member)
    answer[#answer + 1] = string.format('%.0f', at)
    answer[#answer + 1] = before > 0 and string.format('%.0f', before) or ''
    at = at + 1
  end
  if members > 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', gone)
    redis.call('PEXPIRE', key, seconds * 1000 + 1000)
  end
  if is_full or held > most then held = most end
  answer[number] = math.max(1, held)
  next = next + 3 + members
end
return answer
"""
"""Sees the members of each key, or none. Arguments: a word of the question, then for each key seconds, number, and its
members behind how many they are. Answers that word, then for each key the number, and for each of its members the score
that it has now and the one that it had.

What may need memory is written first: a server that is full refuses only the first write of a script."""

UNSEE: Final = """
local next = 1
for _, key in ipairs(KEYS) do
  local members = tonumber(ARGV[next])
  for place = next + 1, next + 3 * members, 3 do
    local member, at, before = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    local score = redis.call('ZSCORE', key, member)
    if score and tonumber(score) == tonumber(at) then
      if before == '' then
        redis.call('ZREM', key, member)
      else
        redis.call('ZADD', key, before, member)
      end
    end
  end
  next = next + 1 + 3 * members
end
return 1
"""
"""Takes back what was seen. Arguments: for each key how many members, then each with the score that it got and the one
that it had."""


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
        given += [b"%d" % each.asked.tally.seconds, b"%d" % each.asked.at_most, b"%d" % len(each.members)]
        given += each.members
    return given


def read_answer(needed: CountsNeeded, raw: Any) -> Counted:
    """Return what ``SEE`` answered.

    Raises:
        FetchError: that is no answer to this question.
    """
    expected = 1 + sum(1 + 2 * len(each.members) for each in needed.counts)
    if not isinstance(raw, Sequence) or len(raw) != expected or raw[0] != needed.id.encode():
        raise FetchError("it is no answer to what was asked")
    numbers, undo, said = [], [], iter(raw[1:])
    for each in needed.counts:
        number = next(said)
        if not isinstance(number, int) or not 1 <= number <= each.asked.at_most:
            raise FetchError("a count is no number that can be")
        numbers.append(number)
        undo.append(b"%d" % len(each.members))
        for member in each.members:
            at, before = next(said), next(said)
            if not _is_score(at) or not (before == b"" or _is_score(before)):
                raise FetchError("a score is none")
            undo += [member, at, before]
    return Counted(tuple(numbers), tuple(undo))


def _is_score(raw: Any) -> bool:
    return isinstance(raw, bytes) and raw.isdigit()
