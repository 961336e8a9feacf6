-- The log's marker; a log that has none is begun. KEYS: meta, log. ARGV: a fresh marker.
local marker = redis.call('HGET', KEYS[1], 'marker')
if not marker then
    marker = ARGV[1]
    local now = redis.call('TIME')
    -- Records without the description of their log are of one that is lost.
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'marker', marker, 'head', '0', 'born', now[1] * 1000 + math.floor(now[2] / 1000))
end
return marker
