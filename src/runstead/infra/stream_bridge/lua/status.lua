-- What a stream is doing; nothing where there is none to be read.
--
-- KEYS  meta, log

local kept = redis.call('HMGET', KEYS[1], 'status', 'terminal', 'gone')
if not kept[1] or kept[3] then return '' end
-- As for its readers: one that has ended and was thrown away for want of memory is none.
if kept[2] and redis.call('XLEN', KEYS[2]) == 0 then return '' end
return kept[1]
