-- The log's marker; a log that has none is begun. KEYS: meta, log. ARGV: a fresh marker, the server's run.
local marker = redis.call('HGET', KEYS[1], 'marker')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not marker then
    marker = ARGV[1]
    -- Records without the description of their log are of one that is lost.
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'marker', marker, 'head', '0', 'run', ARGV[2], 'born', now)
elseif redis.call('HGET', KEYS[1], 'run') ~= ARGV[2] then
    -- A replica has taken over: there may be edges that it was never told of, however long it has had the log.
    redis.call('HSET', KEYS[1], 'run', ARGV[2], 'born', now)
end
return marker
