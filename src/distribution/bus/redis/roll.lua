-- The marker, how old it is in milliseconds, and every edge with how long ago it spoke and what it said. KEYS: edges, meta.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local log = redis.call('HMGET', KEYS[2], 'marker', 'born')
local roll = { log[1] or '', now - tonumber(log[2] or now) }
local edges = redis.call('HGETALL', KEYS[1])
for i = 1, #edges, 2 do
    local at, said = string.match(edges[i + 1], '^(%d+)|(.*)$')
    if at then
        roll[#roll + 1] = edges[i]
        roll[#roll + 1] = string.format('%d', math.max(now - tonumber(at), 0))
        roll[#roll + 1] = said
    end
end
return roll
