-- Keep a stream alive for a reader. Returns 1 if the stream exists.
--
-- KEYS  meta, log
-- ARGV  in ms: unowned retention, linger

local kept = redis.call('HMGET', KEYS[1], 'attempt', 'terminal', 'gone')
-- An ended log that a server short of memory has evicted cannot report its end.
local there = kept[1] and not kept[3] and (not kept[2] or redis.call('XLEN', KEYS[2]) > 0)
if there and not kept[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[1], 'GT')
  redis.call('PEXPIRE', KEYS[2], ARGV[1] + ARGV[2], 'GT')
else
  redis.call('PEXPIRE', KEYS[2], ARGV[2], 'GT')
end
return there and 1 or 0
