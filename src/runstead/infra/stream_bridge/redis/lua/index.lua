-- The list of streams, to limit their number. The streams themselves are authoritative:
-- an entry without renewal expires.
--
-- KEYS  live, ended: run ids by expiry time
-- ARGV  operation, lifetime in ms, maximum number of streams, run ids

local live, ended = KEYS[1], KEYS[2]
local what, keep, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if what == 'enter' then
  local run = ARGV[4]
  if tonumber(redis.call('ZSCORE', live, run) or 0) > now then return { 'known', '' } end
  redis.call('ZREMRANGEBYSCORE', live, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', now)
  if redis.call('ZSCORE', ended, run) then return { 'known', '' } end
  local leaver = ''
  if redis.call('ZCARD', live) + redis.call('ZCARD', ended) >= most then
    leaver = redis.call('ZRANGE', ended, 0, 0)[1]
    if not leaver then return { 'full', '' } end
    redis.call('ZREM', ended, leaver)
  end
  redis.call('ZADD', live, now + keep, run)
  return { 'entered', leaver }
end

for i = 4, #ARGV do
  if what == 'renew' then
    -- Also if a server that lost its data does not know the run; the renewing process has seen no end.
    if not redis.call('ZSCORE', ended, ARGV[i]) then redis.call('ZADD', live, 'GT', now + keep, ARGV[i]) end
  else
    redis.call('ZREM', live, ARGV[i])
    if what == 'ended' then redis.call('ZADD', ended, now + keep, ARGV[i]) else redis.call('ZREM', ended, ARGV[i]) end
  end
end
return { 'done', '' }
