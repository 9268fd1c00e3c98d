-- Apply a publisher's orders to the stream of one run, in order. Repeated orders have no effect: every event carries
-- its number, so that a publisher without a reply can send everything again.
--
-- KEYS  meta, log
-- ARGV  publisher, most events, most bytes, then in ms: retention, awaiting retention, unowned retention, linger;
--       then five for each order: kind, attempt, number, name, data
-- Returns status, orders done, attempt, number, published, asked, terminal, begun.

local meta, log = KEYS[1], KEYS[2]
local publisher, most_events, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local retention, awaiting, unowned, linger = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ENDS = { ['end'] = 'ended', error = 'errored', cancel = 'cancelled' }

local kept = redis.call('HMGET', meta, 'attempt', 'seq', 'published', 'bytes', 'status', 'terminal', 'asked', 'begun',
  'base', 'by', 'gone')
local gone = kept[11]
local exists = kept[1] and not gone
local attempt, seq = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
local published, bytes = tonumber(kept[3] or 0), tonumber(kept[4] or 0)
local status, terminal, asked = kept[5], kept[6], kept[7]
local begun, base, by = kept[8] or '', tonumber(kept[9] or nil), kept[10]
local retime, added, renew, length = false, false, false, 0

local function create(first)
  redis.call('DEL', meta, log)
  exists, gone, attempt, seq, published, bytes, renew = true, false, first, 0, 0, 0, true
  status, terminal, asked, begun, base, by = 'open', false, false, '', nil, false
end

local function take_over(higher)
  attempt, seq, base, by, status, asked, renew = higher, 0, nil, false, 'open', false, true
end

local function add(number, ...)
  if not base then
    base = published
    begun = begun .. (begun == '' and '' or ',') .. string.format('%d:%d', attempt, base)
  end
  -- A server that is short of memory may have evicted the log, but not this hash.
  if not added then
    length = redis.call('XLEN', log)
    if length == 0 then bytes, renew = 0, true end
  end
  redis.call('XADD', log, string.format('%d-%d', attempt, number), ...)
  seq, by, added, length = number, publisher, true, length + 1
end

local word, done = 'ok', 0
for i = 8, #ARGV, 5 do
  local kind, order_attempt, number, name, data = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
  if kind == 'open' then
    if not exists then
      create(order_attempt)
    elseif not terminal and order_attempt > attempt then
      take_over(order_attempt)
    end
  elseif kind == 'restore' and not exists and not gone then
    -- The server has lost the stream: continue with the publisher's numbers, so that readers detect the gap.
    create(order_attempt)
    seq, published, begun, by = number, tonumber(name), data, publisher
    base = tonumber(string.match(data, string.format('%%f[%%d]%d:(%%d+)$', attempt)) or nil)
  elseif kind == 'restore' then
    -- Another process was faster.
  elseif not exists then
    word = gone and 'gone' or 'missing'
    break
  elseif kind == 'look' then
    renew = true
  elseif kind == 'await' then
    if status == 'ended' then asked, retime, status = '1', true, 'awaiting_input' end
  elseif kind == 'answer' then
    if status == 'awaiting_input' then asked, retime, status = false, true, 'ended' end
  elseif kind == 'end' and not terminal then
    if order_attempt < attempt then
      word = 'stale'
      break
    end
    if order_attempt > attempt then take_over(order_attempt) end
    number = math.max(number, seq + 1)
    add(number, 'e', name, 'd', data, 't', name)
    published = math.max(published, base + number - 1)
    terminal, status, retime = string.format('%d-%d', attempt, number), ENDS[name], true
  elseif kind == 'event' then
    if terminal then
      word = 'terminated'
      break
    end
    if order_attempt < attempt then
      word = 'stale'
      break
    end
    if order_attempt > attempt then take_over(order_attempt) end
    if number > seq then
      add(number, 'e', name, 'd', data)
      published, bytes = base + number, bytes + #data
    elseif by ~= publisher then
      -- Another publisher has used this number for another event.
      word = 'behind'
      break
    end
  end
  done = done + 1
end

if not exists then return { word, done, 0, 0, 0, 0, '', '' } end

if added then
  -- The terminal event does not count and is not trimmed; the last other event stays, however large it is.
  local count, step = length - (terminal and 1 or 0), 1
  while count > 1 and (count > most_events or bytes > most_bytes) do
    local last
    step = math.max(math.min(64, step * 2), math.min(64, count - most_events))
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', step)) do
      if count <= 1 or (count <= most_events and bytes <= most_bytes) then break end
      count, bytes, last = count - 1, bytes - #entry[2][4], entry[1]
    end
    local of, number = string.match(last, '(%d+)-(%d+)')
    redis.call('XTRIM', log, 'MINID', of .. '-' .. string.format('%d', number + 1))
  end
end

local present, absent = {}, {}
for index, pair in ipairs({ { 'terminal', terminal, 6 }, { 'asked', asked, 7 }, { 'base', base, 9 }, { 'by', by, 10 } }) do
  if pair[2] then
    present[#present + 1], present[#present + 2] = pair[1], pair[2]
  elseif kept[pair[3]] then
    absent[#absent + 1] = pair[1]
  end
end
redis.call('HSET', meta, 'attempt', attempt, 'seq', seq, 'published', published, 'bytes', bytes, 'status', status,
  'begun', begun, unpack(present))
if #absent > 0 then redis.call('HDEL', meta, unpack(absent)) end

-- An open stream is kept as long as an owner or a reader renews it, which begins here.
if retime or (renew and not terminal) then
  local keep = unowned
  if terminal then keep = asked and awaiting or retention end
  redis.call('PEXPIRE', meta, keep)
  redis.call('PEXPIRE', log, keep + linger)
end

return { word, done, attempt, seq, published, asked and 1 or 0, terminal or '', begun }
