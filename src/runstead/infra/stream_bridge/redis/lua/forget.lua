-- Delete the stream of one run, now or later. Readers that are in the middle of it can read to its end for a while,
-- and readers at its end are informed that no events follow.
--
-- KEYS  meta, log
-- ARGV  delay in ms, the attempt it is meant for ('' for any), linger in ms, how long to remember the deletion
-- Returns 'done', 'absent', or 'later' with the attempt: no expiry is set here for a stream that has not ended.

local meta, log = KEYS[1], KEYS[2]
local delay, meant, linger, remember = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('HMGET', meta, 'attempt', 'terminal', 'gone')
local attempt, terminal, gone = kept[1], kept[2], kept[3]
if not attempt or gone or (meant ~= '' and meant ~= attempt) then return { 'absent', 0 } end
if delay > 0 then
  if not terminal then return { 'later', tonumber(attempt) } end
  redis.call('PEXPIRE', meta, delay, 'LT')
  redis.call('PEXPIRE', log, delay + linger, 'LT')
  return { 'done', 0 }
end
if not terminal then
  -- The largest number of the attempt: none of its events can follow.
  redis.call('XADD', log, attempt .. '-18446744073709551615', 'x', '1')
end
redis.call('DEL', meta)
redis.call('HSET', meta, 'gone', 1, 'attempt', attempt)
redis.call('PEXPIRE', meta, remember)
redis.call('PEXPIRE', log, linger)
return { 'done', 0 }
