-- A page of one run's stream, and the state of the whole stream.
--
-- KEYS  meta, log
-- ARGV  the id to read after ('' from the start, '$' for the end alone), most events, most bytes
-- Returns exists, attempt, number, published, status, terminal, begun, oldest, deleted, more, then four for each
-- event: id, name, data, kind of end.

local meta, log = KEYS[1], KEYS[2]
local after, most_events, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local END_OF_ATTEMPT = '-18446744073709551615'

local kept = redis.call('HMGET', meta, 'attempt', 'seq', 'published', 'status', 'terminal', 'begun', 'gone')
local there = kept[1] and not kept[7]
local page = { there and 1 or 0, tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0), kept[4] or '',
  kept[5] or '', kept[6] or '', '', 0, 0 }

local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
if oldest and string.sub(oldest[1], -#END_OF_ATTEMPT) ~= END_OF_ATTEMPT then page[8] = oldest[1] end
-- A server that is short of memory may have evicted the log, but not this hash. A running run creates a new log;
-- of an ended run, nothing can be read any more, not even its end.
if kept[5] and not oldest then page[1] = 0 end

local function add(entry)
  local fields = entry[2]
  if fields[1] == 'x' then
    page[9] = 1
    return 0
  end
  page[#page + 1], page[#page + 2], page[#page + 3], page[#page + 4] = entry[1], fields[2], fields[4], fields[6] or ''
  return #fields[4]
end

if after == '$' then
  if kept[5] and oldest then add(redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]) end
  return page
end

local from, events, bytes = after == '' and '-' or '(' .. after, 0, 0
while events < most_events do
  local wanted = math.min(32, most_events - events)
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', wanted)
  for _, entry in ipairs(entries) do
    if events > 0 and bytes + #entry[2][math.min(4, #entry[2])] > most_bytes then
      page[10] = 1
      return page
    end
    bytes, events, from = bytes + add(entry), events + 1, '(' .. entry[1]
  end
  if #entries < wanted then return page end
end
page[10] = 1
return page
