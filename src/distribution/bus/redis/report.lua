-- Takes down what an edge says, with the time. KEYS: edges, meta, log, turn. ARGV: id, what it says, how often the log is
-- trimmed, how long an edge is remembered (both in milliseconds), fewest records kept.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now) .. '|' .. ARGV[2])
if not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[3]) then
    return 0
end
-- It is this edge's turn to tidy up: what every edge that is remembered has applied is not needed any more.
local head = tonumber(redis.call('HGET', KEYS[2], 'head') or '0')
local least = head
local edges = redis.call('HGETALL', KEYS[1])
for i = 1, #edges, 2 do
    local at, trusts_for, applied = string.match(edges[i + 1], '^(%d+)|([^|]*)|(%x*%-%d*)|')
    applied = applied and string.match(applied, '%-(%d+)')
    -- For so long it may use what it has stored.
    local kept = math.max(tonumber(ARGV[4]), tonumber(trusts_for or '') or 0)
    if not at or now - tonumber(at) > kept then
        redis.call('HDEL', KEYS[1], edges[i])
    elseif applied then
        least = math.min(least, tonumber(applied))
    end
end
redis.call('XTRIM', KEYS[3], 'MAXLEN', '~', string.format('%d', math.max(head - least, tonumber(ARGV[5]))))
return 1
