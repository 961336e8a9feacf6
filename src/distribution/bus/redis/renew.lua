-- Gives the log another marker if it still has the one that was seen. KEYS: meta. ARGV: seen, fresh.
if redis.call('HGET', KEYS[1], 'marker') == ARGV[1] then
    local now = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'marker', ARGV[2], 'born', now[1] * 1000 + math.floor(now[2] / 1000))
end
return 0
