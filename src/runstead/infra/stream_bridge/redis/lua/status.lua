-- The status of a stream; empty if there is no stream to read.
--
-- KEYS  meta, log

local kept = redis.call('HMGET', KEYS[1], 'status', 'terminal', 'gone')
if not kept[1] or kept[3] then return '' end
-- As for readers: an ended stream that was evicted for lack of memory does not exist.
if kept[2] and redis.call('XLEN', KEYS[2]) == 0 then return '' end
return kept[1]
