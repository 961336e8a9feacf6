-- Appends a record and returns its number, or 0 if the log is not what the caller knows.
-- KEYS: meta, log, the reference if there is one. ARGV: marker, record, most records, how long a reference is known in
-- milliseconds.
if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then
    return 0
end
local head = tonumber(redis.call('HGET', KEYS[1], 'head'))
if KEYS[3] then
    local known = redis.call('GET', KEYS[3])
    -- One beyond the head is of a log that is lost.
    if known and tonumber(known) <= head then
        -- A write, so that whoever waits for copies waits for one of what is known, too.
        redis.call('PEXPIRE', KEYS[3], ARGV[4])
        return tonumber(known)
    end
end
local number = string.format('%d', head + 1)
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], number .. '-0', 'r', ARGV[2])
if added.err then
    if string.find(added.err, 'equal or smaller') then
        -- Somebody else has written here: the numbers tell nothing any more.
        redis.call('DEL', KEYS[1], KEYS[2])
        return 0
    end
    return added
end
redis.call('HSET', KEYS[1], 'head', number)
if KEYS[3] then
    redis.call('SET', KEYS[3], number, 'PX', ARGV[4])
end
return tonumber(number)
